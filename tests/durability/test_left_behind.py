"""Opening a log in a directory with files that a crash left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import auditlog
from auditlog.writer.opening import ReservedService, open_log
from tests.support.oracle import lines_of, whole_chain
from tests.support.tombstones import tombstone_details
from tests.support.writers import DAY_NS, NOON_NS

FIRST, SECOND, THIRD = (f"queen-rbee@hive1.2026-11-{day}.0001.ndjson" for day in (23, 24, 25))
FOREIGN = {
    "app.ndjson": b'{"level":"info"}\n',
    "queen-rbee.ndjson": b"old\n",
    "queen-rbee@hive1.2026-11-25.0001.ndjson.1": b"logrotate's\n",
    "queen-rbee@hive1.2026-11-31.0001.ndjson.zst": b"no such day\n",
    ".auditlog/notes.txt": b"mine\n",
}


def open_on(directory: Path, day: int) -> auditlog.Log:
    return auditlog.open(
        directory,
        service="queen-rbee",
        host="hive1",
        clock=lambda: NOON_NS + day * DAY_NS,
        space_low_bytes=0,
        space_critical_bytes=0,
    )


def write_three_days(directory: Path) -> None:
    for day in range(3):
        with open_on(directory, day) as log:
            log.emit("crash.test", details={"number": day})


def bury_first(directory: Path) -> None:
    """As retention does it: a durable tombstone, then the unlink."""
    lines = lines_of(directory / FIRST)
    with open_log(directory, service=ReservedService("retention"), host="hive1") as log:
        log.emit(
            "retention.segment_deleted",
            details=tombstone_details(
                "queen-rbee@hive1",
                FIRST,
                lines[0].seq,
                lines[-1].seq,
                lines[0].prev_hash,
                lines[-1].hash,
            ),
            durable=True,
        )
    (directory / FIRST).unlink()


def add_foreign(directory: Path) -> None:
    for name, content in FOREIGN.items():
        (directory / name).write_bytes(content)


@dataclass(frozen=True, slots=True)
class Row:
    """After ``harm`` to three days' segments the log opens on the third day, or later, and:

    ``findings`` are verify's afterwards, ``newest`` is where the next event went.
    """

    what: str
    harm: Callable[[Path], object]
    findings: tuple[str, ...] = ()
    newest: str = THIRD
    day: int = 2

    def __str__(self) -> str:
        return self.what.replace(" ", "-")


FOURTH = "queen-rbee@hive1.2026-11-26.0001.ndjson"

OPENS = [
    Row("nothing", lambda _: None),
    Row("older segment gone", lambda d: (d / FIRST).unlink(), ("missing_segment",)),
    Row("segment between gone", lambda d: (d / SECOND).unlink(), ("missing_segment",)),
    Row("older segment deleted by retention", bury_first),
    Row("foreign files", add_foreign),
    Row("empty last segment of today", lambda d: (d / FOURTH).touch(0o600), (), FOURTH, 3),
    Row("empty last segment of tomorrow", lambda d: (d / FOURTH).touch(0o600), (), FOURTH, 2),
    Row("segment of tomorrow", lambda _: None, (), THIRD, 1),
]


@pytest.mark.parametrize("row", OPENS, ids=str)
def test_goes_on(row: Row, places: Callable[[], Path]) -> None:
    directory = places()
    write_three_days(directory)
    row.harm(directory)
    before = {path: path.read_bytes() for path in directory.glob("*") if path.is_file()}
    last = lines_of(directory / THIRD)[-1]
    with open_on(directory, row.day) as log:
        ticket = log.emit("after.it")
    assert ticket.seq in {line.seq for line in lines_of(directory / row.newest)}
    after = lines_of(directory / THIRD)
    if row.newest != THIRD:
        after = after + lines_of(directory / row.newest)
    follower = next(line for line in after if line.seq == last.seq + 1)
    assert follower.prev_hash == last.hash, "number and chain go on behind the last record"
    for path, content in before.items():
        assert path.read_bytes().startswith(content)
        if path.name not in (THIRD, row.newest):
            assert path.read_bytes() == content, "what is not the log's end is not touched"
    report = auditlog.verify(directory)
    [log_report] = [found for found in report.logs if str(found.log) == "queen-rbee@hive1"]
    assert tuple(finding.kind for finding in log_report.findings) == row.findings
    if not row.findings and (directory / FIRST).exists():
        whole_chain(directory)


@pytest.mark.parametrize("emptied", [False, True], ids=["gone", "emptied"])
def test_refused_without_the_last_segment(emptied: bool, places: Callable[[], Path]) -> None:
    """Going on behind an older record would give its number and hash to another one."""
    directory = places()
    write_three_days(directory)
    if emptied:
        (directory / THIRD).write_bytes(b"")
    else:
        (directory / THIRD).unlink()
    before = {path: path.read_bytes() for path in directory.glob("*") if path.is_file()}
    with pytest.raises(auditlog.LogDamaged) as refusal:
        open_on(directory, 3)
    assert THIRD in str(refusal.value)
    assert refusal.value.hint
    assert {path: path.read_bytes() for path in directory.glob("*") if path.is_file()} == before
    assert not auditlog.verify(directory).ok
