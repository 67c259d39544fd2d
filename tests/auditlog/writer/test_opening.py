"""Opening a log: what is refused was not changed, and what fails holds nothing back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditlog.errors import InvalidEvent, InvalidName, not_accessible
from auditlog.format.segment_names import LogId
from auditlog.writer import opening
from auditlog.writer.lock import lock_log, lock_path


def open_log(directory: Path) -> auditlog.Log:
    return auditlog.open(directory, service="queen-rbee", host="hive1")


def content_of(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def damage(directory: Path) -> None:
    segment = next(directory.glob("*.ndjson"))
    content = bytearray(segment.read_bytes())
    content[content.index(b'"event_type"') + 2] ^= 1
    segment.write_bytes(content)


def lose_newest(directory: Path) -> None:
    next(directory.glob("*.ndjson")).unlink()


def open_to_all(directory: Path) -> None:
    directory.chmod(0o777)


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (damage, auditlog.LogDamaged),
        (lose_newest, auditlog.LogDamaged),
        (open_to_all, auditlog.UnsafePath),
    ],
)
def test_unharmed(
    tmp_path: Path, harm: Callable[[Path], None], error: type[auditlog.AuditLogError]
) -> None:
    directory = tmp_path / "audit"
    open_log(directory).close()
    harm(directory)
    before = content_of(directory)
    with pytest.raises(error) as refusal:
        open_log(directory)
    assert str(directory) in str(refusal.value)
    assert refusal.value.hint
    assert content_of(directory) == before


def test_released(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    segment = next(tmp_path.glob("*.ndjson"))
    good = segment.read_bytes()
    damage(tmp_path)
    for _ in range(2):
        with pytest.raises(auditlog.LogDamaged):
            open_log(tmp_path)
    segment.write_bytes(good)
    open_log(tmp_path).close()


def test_a_symlinked_segment_is_refused(tmp_path: Path) -> None:
    """scan does not take it for a segment, and the log does not write through it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    directory = tmp_path / "audit"
    with open_log(directory) as log:
        name = next(directory.glob("*.ndjson"))
        del log
    name.unlink()
    (directory / ".auditlog" / "queen-rbee@hive1.head").unlink()
    name.symlink_to(elsewhere)
    with pytest.raises((auditlog.AuditLogError, OSError)) as refusal:
        open_log(directory)
    assert name.name in str(refusal.value)
    assert elsewhere.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"flush": "sometimes"}, "immediate"),
        ({"max_segment_bytes": 1000}, "65535"),
        ({"max_segment_age": 0.5}, "a second"),
        ({"max_queue_bytes": 1000}, "65535"),
        ({"space_low_bytes": 1, "space_critical_bytes": 2}, "space_low_bytes"),
        ({"service": "queen rbee"}, "' '"),
        ({"host": "a/b"}, "'/'"),
    ],
)
def test_impossible_options_are_refused_by_name(
    tmp_path: Path, options: dict[str, object], what: str
) -> None:
    fields = {"service": "queen-rbee", "host": "hive1", **options}
    with pytest.raises(ValueError, match=what):
        auditlog.open(tmp_path / "never", **fields)  # type: ignore[arg-type]  # that is the point
    assert not (tmp_path / "never").exists()


LOG = LogId("queen-rbee", "hive1")
AUTO = LogId("queen-rbee", "hive1", "auto")

HOLD = """
import sys
from pathlib import Path
from auditlog.writer.lock import lock_log
from auditlog.format.segment_names import LogId
log, lock = lock_log(Path(sys.argv[1]), LogId.parse(sys.argv[2]))
print(log, flush=True)
input()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / ".auditlog").mkdir()
    return tmp_path


def held_elsewhere(directory: Path, log: LogId) -> subprocess.Popen[str]:
    """Another process that holds the lock, once this returns."""
    root = Path(opening.__file__).parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, directory, str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().strip()
    return holder


def test_one_writer(directory: Path) -> None:
    _, lock = lock_log(directory, LOG)
    with pytest.raises(auditlog.LogLocked):
        lock_log(directory, LOG)
    _, other = lock_log(directory, LogId("queen-rbee", "hive1", "2"))
    other.release()
    lock.release()
    _, again = lock_log(directory, LOG)
    again.release()


def test_one_writer_also_of_two_processes(directory: Path) -> None:
    holder = held_elsewhere(directory, LOG)
    try:
        with pytest.raises(auditlog.LogLocked):
            lock_log(directory, LOG)
    finally:
        holder.kill()
        holder.communicate()
    _, lock = lock_log(directory, LOG)  # the kernel dropped a killed process's lock
    lock.release()


def test_named(directory: Path) -> None:
    holder = held_elsewhere(directory, LOG)
    with pytest.raises(auditlog.LogLocked) as refusal:
        lock_log(directory, LOG)
    holder.communicate("\n")
    assert f"pid {holder.pid}" in str(refusal.value)
    assert "instance=" in refusal.value.hint
    assert refusal.value.path == lock_path(directory, LOG)


def test_named_also_while_the_holder_has_not_written_its_pid_yet(directory: Path) -> None:
    _, lock = lock_log(directory, LOG)
    os.truncate(lock_path(directory, LOG), 0)
    with pytest.raises(auditlog.LogLocked, match="another process"):
        lock_log(directory, LOG)
    lock.release()


def test_lowest_slot(directory: Path) -> None:
    locks = [lock_log(directory, AUTO) for _ in range(4)]
    assert [log.instance for log, _ in locks] == ["1", "2", "3", "4"]
    locks[1][1].release()
    holder = held_elsewhere(directory, AUTO)
    _, third = locks[2]
    third.release()
    log, lock = lock_log(directory, AUTO)
    assert log.instance == "3", "2 is the other process's"
    holder.communicate("\n")
    for taken in (locks[0][1], locks[3][1], lock):
        taken.release()


def test_when_every_slot_is_taken_that_is_said(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditlog.writer.lock._MAX_SLOTS", 2)
    locks = [lock_log(directory, AUTO)[1] for _ in range(2)]
    with pytest.raises(auditlog.LogLocked):
        lock_log(directory, AUTO)
    for lock in locks:
        lock.release()


def test_another_user_s_lock_is_a_matter_of_rights_and_not_of_holders(
    public_directory: Path, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    (public_directory / ".auditlog").mkdir(mode=0o755)
    lock_log(public_directory, LOG)[1].release()
    assert as_nobody(lambda: lock_log(public_directory, LOG)).startswith("PermissionError")


NOON_NS = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
DAY_NS = 86_400_000_000_000


def open_at(directory: Path, now_ns: int, **options: Any) -> auditlog.Log:
    return auditlog.open(
        directory, service="queen-rbee", host="hive1", clock=lambda: now_ns, **options
    )


@pytest.mark.parametrize("instance", [None, "worker", "auto"])
def test_succeeded(tmp_path: Path, instance: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """A clock that was years ahead for one start: later records have the right time again."""
    with open_at(tmp_path, NOON_NS + 2000 * DAY_NS, instance=instance) as log:
        first = str(log.id)
        ahead = log.emit("years.ahead")
    successor = first + ("-s1" if instance else "+s1")
    for life in range(2):
        with open_at(tmp_path, NOON_NS + life * DAY_NS, instance=instance) as log:
            assert str(log.id) == successor
            log.emit("right.time")
            if instance != "auto":
                with pytest.raises(auditlog.LogLocked):  # the service's own log stays taken
                    open_at(tmp_path, NOON_NS + 3000 * DAY_NS, instance=instance)
    assert f"{successor} is written instead" in caplog.text
    records = list(auditlog.read(tmp_path, log_events=True))
    days = [record.at.date().isoformat() for record in records if record.event_type == "right.time"]
    assert days == ["2026-11-23", "2026-11-24"]
    [named] = [record for record in records if record.event_type == "log.succeeded"]
    assert (named.log, named.fields["details"]["successor"]) == (first, successor)
    last = max((r for r in records if r.log == first), key=lambda record: record.seq)
    opened = next(r for r in records if r.log == successor and r.event_type == "log.opened")
    assert opened.fields["details"]["predecessor"] == first
    assert opened.fields["details"]["predecessor_seq"] == last.seq > ahead.seq
    assert opened.fields["details"]["predecessor_hash"] == last.hash
    assert auditlog.verify(tmp_path).ok


def test_succeeded_not_where_the_clock_is_a_day_behind_or_was_never_set(tmp_path: Path) -> None:
    """A host without a clock of its own boots in 1970."""
    for now_ns in (NOON_NS, NOON_NS - DAY_NS, 3 * DAY_NS, NOON_NS):
        with open_at(tmp_path, now_ns) as log:
            assert str(log.id) == "queen-rbee@hive1"
    assert auditlog.verify(tmp_path).ok


def test_succeeded_again_where_the_successor_is_ahead_as_well(tmp_path: Path) -> None:
    ids = []
    for days in (3000, 2000, 0, 2000, 0, 3000):
        with open_at(tmp_path, NOON_NS + days * DAY_NS) as log:
            log.emit("some.event")
            ids.append(log.id.instance)
    assert ids == ["", "s1", "s2", "s1", "s2", ""]
    assert auditlog.verify(tmp_path).ok


@pytest.mark.parametrize("service", ["retention", "evidence", "witness"])
def test_the_librarys_own_services_and_types_cannot_be_written_by_a_caller(
    tmp_path: Path, service: str
) -> None:
    with pytest.raises(InvalidName, match="own") as refused:
        auditlog.open(tmp_path / "audit", service=service, host="h")
    assert "choose another name" in (refused.value.hint or "")
    assert not (tmp_path / "audit").exists()
    with (
        auditlog.open(tmp_path / "audit", service="queen-rbee", host="h") as log,
        pytest.raises(InvalidEvent, match="the library's own"),
    ):
        log.emit(f"{service}.segment_deleted", details={"log": "x@h"})
    with opening.open_log(
        tmp_path / "audit", service=opening.ReservedService(service), host="h"
    ) as log:
        log.emit(f"{service}.noted").wait()
        with pytest.raises(InvalidEvent, match="the library's own"):
            log.emit("log.opened")


def test_a_service_named_log_cannot_write_the_records_of_the_log_itself(tmp_path: Path) -> None:
    with (
        auditlog.open(tmp_path / "audit", service="log", host="h") as log,
        pytest.raises(InvalidEvent, match="the library's own"),
    ):
        log.emit("log.recovered")


def test_what_the_operating_system_refuses_is_an_error_of_this_library(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(auditlog.NotAccessible) as refused:
        auditlog.open(tmp_path / "file/x", service="s", host="h")
    assert isinstance(refused.value, OSError)
    assert isinstance(refused.value, auditlog.AuditLogError)
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize(
    ("refused", "kind"),
    [(FileNotFoundError(2, "no"), "PathNotFound"), (PermissionError(13, "no"), "PathNotPermitted")],
)
def test_an_error_of_the_operating_system_keeps_its_kind(refused: OSError, kind: str) -> None:
    made = not_accessible(refused, "/audit")
    assert type(made).__name__ == kind
    assert isinstance(made, type(refused))
    assert made.errno == refused.errno


@pytest.mark.parametrize(
    "options",
    [
        {"flush": "sometimes"},
        {"max_segment_bytes": 1},
        {"block_timeout": -1},
        {"space_low_bytes": -1},
    ],
)
def test_an_option_out_of_its_range_is_an_error_of_this_library(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(auditlog.InvalidOption) as refused:
        auditlog.open(tmp_path, service="s", host="h", **options)
    assert isinstance(refused.value, ValueError)
