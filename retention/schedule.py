"""Run retention every day: on time, never twice at once, and late rather than not at all.

APScheduler keeps the timetable (UTC, coalesced, one run at a time, no misfire is dropped); when
the last run ended well is our own durable file.  A watch looks once a minute whether a run is
overdue: after downtime, after suspend (the scheduler waits on a clock that stands still meanwhile)
and after the wall clock was set.  A run that failed is tried again after an hour.

Invariants (tests of the same name in tests/retention/test_schedule.py):
  overdue     never run, or not for longer than the interval: it starts at once
  patient     a run that fails is not repeated before retry_after
  stops       stop ends a run in the middle of a large segment within seconds
  reported    status tells what the last run did and when the next one is
  gives_way   a run has the lowest priorities, and no other thread has
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from auditlog.errors import AuditLogError
from auditlog.reading.inventory import STATE_DIRECTORY
from retention.errors import PolicyError, Refused
from retention.last_run import LastRunStore
from retention.priority import give_way
from retention.service import run_retention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from retention.apply import IndexCount
    from retention.policy import Policy
    from retention.service import RunResult

__all__ = ["RetentionSchedule", "Status", "Timetable"]

_JOB: Final = "retention"
_DAY: Final = dt.timedelta(days=1)

_logger = logging.getLogger("auditlog.retention")


@dataclass(frozen=True, slots=True)
class Timetable:
    """When to run: every day at ``daily_at`` (UTC), or every ``interval`` where that is not a day.

    ``jitter`` spreads the hosts of a fleet, over a tenth of the interval at most; ``watch_every``
    is how often overdue runs are looked for.  Raises PolicyError.
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
        """Whether a run has to start now; a clock set back counts as any other missed run."""
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
    """What a metrics page shows.  Totals count since the schedule was started.

    ``kept``, ``bytes_by_form`` (plain, compressed and foreign, as the run found them),
    ``oldest_record_at`` (of what stays) and ``over_bytes`` are of the last run.
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


class RetentionSchedule:
    """Runs retention over directories with one policy, in the background, until it is stopped.

    ``indices`` is called after the directories, for what else is to be retained; it tells what
    failed, and is not called again before the next run.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        policy: Policy,
        state_dir: Path | None,
        sinks: Sequence[str],
        timetable: Timetable | None = None,
        *,
        host: str | None = None,
        instances: Mapping[Path, str] | None = None,
        index: IndexCount | None = None,
        indices: Callable[[dt.datetime, threading.Event], Sequence[str]] | None = None,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._directories = tuple(directories)
        self._policy = policy
        self._state_dir = state_dir
        self._sinks = tuple(sinks)
        self._timetable = timetable or Timetable()
        self._host = host
        self._instances = instances or {}
        self._index = index
        self._indices = indices
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._tried_at: dt.datetime | None = None
        self._status = Status()
        self._executor = ThreadPoolExecutor(max_workers=2)
        self._scheduler = BackgroundScheduler(
            timezone=dt.UTC,
            executors={"default": self._executor},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Begin; an overdue run starts at once."""
        self._status = Status(last_success_at=self._last_success())
        self._scheduler.add_job(self._run, self._timetable.trigger(), id=_JOB)
        self._scheduler.add_job(
            self._watch,
            IntervalTrigger(
                seconds=int(self._timetable.watch_every.total_seconds()), timezone=dt.UTC
            ),
            next_run_time=dt.datetime.now(dt.UTC),
        )
        self._scheduler.start()

    def stop(self) -> None:
        """Return when a run under way has ended, which takes seconds at most."""
        self._stop.set()
        if self._scheduler.running:
            # With wait=True it would hold the lock that a running _watch needs, for ever.
            self._scheduler.shutdown(wait=False)
            self._executor.shutdown(wait=True)

    def status(self) -> Status:
        job = self._scheduler.get_job(_JOB) if self._scheduler.running else None
        with self._lock:
            return replace(self._status, next_run_at=None if job is None else job.next_run_time)

    def _watch(self) -> None:
        with self._lock:
            running = self._status.running
        if running or self._stop.is_set():
            return
        if self._timetable.overdue(self._clock(), self._last_success(), self._tried_at):
            with contextlib.suppress(JobLookupError):  # stopped meanwhile: its jobs are gone
                self._scheduler.modify_job(_JOB, next_run_time=dt.datetime.now(dt.UTC))

    def _last_success(self) -> dt.datetime | None:
        """That of the directory which waits the longest; None when one never had a run."""
        succeeded = []
        for directory in self._directories:
            try:
                last = LastRunStore(self._state(directory)).load(directory)
            except (AuditLogError, OSError):
                return None  # the run itself meets the same error and reports it
            if last is None:
                return None
            succeeded.append(last.at)
        return min(succeeded, default=None)

    def _state(self, directory: Path) -> Path:
        return directory / STATE_DIRECTORY if self._state_dir is None else self._state_dir

    def _run(self) -> None:
        give_way()
        with self._lock:
            self._tried_at = self._clock()
            self._status = replace(
                self._status,
                running=True,
                kept={},
                bytes_by_form={},
                oldest_record_at=None,
                over_bytes=0,
                refused=False,
            )
        try:
            for directory in self._directories:
                if not self._stop.is_set():
                    self._run_one(directory)
            if self._indices is not None and not self._stop.is_set():
                self._failed(self._indices(self._clock(), self._stop))
        finally:
            last_success_at = self._last_success()
            with self._lock:
                self._status = replace(self._status, running=False, last_success_at=last_success_at)

    def _run_one(self, directory: Path) -> None:
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
                index=self._index,
            )
        except (AuditLogError, OSError) as error:
            _logger.error("%s", error)  # noqa: TRY400  (expected errors say it all themselves)
            with self._lock:
                self._status = replace(
                    self._status,
                    runs=self._status.runs + 1,
                    failures=self._status.failures + 1,
                    refused=self._status.refused or isinstance(error, Refused),
                    last_error=str(error),
                )
            return
        self._count(result)

    def _failed(self, errors: Sequence[str]) -> None:
        for error in errors:
            _logger.error("%s", error)
        if errors:
            with self._lock:
                failures = self._status.failures + len(errors)
                self._status = replace(self._status, failures=failures, last_error=errors[-1])

    def _count(self, result: RunResult) -> None:
        errors = [step.error for step in result.failures] + [result.error] * bool(result.error)
        for error in errors:
            _logger.error("%s", error)
        done = Counter(step.action.action for step in result.steps if step.done)
        kept = Counter(step.action.reason for step in result.steps if step.action.action == "keep")
        with self._lock:
            before = self._status
            self._status = replace(
                before,
                runs=before.runs + 1,
                failures=before.failures + len(errors),
                last_error=errors[-1] if errors else "",
                kept=dict(Counter(before.kept) + kept),
                bytes_by_form=dict(Counter(before.bytes_by_form) + _bytes_by_form(result)),
                oldest_record_at=_oldest(result, before.oldest_record_at),
                over_bytes=before.over_bytes + result.plan.over_bytes,
                compressed=before.compressed + done["compress"],
                deleted=before.deleted + done["delete"],
                freed_bytes=before.freed_bytes + sum(step.freed_bytes for step in result.steps),
            )


def _bytes_by_form(result: RunResult) -> Counter[str]:
    """What is on disk after the run, in bytes."""
    sizes: Counter[str] = Counter()
    for step in result.steps:
        file = step.action.file
        if file is None:
            sizes["foreign"] += step.action.size_bytes - step.freed_bytes
        elif step.done and step.action.action == "compress":
            sizes["compressed"] += step.action.size_bytes - step.freed_bytes
        elif not step.done:
            sizes["plain" if "" in file.forms else "compressed"] += step.action.size_bytes
    return sizes


def _oldest(result: RunResult, before: dt.datetime | None) -> dt.datetime | None:
    """The first instant of the oldest segment that stays; by its name where it was not read."""
    instants = [] if before is None else [before]
    for step in result.steps:
        action = step.action
        if action.file is None or (step.done and action.action == "delete"):
            continue
        if action.bounds is not None:
            instants.append(action.bounds.first_at)
        else:
            instants.append(dt.datetime.combine(action.file.name.day, dt.time(), dt.UTC))
    return min(instants, default=None)
