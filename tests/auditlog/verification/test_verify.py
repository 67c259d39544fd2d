"""verify over whole directories: tampering of every kind is found, and what is right is ok."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.cursors import Cursor, CursorStore
from auditlog.errors import AuditLogError, InvalidName
from auditlog.format.segment_names import LogId
from auditlog.reading.head_note import remember_head
from auditlog.reading.inventory import scan
from auditlog.reading.reader import bounds
from auditlog.reading.tombstone_scan import proofs_in
from auditlog.verification.verify import Report, verify, verify_log
from tests.support.logs import LogBuilder, write_log
from tests.support.tombstones import tombstone_details

RETENTION = "retention@hive1"


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def tombstone_of(directory: Path, log: LogBuilder, index: int) -> dict[str, Any]:
    """Return the details of a segment's tombstone, read from its file."""
    (segments,) = [found for name, found in scan(directory).logs.items() if str(name) == log.log]
    ends = bounds(next(s for s in segments if s.name.logical == log.paths[index].name))
    assert ends is not None
    return tombstone_details(
        log.log,
        log.paths[index].name,
        ends.first_seq,
        ends.last_seq,
        ends.first_prev_hash,
        ends.last_hash,
    )


def delete(directory: Path, log: LogBuilder, *indices: int) -> LogBuilder:
    retention = LogBuilder(directory, RETENTION, at=log.at)
    for index in indices:
        details = tombstone_of(directory, log, index)
        retention.append(event_type="retention.segment_deleted", details=details)
        log.path(index).unlink()
    return retention


def test_disbelieved(tmp_path: Path) -> None:
    """A deletion that its own policy does not allow is a finding, and accounts for nothing."""
    log = write_log(tmp_path, records=5, segments=3, days=1)
    retention = LogBuilder(tmp_path, RETENTION, at=log.at)
    details = tombstone_of(tmp_path, log, 0) | {"last_record_at": "2026-10-31T00:00:00.000000Z"}
    retention.append(event_type="retention.segment_deleted", details=details)
    retention.append(2)
    log.path(0).unlink()
    report = verify(tmp_path)
    found = {each.log: each for each in report.logs}
    assert [finding.kind for finding in found[log.log].findings] == ["missing_segment"]
    (finding,) = found[RETENTION].findings
    assert (finding.kind, finding.line, finding.seq) == ("tombstone_invalid", 1, 1)
    assert "its last record was 1 d old, which its policy keeps" in finding.detail
    assert found[RETENTION].verified_through_seq == 3
    assert verify(tmp_path, jobs=2) == report


@pytest.mark.parametrize(("writer", "hosts", "believed"), [
    ("hive9", None, True),
    ("hive9", ("here",), False),
    ("hive9", ("here", "hive9"), True),
    ("hive1", ("here",), True),
    ("hive1+other", (), True),
])  # fmt: skip
def test_a_deletion_on_record_of_another_host_is_disbelieved_where_hosts_are_configured(
    tmp_path: Path, writer: str, hosts: tuple[str, ...] | None, believed: bool
) -> None:
    log = write_log(tmp_path, records=5, segments=3, days=1)
    retention = LogBuilder(tmp_path, f"retention@{writer}", at=log.at)
    details = tombstone_of(tmp_path, log, 1)
    retention.append(event_type="retention.segment_deleted", details=details)
    log.path(1).unlink()
    report = verify(tmp_path, retention_hosts=hosts)
    assert report.ok == believed
    assert verify_log(tmp_path, LogId.parse(log.log), retention_hosts=hosts).ok == believed
    if not believed:
        found = {each.log: [one.kind for one in each.findings] for each in report.logs}
        assert found == {log.log: ["missing_segment"], retention.log: ["tombstone_invalid"]}


def test_an_untouched_directory_is_ok(tmp_path: Path) -> None:
    write_log(tmp_path, records=5, segments=3, days=1)
    write_log(tmp_path, "rbee-hive@gpu-1+2", records=4)
    report = verify(tmp_path)
    assert report.ok
    assert [(log.log, log.segments, log.records) for log in report.logs] == [
        ("queen-rbee@hive1", 3, 15),
        ("rbee-hive@gpu-1+2", 1, 4),
    ]


def test_any_byte(tmp_path: Path) -> None:
    """Each of a small log's bytes, on disk, with the right segment, line, offset and seq."""
    log = write_log(tmp_path, records=2, segments=2, details={})
    for index, path in enumerate(log.paths):
        whole = path.read_bytes()
        for position in range(len(whole)):
            changed = bytearray(whole)
            changed[position] ^= 0x01
            path.write_bytes(changed)
            report = verify(tmp_path)
            if index == 1 and position == len(whole) - 1:
                assert kinds(report) == ["torn_tail"]
                continue
            line = whole.count(b"\n", 0, position)
            offset = whole.rfind(b"\n", 0, position) + 1
            finding = report.findings[0]
            assert not report.ok, position
            assert (finding.segment, finding.line, finding.offset, finding.seq) == (
                path.name,
                line + 1,
                offset,
                2 * index + line + 1,
            ), position
        path.write_bytes(whole)
    assert verify(tmp_path).ok


@given(data=st.data())
@settings(max_examples=60)
def test_any_byte_changed_cut_or_inserted(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    log = write_log(tmp_path_factory.mktemp("audit"), records=3, segments=3)
    index = data.draw(st.integers(0, 2), "segment")
    form = data.draw(st.sampled_from(["", ".zst", ".gz"]), "form")
    path = log.paths[index]
    whole = path.read_bytes()
    position = data.draw(st.integers(0, len(whole)), "position")
    removed = data.draw(st.integers(0, 700), "removed")
    inserted = data.draw(st.binary(max_size=20), "inserted")
    path.write_bytes(whole[:position] + inserted + whole[position + removed :])
    if form:
        log.compress(index, form)
    report = verify(log.directory)
    left = (
        path.read_bytes() if not form else whole[:position] + inserted + whole[position + removed :]
    )
    if left == whole:
        assert report.ok
    elif index < 2 or not (whole.startswith(left[: left.rfind(b"\n") + 1])):
        assert not report.ok
    else:
        assert kinds(report) in ([], ["torn_tail"]), "the end of the active segment, cut or torn"


def test_deletions(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=5, days=1)
    log.compress(0)
    log.compress(1, ".gz")
    delete(tmp_path, log, 0, 1, 2)
    report = verify(tmp_path)
    assert report.ok, report.findings
    queen = report.logs[0]
    assert (queen.first_seq, queen.last_seq, queen.verified_through_seq) == (13, 20, 20)
    assert [tombstone.segment for tombstone in queen.deleted] == [p.name for p in log.paths[:3]]
    assert queen.to_json()["deleted_records"] == 12


def test_deletions_without_a_tombstone_are_found(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=5, days=1)
    log.path(0).unlink()
    assert kinds(verify(tmp_path)) == ["missing_segment"]
    delete(tmp_path, log, 1)
    report = verify(tmp_path)
    assert kinds(report) == ["missing_segment"], "a later, clean deletion excuses nothing"
    assert report.findings[0].seq == 1


def test_deletions_whose_tombstone_was_tampered_with_are_found(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=3, days=1)
    retention = delete(tmp_path, log, 0)
    content = retention.active.read_bytes()
    retention.active.write_bytes(content.replace(b'"last_seq":4', b'"last_seq":8'))
    report = verify(tmp_path)
    assert {log.log: [f.kind for f in log.findings] for log in report.logs} == {
        "queen-rbee@hive1": ["missing_segment"],
        RETENTION: ["hash_mismatch"],
    }


def test_deletions_in_a_log_of_another_name_prove_nothing(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=3, days=1)
    details = tombstone_of(tmp_path, log, 0)
    forger = LogBuilder(tmp_path, "forger@hive1")
    forger.append(event_type="retention.segment_deleted", details=details)
    log.path(0).unlink()
    assert kinds(verify(tmp_path)) == ["missing_segment"]


def test_a_damaged_retention_log_is_reported_and_does_not_stop_the_check(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=3, days=1)
    retention = delete(tmp_path, log, 0)
    retention.rotate()
    retention.append()
    packed = retention.compress(0)
    os.truncate(packed, packed.stat().st_size - 9)
    report = verify(tmp_path)
    assert [finding.kind for finding in report.logs[1].findings] == ["not_a_record"]
    assert "cannot be decompressed" in report.logs[1].findings[0].detail


def test_flat(tmp_path: Path) -> None:
    small = write_log(tmp_path / "small", records=50, details={"pad": "x" * 800})
    large = write_log(tmp_path / "large", records=4000, details={"pad": "x" * 800})
    peaks = []
    for log in (small, large):
        verify(log.directory)
        tracemalloc.start()
        verify(log.directory)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert large.active.stat().st_size > 4 << 20
    assert peaks[1] < peaks[0] + (2 << 20)


@pytest.mark.parametrize("form", [".zst", ".gz"])
def test_both_forms_present_and_every_form_alone_verify(tmp_path: Path, form: str) -> None:
    log = write_log(tmp_path, records=4, segments=3)
    log.compress(0, form, keep_plain=True)
    assert verify(tmp_path).ok
    log.paths[0].unlink()
    assert verify(tmp_path).ok
    log.compress(1, form)
    log.compress(2, form)
    report = verify(tmp_path)
    assert report.ok
    assert report.logs[0].records == 12


def test_one_segment_by_itself_may_start_anywhere(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=3)
    report = verify(log.paths[1])
    assert report.ok
    assert (report.logs[0].first_seq, report.logs[0].last_seq) == (5, 8)


def test_one_segment_by_itself_that_begins_with_no_record(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=3)
    content = log.paths[1].read_bytes()
    log.paths[1].write_bytes(b"X" + content[1:])
    report = verify(log.paths[1])
    assert kinds(report) == ["not_a_record"]
    assert report.logs[0].suspect_records == 4
    assert report.logs[0].records == 4


def test_a_log_whose_newest_segment_or_every_segment_is_gone_is_found(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=2, days=1)
    write_log(tmp_path, "other@hive1", records=1)
    (tmp_path / ".auditlog").mkdir()
    remember_head(tmp_path, log.names[1])
    assert verify(tmp_path).ok
    log.paths[1].unlink()
    report = verify(tmp_path)
    assert kinds(report) == ["missing_segment"]
    assert report.findings[0].segment == log.paths[1].name
    log.paths[0].unlink()
    report = verify(tmp_path)
    assert kinds(report) == ["missing_log"], "the whole log"
    assert [found.log for found in report.logs] == ["other@hive1", "queen-rbee@hive1"]
    (tmp_path / "other@hive1.2026-11-23.0001.ndjson").unlink()
    assert not verify(tmp_path).ok, "all that is left is the note"


def test_a_log_known_by_its_tombstones_alone_is_missing(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=3, days=1)
    delete(tmp_path, log, 0)
    for path in log.paths[1:]:
        path.unlink()
    report = verify(tmp_path)
    assert kinds(report) == ["missing_log"]
    assert report.logs[0].to_json()["deleted_records"] == 4


def test_a_segment_that_is_deleted_during_the_check_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write_log(tmp_path, records=4, segments=3, days=1)
    real, runs = proofs_in, []

    def retention_comes_between(*arguments: Any) -> Any:
        found = real(*arguments)
        if not runs:
            delete(tmp_path, log, 0)
        runs.append(1)
        return found

    module = importlib.import_module(
        "auditlog.verification.verify"
    )  # the package has a function of that name
    monkeypatch.setattr(module, "proofs_in", retention_comes_between)
    report = verify(tmp_path)
    assert report.ok, report.findings
    assert len(runs) == 2
    assert (report.logs[0].segments, report.logs[0].records) == (2, 8)


def test_a_segment_renamed_to_another_log_or_day_is_found(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=1)
    for name in (
        "forged@hive1.2026-11-23.0001.ndjson",
        "queen-rbee@hive1.2026-11-24.0001.ndjson",
    ):
        directory = tmp_path / name
        directory.mkdir()
        shutil.copy(log.active, directory / name)
        assert not verify(directory).ok
        assert not verify(directory / name).ok


def test_segments_exchanged_on_disk_are_found(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=3)
    first, second = log.paths[:2]
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    report = verify(tmp_path)
    assert not report.ok
    assert report.logs[0].verified_through_seq == 0


def test_the_json_is_the_documented_object(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=40, segments=3)
    content = log.paths[1].read_bytes()
    log.paths[1].write_bytes(content.replace(b"task-42", b"task-43", 1))
    report = verify(tmp_path).to_json()
    offset = sum(len(line) for line in log.lines[40:41])
    assert report == {
        "schema": "auditctl.verify/1",
        "ok": False,
        "logs": [
            {
                "log": "queen-rbee@hive1",
                "ok": False,
                "segments": 3,
                "records": 120,
                "first_seq": 1,
                "last_seq": 120,
                "head_hash": log.hash,
                "verified_through_seq": 41,
                "suspect_records": 79,
                "deleted_records": 0,
                "erased_records": 0,
                "erased": [],
                "findings": [
                    {
                        "kind": "hash_mismatch",
                        "segment": log.paths[1].name,
                        "line": 2,
                        "offset": offset,
                        "seq": 42,
                        "detail": "the record's content does not match its hash",
                    }
                ],
                "findings_omitted": 0,
            }
        ],
    }


def test_where_there_is_no_log_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(AuditLogError, match="there is no log"):
        verify(tmp_path)
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "nowhere")
    (tmp_path / "notes").touch()
    with pytest.raises(InvalidName):
        verify(tmp_path / "notes")


def test_findings_never_carry_content(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3, details={"note": "confidential"})
    whole = log.active.read_bytes()
    for old, new in ((b"confidential", b"confidentia1"), (b'{"v":1', b'{"v":9'), (b"seq", b"SEQ")):
        log.active.write_bytes(whole.replace(old, new, 1))
        report = verify(tmp_path)
        assert not report.ok
        assert all("confiden" not in str(dataclasses.asdict(found)) for found in report.findings)


def test_another_user_without_rights_gets_an_os_error_and_no_report(
    public_directory: Path, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    log = write_log(public_directory / "audit", records=1)
    (public_directory / "audit").chmod(0o755)
    log.active.chmod(0o600)
    assert as_nobody(lambda: verify(log.directory)).startswith("PathNotPermitted")


# Is this all of it?  What cursors know beside the files ------------------------------------------


def acknowledged(log: LogBuilder, count: int, *, segment: int = -1) -> None:
    """The cursor of a sink that has the first ``count`` records, all of them in this segment."""
    end = len(b"".join(log.lines[:count]))
    cursor = Cursor(
        log.log, log.names[segment].logical, end, count, log.headers[count - 1].hash, log.at
    )
    CursorStore(log.directory / ".auditlog").save("main", cursor)


def test_a_log_that_only_a_cursor_knows_is_missing(tmp_path: Path) -> None:
    write_log(tmp_path, "other@hive1", records=1)
    log = write_log(tmp_path, records=6)
    acknowledged(log, 6)
    assert verify(tmp_path).ok
    log.active.unlink()
    report = verify(tmp_path)
    assert [(found.log, found.ok) for found in report.logs] == [
        ("other@hive1", True),
        (log.log, False),
    ]
    [finding] = report.findings
    assert finding.kind == "missing_log"
    assert finding.detail.endswith("the cursor of sink main knows it up to seq 6")


def test_a_tail_that_was_cut_off_at_a_record_is_missing(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=6)
    acknowledged(log, 6)
    log.active.write_bytes(b"".join(log.lines[:4]))
    [finding] = verify(tmp_path).findings
    assert (finding.kind, finding.seq, finding.segment) == ("tail_missing", 5, log.active.name)
    assert finding.detail == (
        "the files end at seq 4, but the cursor of sink main knows it up to seq 6"
    )
    assert not verify(tmp_path).ok


@pytest.mark.parametrize("packed", [False, True])
def test_a_log_that_was_written_anew_contradicts_what_was_shipped(
    tmp_path: Path, *, packed: bool
) -> None:
    """Its own hashes fit: only the cursor remembers that another record had this number."""
    log = write_log(tmp_path, records=6)
    acknowledged(log, 4)
    log.active.unlink()
    forged = write_log(tmp_path, records=6, details={"task_id": "task-X"})
    if packed:
        forged.compress(0)
    [finding] = verify(tmp_path).findings
    assert (finding.kind, finding.seq) == ("hash_mismatch", 4)
    assert "not the record that the cursor of sink main acknowledged" in finding.detail
    assert verify(tmp_path, known=()).ok, "nothing but the cursor knows"


def test_what_was_shipped_and_then_deleted_under_policy_is_not_missing(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=3, days=1)
    acknowledged(log, 4, segment=0)
    delete(tmp_path, log, 0)
    assert verify(tmp_path).ok
