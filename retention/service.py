"""Run retention once for a directory or a sink's indices: plan, check, act.

A dry run does the same up to the plan and writes nothing, not even a lock file.

Invariants (tests of the same name in tests/retention/test_service.py):
  dry          a dry run leaves every byte and every time stamp as it was
  refused      what the breaker stops changes nothing
  one_at_once  a second run on the directory or the state directory is Busy
  verifies     after every run the directory verifies

Invariants (tests of the same name in tests/retention/test_act_on_indices.py):
  dry          a dry run asks the cluster for a list, and changes nothing anywhere
  refused      what the breaker stops changes nothing
  announces    the first run over indices deletes nothing, the next one what it said
"""

from __future__ import annotations

import datetime as dt
import gc
import logging
import os
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from auditlog.errors import AuditLogError
from auditlog.format.tombstones import SCHEDULE
from auditlog.reading.inventory import STATE_DIRECTORY
from retention.act import FileHandler, IndexHandler, Step, act
from retention.compress import remove_stale
from retention.errors import RetentionError
from retention.gather import gather, pending_from, unarchived_from
from retention.holds import HoldStore
from retention.lock import locked
from retention.memory import IndexRunStore, RunStore
from retention.plan import DirectoryPlan, IndexPlan, Plan, Refused, plan, plan_indices
from retention.policy import plain_name
from retention.tombstone_log import RetentionRun, TombstoneLog, recorded_holds
from retention.verdict import RuleResult, explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from retention.act import IndexCluster, RecordCounter
    from retention.gather import Archived
    from retention.plan import Action
    from retention.policy import IndexPolicy, RetentionPolicy
    from retention.subjects import SinkCursors

__all__ = [
    "Explanation",
    "RunResult",
    "exclusive",
    "explain_subject",
    "run_index_retention",
    "run_retention",
]

_logger = logging.getLogger("auditlog.retention")

_TOMBSTONE_LOG_WAIT: Final = dt.timedelta(seconds=2)
"""How long another process may write the log of tombstones, to record a hold."""

P = TypeVar("P", bound=Plan)


@dataclass(frozen=True, slots=True)
class RunResult(Generic[P]):
    """A plan and its steps; after a dry run no step is done.

    stopped     a stop ended the run early
    announced   nothing was done, since the plan of a sink's indices announces
    error       what went wrong besides the steps
    """

    plan: P
    steps: tuple[Step, ...]
    dry_run: bool
    stopped: bool = False
    announced: bool = False
    error: str = ""

    @property
    def failures(self) -> tuple[Step, ...]:
        """The steps that were tried and not done; what was found damaged is kept, not failed."""
        return tuple(step for step in self.steps if step.error)

    @property
    def errors(self) -> tuple[str, ...]:
        """One message for each failure, and for ``error``."""
        messages = [f"{step.action.name}: {step.error}" for step in self.failures]
        return (*messages, *([self.error] if self.error else []))

    @property
    def ok(self) -> bool:
        return not (self.failures or self.stopped or self.error)

    @property
    def totals(self) -> dict[str, int]:
        """Count what was done, and the bytes freed on disk; of a dry run, what would be.

        What failed counts as kept.  Of compression a dry run does not know what it frees.
        """
        verbs = Counter(
            step.action.action if self.dry_run or step.done else "keep" for step in self.steps
        )
        freed = sum(step.freed_bytes for step in self.steps)
        if self.dry_run:
            freed = sum(action.size_bytes for action in self.plan.only("delete"))
        return {
            "keep": verbs["keep"],
            "compress": verbs["compress"],
            "delete": verbs["delete"],
            "freed_bytes": freed,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``auditctl prune --json`` prints."""
        actions = [
            step.action.to_json(done=step.done) | ({"error": step.error} if step.error else {})
            for step in self.steps
        ]
        printed = self.plan.to_json(dry_run=self.dry_run) | {"actions": actions}
        if isinstance(self.plan, IndexPlan):
            return printed | {"announced": self.announced}
        return printed | {"totals": self.totals}


def run_retention(
    directory: str | os.PathLike[str],
    policy: RetentionPolicy,
    state_dir: str | os.PathLike[str] | None,
    sinks: Sequence[str],
    now: dt.datetime,
    *,
    dry_run: bool = False,
    confirm: bool = False,
    simulated: bool = False,
    host: str | None = None,
    instance: str = "",
    by: str = "",
    stop: threading.Event | None = None,
    counter: RecordCounter | None = None,
    holds_in: Sequence[Path] = (),
    witnessed: Mapping[str, int] | None = None,
    archived: Archived = None,
) -> RunResult[DirectoryPlan]:
    """Plan a directory, and unless ``dry_run`` compress and delete.

    state_dir   directory of the cursors, holds and the last run; None: ``.auditlog`` in it
    sinks       names of the sinks to wait for; without any, nothing waits for being shipped
    now         UTC; ``simulated`` says that it was given by a person and is not a clock
    confirm     go on although the circuit breaker refuses
    host        names the log of tombstones, ``retention@<host>``; None: this host
    instance    distinguishes that log from another directory's, where one host has several
    by          who ordered the run, for the tombstones; empty: the schedule, or where a person
                confirmed it or gave the instant, the user of this process
    stop        when set, the run ends within seconds and leaves nothing half done
    counter     counts records in the sinks, where the policy wants that before a deletion
    holds_in    further directories whose retention logs have holds
    witnessed   the last record of each log that a quorum cosigned; None: no witness is waited for
    archived    the segments of each log that the archive has; None: no archive is waited for

    A simulated run is not remembered as the last one.  Raises Refused (with the plan), Busy,
    StateDamaged, RetentionError when the directory cannot be used, OSError.
    """
    directory = Path(directory)
    state = directory / STATE_DIRECTORY if state_dir is None else Path(state_dir)
    stop = stop or threading.Event()
    by = by or (f"uid-{os.getuid()}" if confirm or simulated else SCHEDULE)
    if now.utcoffset() is None:
        raise RetentionError("the instant of a run needs a time zone")
    if not directory.is_dir():
        raise RetentionError("there is no such directory", path=directory)

    store = HoldStore(state, recorded_holds((directory, *holds_in)))

    def planned() -> tuple[DirectoryPlan, SinkCursors]:
        holds = store.load()
        last_run = RunStore(state).load(directory)
        facts, cursors = gather(
            directory,
            policy,
            sinks=sinks,
            state_dir=state,
            holds=holds,
            now=now,
            stop=stop,
            witnessed=witnessed,
            archived=archived,
        )
        return (
            plan(facts, policy, cursors, holds, now, last_run=last_run, simulated=simulated),
            cursors,
        )

    if dry_run:
        with _without_garbage_collection():
            decided, _ = planned()
            return RunResult(decided, tuple(map(Step, decided.actions)), dry_run=True)
    with exclusive(directory, state):
        remove_stale(directory)
        with _without_garbage_collection():
            decided, cursors = planned()
        if decided.refusals and not confirm:
            raise Refused(decided, path=directory)
        run = RetentionRun(now, simulated=simulated, confirmed=bool(decided.refusals))
        handler = FileHandler(policy, cursors, run, counter)
        result = _carry_out(
            decided, handler, TombstoneLog(directory, host, instance), store, by=by, stop=stop
        )
        if result.ok and not simulated:
            RunStore(state).save(directory, now, policy, decided.sinks, result.totals)
        elif decided.refusals and not simulated:
            # The person was asked; that a step failed is no reason to ask again.
            RunStore(state).confirm(directory, policy, decided.sinks)
        return result


def run_index_retention(
    directories: Sequence[Path],
    policy: IndexPolicy,
    cluster: IndexCluster,
    state_dir: Path,
    now: dt.datetime,
    *,
    dry_run: bool = False,
    confirm: bool = False,
    simulated: bool = False,
    host: str | None = None,
    by: str = "schedule",
    stop: threading.Event | None = None,
    archived: Archived = None,
) -> RunResult[IndexPlan]:
    """Plan the indices of a sink, and unless ``dry_run`` or the plan announces, delete.

    Tombstones are written to the retention log of the first directory; the cursors of the logs in
    all of them say what is still to be shipped.  The other arguments are those of run_retention.
    Raises Refused (with the plan), Busy, StateDamaged, OSError, and what the cluster raises when it
    cannot be listed.
    """
    stop = stop or threading.Event()
    store = HoldStore(state_dir, recorded_holds(directories))

    def planned() -> IndexPlan:
        # Read the cursors first: records shipped later only make the plan keep more.
        pending = pending_from(directories, policy.sink, state_dir)
        unarchived = unarchived_from(directories, archived)
        return plan_indices(
            cluster.indices(),
            policy,
            store.load(),
            now,
            pending_from=pending,
            last_run=IndexRunStore(state_dir).load(policy.sink),
            simulated=simulated,
            unarchived_from=unarchived,
        )

    if dry_run:
        decided = planned()
        return RunResult(decided, tuple(map(Step, decided.actions)), dry_run=True)
    with exclusive(directories[0], state_dir):
        decided = planned()
        if decided.announces and not confirm:
            _announce(decided)
            IndexRunStore(state_dir).save(policy, now)
            steps = tuple(map(Step, decided.actions))
            return RunResult(decided, steps, dry_run=False, announced=True)
        if decided.refusals and not confirm:
            raise Refused(decided)
        tombstones = TombstoneLog(directories[0], host, patience=_TOMBSTONE_LOG_WAIT)
        handler = IndexHandler(decided, cluster)
        result = _carry_out(decided, handler, tombstones, store, by=by, stop=stop)
        if result.ok:
            IndexRunStore(state_dir).save(policy, now)
        return result


def _announce(plan: IndexPlan) -> None:
    names = [action.name for action in plan.only("delete")]
    _logger.warning(
        "sink %s: %s; nothing was deleted, the next run deletes %d indices%s",
        plan.policy.sink,
        plan.announces,
        len(names),
        f" ({names[0]} to {names[-1]})" if names else "",
    )


@contextmanager
def exclusive(directory: Path, state_dir: Path) -> Iterator[None]:
    """Lock the directory as well as the state directory, which a run by hand may not share."""
    with ExitStack() as stack:
        for place in sorted({(directory / STATE_DIRECTORY).resolve(), state_dir.resolve()}):
            stack.enter_context(locked(place / "retention.lock"))
        yield


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pause the garbage collector: a plan has no reference cycles, and searching the objects of
    100,000 segments for them takes as long as making them.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _carry_out(
    decided: P,
    handler: FileHandler | IndexHandler,
    tombstones: TombstoneLog,
    store: HoldStore,
    *,
    by: str,
    stop: threading.Event,
) -> RunResult[P]:
    error = ""
    steps: tuple[Step, ...] = ()
    try:
        with tombstones:
            steps = act(decided, handler, tombstones, store, by=by, stop=stop)
    except AuditLogError as failed:
        if not steps:
            raise
        error = str(failed)  # closing the log failed; each tombstone was durable before
    return RunResult(decided, steps, dry_run=False, stopped=stop.is_set(), error=error)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The planned action of one subject, and the result of every rule, in the rules' order."""

    action: Action
    findings: tuple[RuleResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``auditctl prune --explain --json`` prints."""
        return {
            "schema": "auditctl.explain/1",
            **self.action.to_json(),
            "rules": [
                {"rule": found.rule, "keeps": found.keeps, "detail": found.detail}
                for found in self.findings
            ],
        }


def explain_subject(
    directory: Path,
    policy: RetentionPolicy,
    state_dir: Path,
    sinks: Sequence[str],
    now: dt.datetime,
    *,
    name: str,
    holds_in: Sequence[Path] = (),
    witnessed: Mapping[str, int] | None = None,
    archived: Archived = None,
) -> Explanation | None:
    """Explain the plan for one segment or adopted file, named in any form; None: it is not there.

    Writes nothing.  Raises StateDamaged, OSError.
    """
    holds = HoldStore(state_dir, recorded_holds((directory, *holds_in))).load()
    asked = plain_name(name)
    facts, cursors = gather(
        directory,
        policy,
        sinks=sinks,
        state_dir=state_dir,
        holds=holds,
        now=now,
        asked=asked,
        witnessed=witnessed,
        archived=archived,
    )
    decided = plan(facts, policy, cursors, holds, now, simulated=True)
    for action in decided.actions:
        if plain_name(action.name) == asked and action.reason != "foreign":
            findings = explain(*action.case)
            if action.reason == "size":  # max_total_bytes overrides age
                findings = (*findings, RuleResult("size", keeps=False, detail=action.detail))
            return Explanation(action, findings)
    return None
