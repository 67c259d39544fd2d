"""Run retention every day in the background, and at once when a run is overdue.

APScheduler keeps the timetable (UTC, coalesced, one run at a time, no misfire is dropped); the last
success is in our own durable file (retention.memory).  A watch thread checks every minute, by the
monotonic clock, whether a run is overdue: after downtime, after suspend, during which the
scheduler's clock stands still, and after the wall clock was set.  A failed run is repeated after an
hour.

Invariants (tests of the same name in tests/retention/test_schedule.py):
  overdue     a run that never took place, or not for longer than the interval, starts at once
  set_back    a wall clock that is set back delays no run
  patient     a run that fails is not repeated before retry_after
  stops       stop ends a run in the middle of a large segment within seconds
  reported    status says what the last run did and when the next one is
  gives_way   a run has the lowest priorities, and no other thread has
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from auditlog.errors import AuditLogError
from auditlog.reading.inventory import STATE_DIRECTORY
from retention.errors import PolicyError
from retention.memory import RunStore
from retention.plan import Refused
from retention.priority import give_way
from retention.service import run_retention
from retention.subjects import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from retention.act import RecordCounter
    from retention.gather import Archived
    from retention.plan import DirectoryPlan
    from retention.policy import RetentionPolicy
    from retention.service import RunResult

__all__ = ["RetentionSchedule", "Status", "Timetable"]

_JOB: Final = "retention"
_DAY: Final = dt.timedelta(days=1)

_logger = logging.getLogger("auditlog.retention")


@dataclass(frozen=True, slots=True)
class Timetable:
    """Times of runs: every day at ``daily_at`` (UTC), or every ``interval`` if that is not a day.

    ``jitter`` spreads the hosts of a fleet, over at most a tenth of the interval; ``watch_every``
    is how often to check for an overdue run.  Raises PolicyError.
    """

    interval: dt.timedelta = _DAY
    daily_at: dt.time = dt.time(3, 17)
    jitter: dt.timedelta = dt.timedelta(minutes=10)
    retry_after: dt.timedelta = dt.timedelta(hours=1)
    watch_every: dt.timedelta = dt.timedelta(minutes=1)

    def __post_init__(self) -> None:
        for name in ("interval", "retry_after", "watch_every"):
            if getattr(self, name) < dt.timedelta(seconds=1):
                raise PolicyError(f"{name} of the retention schedule is shorter than 1s")
        if self.jitter < dt.timedelta(0):
            raise PolicyError("jitter of the retention schedule is negative")

    def overdue(
        self, now: dt.datetime, succeeded_at: dt.datetime | None, tried_at: dt.datetime | None
    ) -> bool:
        """Whether a run must start now; a last success in the future counts as a missed run."""
        if tried_at is not None and dt.timedelta(0) <= now - tried_at < self.retry_after:
            return False
        if succeeded_at is None:
            return True
        return not dt.timedelta(0) <= now - succeeded_at <= self.interval + self.jitter

    def trigger(self) -> CronTrigger | IntervalTrigger:
        jitter = int(min(self.jitter, self.interval / 10).total_seconds()) or None
        if self.interval == _DAY:
            at = self.daily_at
            return CronTrigger(
                hour=at.hour, minute=at.minute, second=at.second, timezone=dt.UTC, jitter=jitter
            )
        seconds = int(self.interval.total_seconds())
        return IntervalTrigger(seconds=seconds, timezone=dt.UTC, jitter=jitter)


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a schedule, for metrics.  Totals count from its start.

    ``refused``, ``kept``, ``bytes_by_form`` (plain, compressed, foreign), ``oldest_record_at`` (of
    what stays) and ``over_bytes`` are those of the last run that has ended.
    """

    last_success_at: dt.datetime | None = None
    next_run_at: dt.datetime | None = None
    running: bool = False
    runs: int = 0
    failures: int = 0
    refused: bool = False
    last_error: str = ""
    kept: Mapping[str, int] = field(default_factory=dict)
    bytes_by_form: Mapping[str, int] = field(default_factory=dict)
    oldest_record_at: dt.datetime | None = None
    over_bytes: int = 0
    compressed: int = 0
    deleted: int = 0
    freed_bytes: int = 0


@dataclass(slots=True)
class _Findings:
    """The state of the directories, gathered during a run and published when it ends.

    Published earlier, an alert on any of it would end with the start of a run and begin again.
    """

    refused: bool = False
    kept: Counter[str] = field(default_factory=Counter)
    bytes_by_form: Counter[str] = field(default_factory=Counter)
    oldest_record_at: dt.datetime | None = None
    over_bytes: int = 0

    def add(self, result: RunResult[DirectoryPlan]) -> None:
        self.kept += Counter(s.action.reason for s in result.steps if s.action.action == "keep")
        self.bytes_by_form += _bytes_by_form(result)
        self.oldest_record_at = _oldest(result, self.oldest_record_at)
        self.over_bytes += result.plan.over_bytes


class RetentionSchedule:
    """Runs retention over directories with one policy, in the background, until it is stopped.

    ``indices`` is called after the directories, to delete old indices; it returns error messages.
    ``witnessed`` and ``archived`` give what run_retention takes under these names, for each run
    anew.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        policy: RetentionPolicy,
        state_dir: Path | None,
        sinks: Sequence[str],
        timetable: Timetable | None = None,
        *,
        host: str | None = None,
        instances: Mapping[Path, str] | None = None,
        counter: RecordCounter | None = None,
        indices: Callable[[dt.datetime, threading.Event], Sequence[str]] | None = None,
        witnessed: Callable[[], Mapping[str, int] | None] = lambda: None,
        archived: Callable[[], Archived] = lambda: None,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._directories = tuple(directories)
        self._policy = policy
        self._state_dir = state_dir
        self._sinks = tuple(sinks)
        self._timetable = timetable or Timetable()
        self._host = host
        self._instances = instances or {}
        self._counter = counter
        self._indices = indices
        self._witnessed = witnessed
        self._archived = archived
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._tried_at: dt.datetime | None = None
        self._status = Status()
        # A thread, since the scheduler starts no job while the wall clock is set back.
        self._watcher = threading.Thread(target=self._watch, name="retention-watch", daemon=True)
        self._scheduler = BackgroundScheduler(
            timezone=dt.UTC,
            executors={"default": ThreadPoolExecutor(max_workers=1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Begin; an overdue run starts at once."""
        self._status = Status(last_success_at=self._last_success())
        self._scheduler.add_job(self._run, self._timetable.trigger(), id=_JOB)
        self._scheduler.start()
        self._watcher.start()

    def stop(self) -> None:
        """Return when a current run has ended, which takes seconds at most."""
        self._stop.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
            self._watcher.join()

    def status(self) -> Status:
        job = self._scheduler.get_job(_JOB) if self._scheduler.running else None
        with self._lock:
            return replace(self._status, next_run_at=None if job is None else job.next_run_time)

    def _watch(self) -> None:
        """Run when a run is overdue.  Event.wait waits by the monotonic clock."""
        while not self._stop.is_set():
            if self._timetable.overdue(self._clock(), self._last_success(), self._tried_at):
                self._run()
            self._stop.wait(self._timetable.watch_every.total_seconds())

    def _last_success(self) -> dt.datetime | None:
        """Return the oldest last success of the directories; None when one never had a run."""
        succeeded = []
        for directory in self._directories:
            try:
                last = RunStore(self._state(directory)).load(directory)
            except (AuditLogError, OSError):
                return None  # the run will fail in the same way and report it
            if last is None:
                return None
            succeeded.append(last.at)
        return min(succeeded, default=None)

    def _state(self, directory: Path) -> Path:
        return directory / STATE_DIRECTORY if self._state_dir is None else self._state_dir

    def _run(self) -> None:
        """Run over all directories, unless a run is under way already."""
        give_way("retention")
        with self._lock:
            if self._status.running:
                return
            self._tried_at = self._clock()
            self._status = replace(self._status, running=True)
        findings = _Findings()
        try:
            for directory in self._directories:
                if not self._stop.is_set():
                    self._run_one(directory, findings)
            if self._indices is not None and not self._stop.is_set():
                self._failed(self._indices(self._clock(), self._stop))
        finally:
            last_success_at = self._last_success()
            with self._lock:
                self._status = replace(
                    self._status,
                    running=False,
                    last_success_at=last_success_at,
                    refused=findings.refused,
                    kept=dict(findings.kept),
                    bytes_by_form=dict(findings.bytes_by_form),
                    oldest_record_at=findings.oldest_record_at,
                    over_bytes=findings.over_bytes,
                )

    def _run_one(self, directory: Path, findings: _Findings) -> None:
        try:
            result = run_retention(
                directory,
                self._policy,
                self._state_dir,
                self._sinks,
                self._clock(),
                host=self._host,
                instance=self._instances.get(directory, ""),
                stop=self._stop,
                counter=self._counter,
                holds_in=self._directories,
                witnessed=self._witnessed(),
                archived=self._archived(),
            )
        except (AuditLogError, OSError) as error:
            _logger.error("%s", error)  # noqa: TRY400  (the error is expected and says it all)
            findings.refused |= isinstance(error, Refused)
            with self._lock:
                self._status = replace(
                    self._status,
                    runs=self._status.runs + 1,
                    failures=self._status.failures + 1,
                    last_error=str(error),
                )
            return
        findings.add(result)
        self._count(result)

    def _failed(self, errors: Sequence[str]) -> None:
        for error in errors:
            _logger.error("%s", error)
        if errors:
            with self._lock:
                failures = self._status.failures + len(errors)
                self._status = replace(self._status, failures=failures, last_error=errors[-1])

    def _count(self, result: RunResult[DirectoryPlan]) -> None:
        errors = [step.error for step in result.failures] + [result.error] * bool(result.error)
        for error in errors:
            _logger.error("%s", error)
        done = Counter(step.action.action for step in result.steps if step.done)
        with self._lock:
            before = self._status
            self._status = replace(
                before,
                runs=before.runs + 1,
                failures=before.failures + len(errors),
                last_error=errors[-1] if errors else "",
                compressed=before.compressed + done["compress"],
                deleted=before.deleted + done["delete"],
                freed_bytes=before.freed_bytes + sum(step.freed_bytes for step in result.steps),
            )


def _bytes_by_form(result: RunResult[DirectoryPlan]) -> Counter[str]:
    """Count the bytes on disk after the run."""
    sizes: Counter[str] = Counter()
    for step in result.steps:
        subject, action = step.action.subject, step.action.action
        left = subject.size_bytes - step.freed_bytes
        if not isinstance(subject, Segment):
            sizes["foreign"] += left
        elif step.done and action == "compress":
            sizes["compressed"] += left
        elif not step.done:
            sizes["plain" if "" in subject.forms else "compressed"] += left
    return sizes


def _oldest(result: RunResult[DirectoryPlan], before: dt.datetime | None) -> dt.datetime | None:
    """Return the first instant of the oldest segment that stays; by its name if it was not read."""
    instants = [] if before is None else [before]
    for step in result.steps:
        subject = step.action.subject
        if isinstance(subject, Segment) and not (step.done and step.action.action == "delete"):
            instants.append(
                subject.begins_at if subject.bounds is None else subject.bounds.first_at
            )
    return min(instants, default=None)
