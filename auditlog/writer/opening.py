"""Open a log for writing: check the directory, lock the log, recover, continue.

Invariants (tests of the same name in tests/auditlog/writer/test_opening.py):
  unharmed     a log that is refused (locked, damaged, unsafe) was not changed
  released     an open that fails leaves no lock behind
  one_writer   a second writer is refused at once, in this process and in another
  named        the error names the pid that holds the log and hints at instance=
  lowest_slot  instance="auto" takes the lowest slot that is free
  succeeded    a log more than a day ahead of the clock is continued in a successor, named in both
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from auditlog import durable_fs
from auditlog.errors import AuditLogError, InvalidName, LogDamaged, not_accessible
from auditlog.events.base import RESERVED_SERVICES
from auditlog.events.values import ValueRules
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import STATE_DIRECTORY
from auditlog.redaction.policy import Policy
from auditlog.writer.clock import SECOND_NS, day_of, usable
from auditlog.writer.disabled import DisabledLog
from auditlog.writer.disk_space import Watermarks
from auditlog.writer.flush_policy import FlushPolicy, Mode
from auditlog.writer.heartbeat import Heartbeats
from auditlog.writer.lock import lock_log
from auditlog.writer.log import Log
from auditlog.writer.options import Locks, Options
from auditlog.writer.recovery import Recovered, recover
from auditlog.writer.ticket import seconds

__all__ = ["ReservedService", "open_log", "open_own_log"]

_MAX_SLOTS: Final = 1000
_PLAUSIBLE_NS: Final = 1_767_225_600 * SECOND_NS  # 2026-01-01

_logger = logging.getLogger("auditlog")


class ReservedService(str):
    """One of RESERVED_SERVICES, given by the library: a caller's plain str opens no such log."""

    __slots__ = ()


def open_log(
    directory: str | os.PathLike[str],
    *,
    service: str,
    host: str | None = None,
    instance: str | None = None,
    flush: Mode | FlushPolicy = "immediate",
    max_segment_bytes: int = 256 << 20,
    max_segment_age: dt.timedelta | float | None = None,
    max_queue_bytes: int = 64 << 20,
    block_timeout: dt.timedelta | float = 30.0,
    space_low_bytes: int = 1 << 30,
    space_critical_bytes: int = 128 << 20,
    group_readable: bool = False,
    default: Callable[[Any], Any] | None = None,
    strict: bool = False,
    redaction: Policy | None = None,
    heartbeat: dt.timedelta | float | Heartbeats | None = 300.0,
    clock: Callable[[], int] = time.time_ns,
) -> Log:
    """Open the log of one service on one host for writing, recovering it from a crash first.

    directory             created (0700) when missing; several logs may share it.  A relative path
                          is resolved now: a later chdir changes nothing
    instance              tells several processes of a service apart; "auto": the lowest free slot
    flush                 "immediate", "batched", "hybrid", "disabled", or a FlushPolicy
    max_segment_bytes     a segment that would grow beyond goes on in a new one
    max_segment_age       seconds after which a segment with events goes on in a new one, so that an
                          archive has it; None: at the end of its day
    max_queue_bytes       bytes that may wait in memory; then emit blocks
    block_timeout         seconds that emit waits at most, for room in the queue and for the disk
    space_low_bytes, space_critical_bytes    free disk below which the log warns, and rotates
    group_readable        0750 and 0640 instead of 0700 and 0600, for a shipper of another user
    default               called with a value of details that has no JSON spelling, as in json.dumps
    strict                refuse such values, and all that would be converted (docs/events.md)
    redaction             what is taken out of events before they are recorded; see
                          auditlog.redaction.Policy
    heartbeat             seconds between two records that say that the log is open; None or 0: none
    clock                 nanoseconds since the epoch (for simulations)

    Raises InvalidName, UnsafePath, LogLocked (naming the holder), LogDamaged (nothing was
    changed), LogFailed when the first records cannot be made durable, NotAccessible (an OSError),
    InvalidOption (a ValueError), ClockUnusable.
    """
    if service in RESERVED_SERVICES and not isinstance(service, ReservedService):
        raise InvalidName(
            f"the service {service} is the library's own",
            hint=f"{', '.join(sorted(RESERVED_SERVICES))} are reserved: choose another name.",
        )
    directory_mode, file_mode = (0o750, 0o640) if group_readable else (0o700, 0o600)
    options = Options(
        flush=FlushPolicy.named(flush) if isinstance(flush, str) else flush,
        max_segment_bytes=max_segment_bytes,
        max_queue_bytes=max_queue_bytes,
        block_seconds=seconds(block_timeout),
        watermarks=Watermarks(space_low_bytes, space_critical_bytes),
        file_mode=file_mode,
        clock=clock,
        values=ValueRules(default, strict),
        redaction=redaction or Policy.default(),
        max_segment_age_ns=(
            None if max_segment_age is None else int(seconds(max_segment_age) * SECOND_NS)
        ),
        heartbeats=heartbeat if isinstance(heartbeat, Heartbeats) else Heartbeats.each(heartbeat),
    )
    log_id = LogId(service, host or os.uname().nodename, instance or "")
    if options.flush.mode == "disabled":
        return DisabledLog(log_id, options.values, options.redaction)
    path = Path(directory).absolute()

    def acquire(wanted: LogId) -> tuple[LogId, Locks, Recovered]:
        durable_fs.make_directory(path, directory_mode)
        durable_fs.check_directory(path)
        durable_fs.make_directory(path / STATE_DIRECTORY, directory_mode)
        locked, lock = lock_log(path, wanted)
        try:
            recovered = recover(path, locked)
        except BaseException:
            lock.release()
            raise
        if not _is_ahead(recovered, usable(clock)):
            return locked, lock, recovered
        return _succeed(path, locked, lock, recovered, options)

    try:
        return Log(path, log_id, acquire, options)
    except AuditLogError:
        raise
    except OSError as error:
        raise not_accessible(error, path) from error


def open_own_log(
    directory: Path,
    service: str,
    *,
    host: str | None,
    instance: str | None = None,
    patience_seconds: float,
    heartbeat: Heartbeats | None = None,
) -> Log:
    """Open the log of one of the library's own services; who may read the directory may read it.

    Its events are batched, as emit would otherwise wait for a full disk, and nothing waits longer
    than ``patience_seconds``.  Raises as open_log does.
    """
    return open_log(
        directory,
        service=ReservedService(service),
        host=host,
        instance=instance,
        flush="batched",
        block_timeout=patience_seconds,
        group_readable=bool(directory.stat().st_mode & stat.S_IRGRP),
        heartbeat=heartbeat or Heartbeats(),
    )


def _is_ahead(recovered: Recovered, now_ns: int) -> bool:
    """Whether the log was written with a clock that was more than a day ahead.

    A clock from before this library existed is wrong itself, as at the boot of a host whose clock
    has no battery: then the log goes on with the day that it has.
    """
    if recovered.segment is None or now_ns < _PLAUSIBLE_NS:
        return False
    return recovered.segment.day - day_of(now_ns) > dt.timedelta(days=1)


def _succeed(
    path: Path, log_id: LogId, lock: durable_fs.FileLock, recovered: Recovered, options: Options
) -> tuple[LogId, Locks, Recovered]:
    """Go on in another log, since every record of this one would get the same day and time.

    The successor is named in both chains; retention, shipping and verification treat both as any
    log.  The lock of the first one stays taken: it stands for the service.
    """
    separator = "-" if log_id.instance else ""
    for number in range(1, _MAX_SLOTS + 1):
        name = f"{log_id.instance}{separator}s{number}"
        successor, second = lock_log(path, LogId(log_id.service, log_id.host, name))
        try:
            found = recover(path, successor)
            if not found.seq:
                _name_successor(path, (log_id, lock, recovered), successor, options)
                _, lock = lock_log(path, log_id)
                last = recover(path, log_id)
                found = replace(found, predecessor=(str(log_id), last.seq, last.hash))
        except BaseException:
            second.release()
            lock.release()
            raise
        if not _is_ahead(found, usable(options.clock)):
            return successor, _TwoLocks(lock, second), found
        second.release()
    raise LogDamaged("every successor of this log lies in the future, too", path=path)


def _name_successor(
    path: Path,
    acquired: tuple[LogId, durable_fs.FileLock, Recovered],
    successor: LogId,
    options: Options,
) -> None:
    """Record in the log which one goes on in its place; releases the lock."""
    log_id, _, recovered = acquired
    _logger.error(
        "%s was written with a clock that was ahead, up to %s; from now on %s is written instead",
        log_id,
        recovered.timestamp,
        successor,
    )
    log = Log(path, log_id, lambda _: acquired, options)
    log._record_successor(str(successor))  # noqa: SLF001  (of the same room)
    log.close()


class _TwoLocks:
    """The locks of a log and of its successor, held and released together."""

    def __init__(self, *locks: durable_fs.FileLock) -> None:
        self._locks = locks

    def release(self) -> None:
        for lock in self._locks:
            lock.release()

    def abandon(self) -> None:
        for lock in self._locks:
            lock.abandon()
