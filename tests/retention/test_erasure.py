"""Which records may be erased, and in which order that is done."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from auditlog.cursors import Cursor, CursorStore
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import scan
from auditlog.reading.reader import open_segment
from auditlog.reading.tombstone_scan import proofs_in
from auditlog.verification.verify import verify
from auditlog.writer.lock import lock_log
from retention import erasure
from retention.erasure import Order, Target, carry_out, find_record, refusals, unfinished
from retention.holds import Hold
from retention.policy import RetentionPolicy
from retention.tombstone_log import TombstoneLog
from tests.support.erasures import header_of, stub
from tests.support.logs import START, LogBuilder, write_log

LOG = "queen-rbee@hive1"
ORDER = Order("request 17", "dpo@example.org", "GDPR art. 17", "root")


@pytest.fixture
def log(tmp_path: Path) -> LogBuilder:
    return write_log(tmp_path / "audit", records=4, segments=3, salt="A" * 22)


def target(log: LogBuilder, seq: int) -> Target:
    found = find_record(log.directory, LogId.parse(log.log), seq)
    assert found is not None
    return found


def erase(log: LogBuilder, *seqs: int) -> None:
    with TombstoneLog(log.directory, "hive1") as tombstones:
        targets = [target(log, seq) for seq in seqs]
        carry_out(log.directory, targets, ORDER, tombstones=tombstones, policy=RetentionPolicy())


def why_not(log: LogBuilder, seq: int, **options: object) -> str:
    given: dict[str, object] = {"sinks": (), "holds": (), "state_dir": log.directory / "state"}
    found = refusals([target(log, seq)], now=START, **{**given, **options})  # type: ignore[arg-type]  # as above
    return found.get(f"{log.log}:{seq}", "").partition(":")[0]


def hold(**fields: object) -> Hold:
    return Hold("case-7", "legal", "case 7", **fields)  # type: ignore[arg-type]  # of the test


def test_refused(log: LogBuilder) -> None:
    """refused: nothing is erased that is held, not shipped, being written, or of the log itself"""
    assert why_not(log, 3) == ""
    assert why_not(log, 3, holds=[hold()]) == "held"
    assert why_not(log, 3, holds=[hold(logs="other@*")]) == ""
    assert why_not(log, 3, holds=[hold(until_at=START - dt.timedelta(days=1))]) == ""
    assert why_not(log, 3, holds=[hold(actor="alice")]) == "held"
    assert why_not(log, 3, holds=[hold(actor="bob")]) == ""
    assert why_not(log, 3, holds=[hold(expires_at=START)]) == ""
    store = CursorStore(log.directory / "state")
    assert why_not(log, 3, sinks=["main"]) == "not_shipped"
    for seq, gaps, reason in (
        (2, (), "not_shipped"), (3, (), ""), (9, (), ""), (9, ((3, 4),), "not_shipped"),
    ):  # fmt: skip
        place = log.paths[0].name
        store.save("main", Cursor(log.log, place, 1, seq, "ab" * 32, START, gaps))
        assert why_not(log, 3, sinks=["main"]) == reason, seq
    (log.directory / ".auditlog").mkdir()
    _, lock = lock_log(log.directory, LogId.parse(log.log))
    assert why_not(log, 3) == ""
    assert why_not(log, 12) == "active"
    lock.release()
    assert why_not(log, 12) == ""
    for name in ("log.opened", "retention.swept", "evidence.checkpoint", "witness.accepted"):
        log.append(1, event_type=name)
        assert why_not(log, log.seq) == "own", name
    proofs = write_log(log.directory, "retention@hive2", records=1)
    assert why_not(proofs, 1) == "own"


def test_recorded(log: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    """recorded: no line is replaced before its erasure is durable"""
    seen: list[list[int]] = []
    real = erasure.replace_records

    def observed(*args: object) -> None:
        seen.append([one.seq for one in proofs_in(scan(log.directory).logs).erasures])
        real(*args)  # type: ignore[arg-type]  # as they were given

    monkeypatch.setattr(erasure, "replace_records", observed)
    erase(log, 3, 4, 9)
    assert seen == [[3, 4], [3, 4, 9]]
    found = sorted(proofs_in(scan(log.directory).logs).erasures)
    assert [(one.seq, one.by, one.legal_basis) for one in found] == [
        (seq, "dpo@example.org", "GDPR art. 17") for seq in (3, 4, 9)
    ]


def test_idempotent(log: LogBuilder) -> None:
    """idempotent: erasing again changes nothing and records nothing"""
    erase(log, 3, 9)
    state = {path: path.stat().st_ino for path in log.paths}
    erase(log, 3, 9)
    assert {path: path.stat().st_ino for path in log.paths} == state
    assert len(proofs_in(scan(log.directory).logs).erasures) == 2
    assert [target(log, seq).erased for seq in (2, 3, 4, 9)] == [False, True, False, True]


def test_gone(log: LogBuilder) -> None:
    """gone: no file of the directory holds the erased text"""
    log.compress(0)
    log.compress(1, keep_plain=True)
    (log.directory / f".{log.paths[1].name}.tmp").write_bytes(log.lines[6])
    erase(log, 3, 7)
    texts = [f'task-{seq}"'.encode() for seq in (3, 7)]
    for path in log.directory.rglob("*"):
        if path.is_file():
            with open_segment(path) as stream:
                content = stream.read()
            assert not any(text in content for text in texts), path
    assert verify(log.directory).ok


def test_what_is_on_record_and_still_there_is_found_again(log: LogBuilder) -> None:
    backup = log.paths[0].read_bytes()
    erase(log, 3)
    log.paths[0].write_bytes(backup)
    assert [(one.header.seq, why.by) for one, why in unfinished(log.directory)] == [
        (3, "dpo@example.org")
    ]
    targets = [one for one, _ in unfinished(log.directory)]
    with TombstoneLog(log.directory, "hive1") as tombstones:
        carry_out(log.directory, targets, None, tombstones=tombstones, policy=RetentionPolicy())
    assert stub(log.lines[2]) in log.paths[0].read_bytes()
    assert header_of(log.lines[2]).seq == 3


def test_a_number_that_the_files_do_not_have_is_not_found(log: LogBuilder) -> None:
    name = LogId.parse(LOG)
    assert find_record(log.directory, name, 13) is None
    log.paths[1].unlink()
    assert find_record(log.directory, name, 6) is None
    assert find_record(log.directory, LogId.parse("other@hive1"), 1) is None
