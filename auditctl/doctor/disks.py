"""Check a directory of logs: file system, permissions, space and sync time.

Invariants (tests of the same name in tests/auditctl/doctor/test_disks.py):
  reads_only   but for one file of 400 KiB with a hidden name, which is gone afterwards
"""

from __future__ import annotations

import datetime as dt
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditctl.doctor.check_result import CheckResult, judge_filesystem, judge_space, judge_syncs
from auditctl.survey.ahead import logs_ahead
from auditctl.survey.state_dir import why_unwritable
from auditlog import durable_fs
from auditlog.errors import UnsafePath
from auditlog.format.record import format_timestamp
from auditlog.reading.inventory import scan

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_directory", "check_state", "filesystem_of", "why_unlisted"]

_SYNCS: Final = 100
_SYNC_SECONDS: Final = 2.0  # enough to recognise a slow disk
_WRITE_BYTES: Final = 4096


def check_directory(place: Path) -> Iterator[CheckResult]:
    """Run every check of a directory of logs."""
    try:
        durable_fs.check_directory(place, allow_other_owner=True)
        found = scan(place)
    except FileNotFoundError:
        mend = f"install -d -m 0700 -o SERVICE_USER {place}, or let its service make it."
        yield CheckResult("directory", "warn", f"{place} is not there yet", mend)
        return
    except UnsafePath as error:
        yield CheckResult("directory", "fail", f"{place}: {error.reason}", error.hint)
        return
    except OSError as error:
        mend = "Run as its owner, or as a member of its group."
        yield CheckResult("directory", "fail", f"{place}: {error.strerror}", mend)
        return
    logs = len(found.logs)
    yield CheckResult("directory", "ok", f"{place} holds {logs} {'log' if logs == 1 else 'logs'}")
    for log, newest in logs_ahead(found, dt.datetime.now(dt.UTC)):
        mend = "Set the clock right and restart its service: it goes on in a successor log."
        detail = f"{log} has a record of {format_timestamp(newest)}, in the future"
        yield CheckResult("clock", "warn", detail, mend)
    yield _open_to_all(place)
    yield from _disk(place)


def why_unlisted(directory: Path) -> str:
    """Say why a directory cannot be listed; "" for one that can be, or is not there."""
    try:
        os.scandir(directory).close()
    except FileNotFoundError:
        pass
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def check_state(place: Path) -> Iterator[CheckResult]:
    """Check the agent's own directory, which must be writable."""
    if not place.exists():
        mend = f"install -d -m 0700 {place}; the agent makes it itself where it may."
        may = os.access(place.parent, os.W_OK)
        yield CheckResult("state", "ok" if may else "warn", f"{place} is not there yet", mend)
    elif reason := why_unwritable(place):
        mend = f"df {place}; free space there, or remount it for writing."
        yield CheckResult("state", "fail", f"{place}: {reason}", mend)
    elif not os.access(place, os.W_OK | os.X_OK):
        mend = f"chown it to the agent's user, or run this as that user: ls -ld {place}"
        yield CheckResult("state", "fail", f"{place} cannot be written to", mend)
    else:
        yield CheckResult("state", "ok", f"{place} can be written to")


def _open_to_all(place: Path) -> CheckResult:
    found = [path for path in place.glob("*.ndjson*") if _is_open_to_all(path)]
    if not found:
        return CheckResult("permissions", "ok", f"{place}: no file is open to everybody")
    files = "1 file" if len(found) == 1 else f"{len(found)} files"
    detail = f"{files} in {place} can be read or written by everybody"
    return CheckResult("permissions", "warn", detail, f"chmod o-rwx {place}/*.ndjson*")


def _is_open_to_all(path: Path) -> bool:
    try:
        return bool(path.lstat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except FileNotFoundError:
        return False  # compressed or deleted since the listing


def _disk(place: Path) -> Iterator[CheckResult]:
    yield judge_filesystem(str(place), filesystem_of(place))
    free = os.statvfs(place)
    files = free.f_favail if free.f_files else None
    yield judge_space(str(place), free.f_bavail * free.f_frsize, files)
    try:
        yield judge_syncs(str(place), _time_syncs(place))
    except OSError as error:
        mend = "Run it as the user who writes there, to see how fast the disk is."
        yield CheckResult("sync", "warn", f"{place}: not measured ({error.strerror})", mend)


def _time_syncs(place: Path) -> list[dt.timedelta]:
    path = place / f".auditctl-doctor.{os.getpid()}"
    fd = durable_fs.create_exclusive(path)
    times: list[dt.timedelta] = []
    try:
        stop = time.perf_counter() + _SYNC_SECONDS
        while len(times) < _SYNCS and time.perf_counter() < stop:
            began = time.perf_counter()
            durable_fs.write_all(fd, b"\n" * _WRITE_BYTES)
            durable_fs.fdatasync(fd)
            times.append(dt.timedelta(seconds=time.perf_counter() - began))
    finally:
        os.close(fd)
        durable_fs.unlink(path)
    return times


def filesystem_of(place: Path) -> str:
    """The type of the file system at the path, by the longest mount point above it."""
    best, kind = "", "unknown"
    resolved = str(place.resolve())
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
        before, _, after = line.partition(" - ")
        mounted = before.split(" ")[4].replace("\\040", " ")
        inside = resolved == mounted or resolved.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(best):
            best, kind = mounted, after.split(" ")[0]
    return kind
