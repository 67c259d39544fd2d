"""Logs with stubs of erased records: proven they are whole, unproven they are not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import auditlog
from auditlog.evidence.leaves import leaf_of
from auditlog.evidence.merkle import leaf_hash
from auditlog.evidence.tree_appender import TreeAppender
from auditlog.evidence.tree_store import TreeStore
from auditlog.format.segment_names import LogId
from auditlog.reading.follow import Follower
from auditlog.reading.inventory import scan
from auditlog.verification import workers
from auditlog.verification.verify import LogReport, Report, verify, verify_log
from tests.support.erasures import erase, stub
from tests.support.logs import LogBuilder, write_log
from tests.support.trees import defined_root

LOG = "queen-rbee@hive1"
PLACES = (1, 2, 5, 8, 11, 12)
"""First and last of a segment, of the log, and between."""


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def of_log(report: Report) -> LogReport:
    return next(log for log in report.logs if log.log == LOG)


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    return write_log(tmp_path, records=4, segments=3)


@pytest.mark.parametrize("form", ["", ".zst", ".gz"])
def test_erased(built: LogBuilder, form: str) -> None:
    """erased: a stub counts as its record if an erasure proves it, and is a finding if none does"""
    head = verify(built.directory).logs[0].head_hash
    erase(built, *PLACES)
    if form:
        for index in range(3):
            built.compress(index, form)
    report = verify(built.directory)
    assert report.ok, report.findings
    assert (of_log(report).records, of_log(report).head_hash) == (12, head)
    assert [erasure.seq for erasure in of_log(report).erased] == list(PLACES)
    assert of_log(report).to_json()["erased_records"] == len(PLACES)
    assert verify(built.path(1)).ok
    assert verify_log(built.directory, LogId.parse(LOG)).ok


@pytest.mark.parametrize("seq", PLACES)
def test_a_stub_without_a_record_of_erasure_is_found(built: LogBuilder, seq: int) -> None:
    erase(built, seq, proven=False)
    report = verify(built.directory)
    assert kinds(report) == ["erasure_unproven"]
    assert (report.findings[0].seq, report.ok) == (seq, False)
    assert report.logs[0].verified_through_seq == seq - 1


def test_the_proof_of_one_record_proves_no_other(built: LogBuilder) -> None:
    erase(built, 5)
    path = built.paths[2]
    path.write_bytes(path.read_bytes().replace(built.lines[9], stub(built.lines[9])))
    assert kinds(verify(built.directory)) == ["erasure_unproven"]


def test_any_byte_of_a_stub_that_is_changed_is_found(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=3)
    erase(built, 2)
    whole = built.active.read_bytes()
    begin = len(built.lines[0])
    for index in range(begin, begin + len(built.lines[1])):
        changed = bytearray(whole)
        changed[index] ^= 1
        built.active.write_bytes(changed)
        assert not verify(tmp_path).ok, index


def test_an_erasure_that_was_not_carried_out_is_a_warning(built: LogBuilder) -> None:
    path, before = built.paths[1], built.paths[1].read_bytes()
    erase(built, 6)
    path.write_bytes(before)
    report = verify(built.directory)
    assert (kinds(report), report.ok) == (["erasure_unfinished"], True)
    assert "auditctl erase queen-rbee@hive1 6" in report.findings[0].detail


def test_the_report_is_the_same_with_any_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "STRETCH_BYTES", 4096)
    built = write_log(tmp_path, records=120)
    erase(built, 1, 40, 41, 120)
    assert verify(tmp_path, jobs=2) == verify(tmp_path)
    assert of_log(verify(tmp_path, jobs=2)).ok


def test_readers_give_the_stub_and_none_of_the_content(built: LogBuilder) -> None:
    erase(built, 5, 12)
    records = list(auditlog.read(built.directory, log_events=True))
    stubs = [record for record in records if record.event_type == "log.record_erased"]
    assert [record.seq for record in stubs] == [5, 12]
    assert all(record.actor is None and record.event() is None for record in stubs)
    follower = Follower([built.directory], lambda *place: pytest.fail(str(place)))
    assert [record.seq for record in follower.newest(100) if record.log == LOG][-1] == 12


def test_the_writer_goes_on_behind_a_stub(tmp_path: Path) -> None:
    with auditlog.open(tmp_path, service="queen-rbee", host="hive1") as log:
        log.emit("crash.test", details={"number": 1})
    path = next(tmp_path.glob("*.ndjson"))
    *before, last = io.BytesIO(path.read_bytes()).readlines()
    path.write_bytes(b"".join([*before, stub(last)]))
    with auditlog.open(tmp_path, service="queen-rbee", host="hive1") as log:
        seq = log.emit("crash.test", details={"number": 2}).wait().seq
    assert seq > len(before) + 1
    assert kinds(verify(tmp_path)) == ["erasure_unproven"]


def test_the_tree_is_the_same_as_before(built: LogBuilder, tmp_path: Path) -> None:
    leaves = [leaf_hash(line[:-1]) for line in built.lines]
    erase(built, *PLACES)
    assert [leaf_of(line[:-1]) for line in built.lines] == leaves
    store = TreeStore(tmp_path / "tree", 0)
    appender = TreeAppender(LOG, store, lambda: ())
    while appender.advance(scan(tmp_path).logs[LogId.parse(LOG)]):
        pass
    appender.close()
    assert (store.size, store.root()) == (12, defined_root(leaves))
    store.close()
