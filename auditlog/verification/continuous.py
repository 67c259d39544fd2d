"""Verify logs repeatedly in the background, and raise alarms for problems.

A chain that nobody checks proves nothing in time.  Every ``look_every`` the directories are listed:
a segment that vanished, changed after it was sealed or shrank makes its log suspect.  Suspect logs
are verified first, then those whose last verification is older than ``every``, the most recently
written first.  The thread uses at most ``cpu_share`` of one core, so verifying everything may take
longer than ``every``; ``overdue`` in the status then says so.

The result of each verification is kept in ``<state_dir>/verification.json``: its head is what the
next verification expects to find, so that a log which was deleted, cut off or written anew
meanwhile is noticed even where nothing else remembers it.

Invariants (tests of the same name in tests/auditlog/verification/test_continuous.py):
  noticed      a deleted or changed segment, a deleted log and a deleted directory raise an alarm
  remembered   a verified record that is gone or changed raises an alarm, also after a restart
  quiet        writing, rotating, compressing and deleting under policy raise none
  once         an alarm is raised once while its cause lasts
  bounded      the share of a core that is used stays below the one that is allowed
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from auditlog import durable_fs
from auditlog.errors import InvalidName, InvalidOption
from auditlog.format.record import format_timestamp, parse_timestamp
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import scan
from auditlog.reading.registry import KnownRecord, forgotten_logs, known_records_by_directory
from auditlog.verification.verify import verify_log

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from auditlog.reading.inventory import SegmentFile
    from auditlog.verification.verify import LogReport

__all__ = ["ContinuousVerification", "VerificationAlarm", "VerificationStatus", "load_status"]

_logger = logging.getLogger("auditlog.verification")

_FILE: Final = "verification.json"
_SOURCE: Final = "an earlier verification by the agent"
_LONGEST_PAUSE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class VerificationAlarm:
    """One thing that is wrong with a log, or with a directory (then ``log`` is empty).

    ``kind`` is that of a verification finding, or ``missing_directory``.
    """

    directory: str
    log: str
    kind: str
    segment: str
    seq: int | None
    detail: str

    def __str__(self) -> str:
        place = self.log or self.directory
        return f"{place}: {self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class VerificationStatus:
    """The state of continuous verification.

    ``full_at`` is the time since when every log has been verified at least once: the oldest of
    their last verifications, None until each had one.  ``overdue`` is how long that is beyond the
    allowed interval, zero in time.  ``trouble`` says why results cannot be kept, else it is empty.
    """

    logs: int
    full_at: dt.datetime | None
    overdue: dt.timedelta
    alarms: tuple[VerificationAlarm, ...]
    verified_records: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class _Verified:
    """The result of one log's last verification; it is what the state file keeps."""

    directory: str
    log: str
    at: dt.datetime
    seq: int
    hash: str
    segment: str
    alarms: tuple[VerificationAlarm, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "at": format_timestamp(self.at)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> _Verified:
        alarms = tuple(VerificationAlarm(**alarm) for alarm in fields["alarms"])
        return cls(**{**fields, "at": parse_timestamp(fields["at"]), "alarms": alarms})


class _Stopped(Exception):
    """Verification was asked to stop in the middle of a log."""


_Identity = tuple[int, int, int]  # inode, size in bytes, modification time in ns
_LogKey = tuple[Path, str]  # directory, log


@dataclass(slots=True)
class _Look:
    """The segments of one log as the last look saw them: identities by logical name."""

    newest: str
    segments: dict[str, _Identity] = field(default_factory=dict)

    def is_suspect(self, now: _Look) -> bool:
        """Whether segments vanished, changed after they were sealed, or shrank."""
        for name, before in self.segments.items():
            after = now.segments.get(name)
            if after is None:
                return True
            if name == self.newest:  # it may have grown since, and may be sealed by now
                if after[0] != before[0] or after[1] < before[1]:
                    return True
            elif after != before:
                return True
        return False


class ContinuousVerification:
    """Runs in a thread of the caller's (``run``); ``status`` may be called from any other.

    ``alarm`` is called from that thread for each alarm that is new.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        state_dir: Path,
        alarm: Callable[[VerificationAlarm], None],
        *,
        every: dt.timedelta = dt.timedelta(hours=24),
        cpu_share: float = 0.05,
        look_every: dt.timedelta = dt.timedelta(seconds=30),
        retention_hosts: Collection[str] | None = None,
    ) -> None:
        if every <= dt.timedelta(0) or look_every <= dt.timedelta(0):
            raise InvalidOption("every and look_every must be longer than zero")
        if not 0 < cpu_share <= 1:
            raise InvalidOption(f"cpu_share is {cpu_share}", hint="Give more than 0 and at most 1.")
        self._directories = tuple(directories)
        self._state_dir = state_dir
        self._every = every
        self._share = cpu_share
        self._look_every = look_every
        self._alarm = alarm
        self._retention_hosts = retention_hosts
        self._looks: dict[_LogKey, _Look] = {}
        self._suspects: dict[_LogKey, None] = {}
        self._gone: dict[Path, VerificationAlarm] = {}
        self._records = 0
        self._trouble = ""
        self._lock = threading.Lock()
        self._results = {
            (Path(result.directory), result.log): result
            for result in _load(state_dir)
            if Path(result.directory) in self._directories
        }
        self._written_ns: dict[_LogKey, int] = {}
        self._seen = {directory for directory, _ in self._results}

    def status(self) -> VerificationStatus:
        """Return the state as of now."""
        with self._lock:
            keys = {*self._looks, *self._results}
            results = list(self._results.values())
            alarms = [*self._gone.values(), *(one for r in results for one in r.alarms)]
            return _status(
                results,
                len(keys),
                self._every,
                alarms,
                records=self._records,
                trouble=self._trouble,
            )

    def run(self, stop: threading.Event) -> None:
        """Look and verify until ``stop`` is set."""
        next_look = time.monotonic()
        while not stop.is_set():
            if time.monotonic() >= next_look:
                self.look()
                next_look = time.monotonic() + self._look_every.total_seconds()
            key = self._next()
            if key is None:
                stop.wait(min(max(0.0, next_look - time.monotonic()), self._until_due()))
                continue
            try:
                self._verify(key, _Pace(self._share, stop))
            except _Stopped:
                return

    def look(self) -> None:
        """List the directories once, and note which logs have to be verified at once."""
        for directory in self._directories:
            try:
                logs = scan(directory).logs
            except OSError as error:
                self._raise_gone(directory, error)
                continue
            with self._lock:
                self._gone.pop(directory, None)
                self._seen.add(directory)
            seen = {(directory, str(log)): _look_at(segments) for log, segments in logs.items()}
            with self._lock:
                for key in [known for known in self._looks if known[0] == directory]:
                    if key not in seen or self._looks[key].is_suspect(seen[key]):
                        self._suspects[key] = None
                for key, look in seen.items():
                    self._looks[key] = look
                    self._written_ns[key] = look.segments[look.newest][2]
        known = known_records_by_directory(self._directories, self._state_dir)
        with self._lock:
            for directory, known_records in known.items():
                for expected in known_records:  # a log that only a note or a cursor knows
                    key = (directory, expected.log)
                    if key not in self._looks and key not in self._results:
                        self._suspects[key] = None

    def _next(self) -> _LogKey | None:
        with self._lock:
            if self._suspects:
                return next(iter(self._suspects))
            limit = dt.datetime.now(dt.UTC) - self._every
            due = [
                key
                for key in {*self._looks, *self._results}
                if key[0] not in self._gone
                and ((done := self._results.get(key)) is None or done.at <= limit)
            ]
            return max(due, key=lambda key: self._written_ns.get(key, 0), default=None)

    def _until_due(self) -> float:
        """Return the seconds until the next log is due."""
        with self._lock:
            if not self._results:
                return self._look_every.total_seconds()
            oldest = min(result.at for result in self._results.values())
        left = oldest + self._every - dt.datetime.now(dt.UTC)
        return max(0.01, left.total_seconds())

    def _verify(self, key: _LogKey, pace: _Pace) -> None:
        directory, log = key
        try:
            known = known_records_by_directory(self._directories, self._state_dir)
            here = [one for one in known.get(directory, ()) if one.log == log]
            report = verify_log(
                directory,
                LogId.parse(log),
                known=[*here, *self._remembered(key)],
                pace=pace,
                retention_hosts=self._retention_hosts,
            )
        except InvalidName:
            with self._lock:
                self._suspects.pop(key, None)  # a cursor of something that is not a log
            return
        except OSError as error:
            self._raise_gone(directory, error)
            with self._lock:
                self._suspects.pop(key, None)  # it is looked at again with the directory
            return
        if not report.segments and self._forget(key):
            return
        self._keep(key, report)

    def _forget(self, key: _LogKey) -> bool:
        """Drop a log that `auditctl forget` retired; return whether it was."""
        before = self._results.get(key)
        through = forgotten_logs([key[0]]).get(key[1], -1)
        if (before is not None and before.seq > through) or through < 0:
            return False
        with self._lock:
            for known in (self._results, self._looks, self._suspects):
                known.pop(key, None)
        self._save()
        return True

    def _remembered(self, key: _LogKey) -> list[KnownRecord]:
        with self._lock:
            before = self._results.get(key)
        if before is None or not before.seq:
            return []
        return [KnownRecord(before.log, _SOURCE, before.seq, before.hash, before.segment)]

    def _keep(self, key: _LogKey, report: LogReport) -> None:
        directory, log = key
        alarms = tuple(
            VerificationAlarm(str(directory), log, one.kind, one.segment, one.seq, one.detail)
            for one in report.findings
            if one.fatal
        )
        with self._lock:
            before = self._results.get(key)
            if report.ok or before is None:
                head = (report.last_seq or 0, report.head_hash, report.head_segment)
            else:  # a verified head stays the expected one
                head = (before.seq, before.hash, before.segment)
            self._results[key] = _Verified(
                str(directory), log, dt.datetime.now(dt.UTC), *head, alarms
            )
            self._suspects.pop(key, None)
            self._records += report.records
            known = before.alarms if before is not None else ()
        for alarm in alarms:
            if alarm not in known:
                self._alarm(alarm)
        self._save()

    def _raise_gone(self, directory: Path, error: OSError) -> None:
        if directory not in self._seen:
            return  # not there yet: it may be made or mounted later
        alarm = VerificationAlarm(
            str(directory),
            "",
            "missing_directory",
            "",
            None,
            f"it cannot be listed: {error.strerror}; nothing in it is verified. Is it mounted?",
        )
        with self._lock:
            new = directory not in self._gone
            self._gone[directory] = alarm
        if new:
            self._alarm(alarm)

    def _save(self) -> None:
        with self._lock:
            results = list(self._results.values())
        fields = {
            "v": 1,
            "every_s": self._every.total_seconds(),
            "logs": [result.to_json() for result in results],
        }
        try:
            durable_fs.make_directory(self._state_dir)
            durable_fs.replace_durably(self._state_dir / _FILE, orjson.dumps(fields) + b"\n")
        except OSError as error:
            trouble = f"{self._state_dir / _FILE} cannot be written: {error.strerror}"
            if not self._trouble:
                _logger.error(  # noqa: TRY400  (the reason is said; a trace adds nothing)
                    "%s; results are lost when the agent stops", trouble
                )
        else:
            trouble = ""
        with self._lock:
            self._trouble = trouble


class _Pace:
    """Sleeps so that the calling thread uses no more than ``share`` of a core."""

    def __init__(self, share: float, stop: threading.Event) -> None:
        self._share = share
        self._stop = stop
        self._cpu = time.thread_time()

    def __call__(self) -> None:
        """Sleep for the time that has been earned since the last call.  Raises _Stopped."""
        used = time.thread_time() - self._cpu
        pause = min(used / self._share - used, _LONGEST_PAUSE_SECONDS)
        if self._stop.wait(pause) if pause > 0 else self._stop.is_set():
            raise _Stopped
        self._cpu = time.thread_time()


def load_status(state_dir: Path) -> VerificationStatus | None:
    """Return the status in the state file, None where no agent has verified anything yet.

    Raises OSError; a file that is damaged counts as none.
    """
    results = _load(state_dir)
    if not results:
        return None
    every = dt.timedelta(seconds=orjson.loads((state_dir / _FILE).read_bytes())["every_s"])
    alarms = [alarm for result in results for alarm in result.alarms]
    return _status(results, len(results), every, alarms)


def _status(
    results: Sequence[_Verified],
    logs: int,
    every: dt.timedelta,
    alarms: Iterable[VerificationAlarm],
    *,
    records: int = 0,
    trouble: str = "",
) -> VerificationStatus:
    all_done = len(results) == logs and results
    full_at = min(result.at for result in results) if all_done else None
    overdue = dt.timedelta(0)
    if full_at is not None:
        overdue = max(overdue, dt.datetime.now(dt.UTC) - full_at - every)
    return VerificationStatus(logs, full_at, overdue, tuple(alarms), records, trouble)


def _load(state_dir: Path) -> list[_Verified]:
    try:
        fields = orjson.loads((state_dir / _FILE).read_bytes())
        return [_Verified.from_json(one) for one in fields["logs"]]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (ValueError, KeyError, TypeError):
        _logger.warning("%s is damaged; every log is verified anew", state_dir / _FILE)
        return []


def _look_at(segments: Sequence[SegmentFile]) -> _Look:
    look = _Look(segments[-1].name.logical)
    for segment in segments:
        try:
            state = os.stat(segment.path, follow_symlinks=False)  # noqa: PTH116  (one call, no Path made)
        except FileNotFoundError:  # compressed or deleted meanwhile; the next look tells
            look.segments[segment.name.logical] = (0, 0, 0)
        else:
            identity = (state.st_ino, state.st_size, state.st_mtime_ns)
            look.segments[segment.name.logical] = identity
    return look
