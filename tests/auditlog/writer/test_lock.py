"""One writer a log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auditlog.errors import LogLocked
from auditlog.format.segment_names import LogId
from auditlog.writer import lock as lock_module
from auditlog.writer.lock import lock_log, lock_path

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
    root = Path(lock_module.__file__).parents[2]
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
    with pytest.raises(LogLocked):
        lock_log(directory, LOG)
    _, other = lock_log(directory, LogId("queen-rbee", "hive1", "2"))
    other.release()
    lock.release()
    _, again = lock_log(directory, LOG)
    again.release()


def test_one_writer_also_of_two_processes(directory: Path) -> None:
    holder = held_elsewhere(directory, LOG)
    try:
        with pytest.raises(LogLocked):
            lock_log(directory, LOG)
    finally:
        holder.kill()
        holder.communicate()
    _, lock = lock_log(directory, LOG)  # the kernel dropped a killed process's lock
    lock.release()


def test_named(directory: Path) -> None:
    holder = held_elsewhere(directory, LOG)
    with pytest.raises(LogLocked) as refusal:
        lock_log(directory, LOG)
    holder.communicate("\n")
    assert f"pid {holder.pid}" in str(refusal.value)
    assert "instance=" in refusal.value.hint
    assert refusal.value.path == lock_path(directory, LOG)


def test_named_also_while_the_holder_has_not_written_its_pid_yet(directory: Path) -> None:
    _, lock = lock_log(directory, LOG)
    os.truncate(lock_path(directory, LOG), 0)
    with pytest.raises(LogLocked, match="another process"):
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
    monkeypatch.setattr(lock_module, "_MAX_SLOTS", 2)
    locks = [lock_log(directory, AUTO)[1] for _ in range(2)]
    with pytest.raises(LogLocked):
        lock_log(directory, AUTO)
    for lock in locks:
        lock.release()


def test_another_user_s_lock_is_a_matter_of_rights_and_not_of_holders(
    public_directory: Path, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    (public_directory / ".auditlog").mkdir(mode=0o755)
    lock_log(public_directory, LOG)[1].release()
    assert as_nobody(lambda: lock_log(public_directory, LOG)).startswith("PermissionError")
