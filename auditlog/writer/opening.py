"""Open a log for writing: check the place, take the lock, recover, go on.

Invariants (tests of the same name in tests/auditlog/writer/test_opening.py):
  unharmed   a log that is refused (locked, damaged, unsafe) was not changed
  released   an open that fails leaves no lock behind
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable
from pathlib import Path

from auditlog import durable_fs
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import STATE_DIRECTORY
from auditlog.writer.disabled import DisabledLog
from auditlog.writer.disk_space import Watermarks
from auditlog.writer.flush_policy import FlushPolicy
from auditlog.writer.lock import lock_log
from auditlog.writer.log import Log
from auditlog.writer.options import Options, seconds
from auditlog.writer.recovery import recover

__all__ = ["open_log"]


def open_log(
    directory: str | os.PathLike[str],
    *,
    service: str,
    host: str | None = None,
    instance: str | None = None,
    flush: str | FlushPolicy = "immediate",
    max_segment_bytes: int = 256 << 20,
    max_queue_bytes: int = 64 << 20,
    block_timeout: dt.timedelta | float = 30.0,
    space_low_bytes: int = 1 << 30,
    space_critical_bytes: int = 128 << 20,
    group_readable: bool = False,
    clock: Callable[[], int] = time.time_ns,
) -> Log:
    """Open the log of one service on one host for writing, recovering it from a crash first.

    directory             created (0700) when missing; several logs may share it
    instance              tells several processes of a service apart; "auto": the lowest free slot
    flush                 "immediate", "batched", "hybrid", "disabled", or a FlushPolicy
    max_segment_bytes     a segment that would grow beyond goes on in a new one
    max_queue_bytes       what may wait in memory; then emit blocks, for block_timeout (seconds)
    space_low_bytes, space_critical_bytes    free disk below which the log warns, and rotates
    group_readable        0750 and 0640 instead of 0700 and 0600, for a shipper of another user
    clock                 nanoseconds since the epoch (for simulations)

    Raises InvalidName, UnsafePath, LogLocked (naming the holder), LogDamaged (nothing was
    changed), LogFailed when the first records cannot be made durable, OSError, ValueError.
    """
    directory_mode, file_mode = (0o750, 0o640) if group_readable else (0o700, 0o600)
    options = Options(
        flush=FlushPolicy.named(flush) if isinstance(flush, str) else flush,
        max_segment_bytes=max_segment_bytes,
        max_queue_bytes=max_queue_bytes,
        block_seconds=seconds(block_timeout),
        watermarks=Watermarks(space_low_bytes, space_critical_bytes),
        file_mode=file_mode,
        clock=clock,
    )
    log_id = LogId(service, host or os.uname().nodename, instance or "")
    if options.flush.mode == "disabled":
        return DisabledLog(log_id)
    path = Path(directory)
    durable_fs.make_directory(path, directory_mode)
    durable_fs.check_directory(path)
    durable_fs.make_directory(path / STATE_DIRECTORY, directory_mode)
    log_id, lock = lock_log(path, log_id)
    try:
        return Log(path, log_id, lock, recover(path, log_id), options)
    except BaseException:
        lock.release()
        raise
