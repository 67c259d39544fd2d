"""One retention run over the daily indices of a sink: lock, list, plan, ask, prove, delete.

The cluster is behind a small protocol, so that retention knows no client of any.  An index is
deleted by its exact name, after one more look at it, and after its tombstone is durable.

Invariants (tests of the same name in tests/retention/test_index_run.py):
  dry          a dry run asks the cluster for a list, and changes nothing anywhere
  announces    the first run deletes nothing, the next one what it said
  refused      what the breaker stops changes nothing
  proven       no index is asked to be deleted without a durable tombstone
  once         an index that could not be deleted gets no second tombstone
  changed      an index that is another one by now, or is held by now, stays
  goes_on      one index that cannot be deleted does not stop the others
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from auditlog.cursors import CursorStore
from auditlog.errors import AuditLogError
from auditlog.reading.inventory import STATE_DIRECTORY, scan
from auditlog.reading.reader import bounds
from retention.errors import IndicesRefused, StateDamaged
from retention.holds import HoldStore
from retention.index_memory import IndexRunStore
from retention.index_plan import plan_indices
from retention.lock import locked
from retention.proofs import ProofLog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditlog.reading.inventory import SegmentFile
    from retention.index_plan import IndexAction, IndexFacts, IndexPlan, IndexPolicy

__all__ = ["IndexCluster", "IndexResult", "IndexStep", "run_index_retention"]

_logger = logging.getLogger("auditlog.retention")

_PATIENCE: Final = dt.timedelta(seconds=2)
"""How long another process may write the log of tombstones, to record a hold."""


class IndexCluster(Protocol):
    """The indices of one sink.  Every method raises AuditLogError when it cannot be done."""

    def indices(self) -> Sequence[IndexFacts]:
        """Everything whose name begins like the pattern."""
        ...

    def delete(self, name: str) -> None:
        """Delete the index of exactly this name, no alias and no pattern; gone already is done."""
        ...


@dataclass(frozen=True, slots=True)
class IndexStep:
    """What became of one action; ``error`` says why it was tried and not done."""

    action: IndexAction
    done: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class IndexResult:
    """A plan and what became of it.  ``announced``: nothing was done, since the plan announces."""

    plan: IndexPlan
    steps: tuple[IndexStep, ...]
    dry_run: bool
    announced: bool = False
    error: str = ""

    @property
    def errors(self) -> tuple[str, ...]:
        own = (self.error,) if self.error else ()
        return (*(f"{s.action.index.name}: {s.error}" for s in self.steps if s.error), *own)

    def to_json(self) -> dict[str, Any]:
        """The object that ``auditctl prune --indices --json`` prints."""
        return {
            "schema": "auditctl.prune_indices/1",
            "dry_run": self.dry_run,
            "announced": self.announced,
            **self.plan.to_json(),
            "actions": [
                step.action.to_json(done=step.done) | ({"error": step.error} if step.error else {})
                for step in self.steps
            ],
        }


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
) -> IndexResult:
    """Plan, and unless ``dry_run`` or the plan announces, delete.

    Tombstones go into the retention log of the first directory; cursors of the logs in all of them
    say what is still to be shipped.  ``confirm``, ``simulated``, ``host``, ``by`` and ``stop`` as
    in run_retention.  Raises IndicesRefused (with the plan), Busy, StateDamaged, OSError, and what
    the cluster raises when it cannot be listed.
    """

    def planned() -> IndexPlan:
        # The cursors first: what is shipped meanwhile only makes the plan keep more.
        pending_from = _pending_from(directories, policy.sink, state_dir)
        return plan_indices(
            cluster.indices(),
            policy,
            HoldStore(state_dir).load(),
            now,
            pending_from=pending_from,
            last_run=IndexRunStore(state_dir).load(policy.sink),
            simulated=simulated,
        )

    if dry_run:
        decided = planned()
        return IndexResult(decided, tuple(map(IndexStep, decided.actions)), dry_run=True)
    with ExitStack() as stack:
        for place in sorted({(directories[0] / STATE_DIRECTORY).resolve(), state_dir.resolve()}):
            stack.enter_context(locked(place / "retention.lock"))
        decided = planned()
        if decided.announces and not confirm:
            _announce(decided)
            IndexRunStore(state_dir).save(policy, now)
            steps = tuple(map(IndexStep, decided.actions))
            return IndexResult(decided, steps, dry_run=False, announced=True)
        if decided.refusals and not confirm:
            raise IndicesRefused(decided)
        proofs = ProofLog(directories[0], host, patience=_PATIENCE)
        work = _Work(decided, cluster, HoldStore(state_dir), proofs, by)
        result = work.run(stop or threading.Event())
        if not result.errors and not (stop is not None and stop.is_set()):
            IndexRunStore(state_dir).save(policy, now)
        return result


def _announce(plan: IndexPlan) -> None:
    names = [action.index.name for action in plan.only("delete")]
    _logger.warning(
        "sink %s: %s; nothing was deleted, the next run deletes %d indices%s",
        plan.policy.sink,
        plan.announces,
        len(names),
        f" ({names[0]} to {names[-1]})" if names else "",
    )


@dataclass(slots=True)
class _Work:
    plan: IndexPlan
    cluster: IndexCluster
    holds: HoldStore
    proofs: ProofLog
    by: str

    def run(self, stop: threading.Event) -> IndexResult:
        steps: list[IndexStep] = []
        error = ""
        try:
            with self.proofs:
                for action in self.plan.actions:
                    act = action.action == "delete" and not stop.is_set()
                    steps.append(self._delete(action) if act else IndexStep(action))
        except AuditLogError as failed:
            error = str(failed)  # closing the log failed; each tombstone was durable before
        return IndexResult(self.plan, tuple(steps), dry_run=False, error=error)

    def _delete(self, action: IndexAction) -> IndexStep:
        name = action.index.name
        try:
            if (kept := self._look_again(action)) is not None:
                return IndexStep(kept)
            self.proofs.bury_index(self._tombstone(action), actor=self.by)
            self.cluster.delete(name)
        except (AuditLogError, OSError) as error:
            return IndexStep(action, error=str(error))
        _logger.info("deleted index %s, %d documents", name, action.index.documents)
        return IndexStep(action, done=True)

    def _look_again(self, action: IndexAction) -> IndexAction | None:
        """The action that keeps it, where it is another index, or held, since the plan was made."""
        again = plan_indices(
            self.cluster.indices(),
            self.plan.policy,
            self.holds.load(),
            self.plan.at,
            pending_from=None,
            last_run=None,
            simulated=True,
        )
        for found in again.actions:
            if found.index.name == action.index.name:
                if found.action == "keep":
                    return found
                if found.index.uuid == action.index.uuid:
                    return None
        changed = "it is not the index that the plan saw"
        return replace(action, action="keep", reason="changed", detail=changed)

    def _tombstone(self, action: IndexAction) -> dict[str, Any]:
        assert action.day is not None  # noqa: S101  (what has no day is kept)
        return {
            "sink": self.plan.policy.sink,
            "urls": list(self.plan.policy.urls),
            "index": action.index.name,
            "day": action.day.isoformat(),
            "uuid": action.index.uuid,
            "documents": action.index.documents,
            "bytes": action.index.size_bytes,
            "policy": self.plan.policy.to_json(),
            "by": self.by,
        }


def _pending_from(directories: Sequence[Path], sink: str, state_dir: Path) -> dt.date | None:
    """The first day of which a log may hold what the sink has not acknowledged."""
    store = CursorStore(state_dir)
    pending = []
    for directory in directories:
        if not directory.is_dir():  # unmounted: nobody can tell what is in it
            raise StateDamaged(
                "there is no such directory, so nobody can tell what is still to be shipped",
                path=directory,
                hint="Mount it, or take it out of the configuration.",
            )
        for log, segments in scan(directory).logs.items():
            cursor = store.load(sink, log)
            if cursor is None:
                pending.append(segments[0].name.day)
            elif not _ends_at(segments, cursor.seq):
                known = [s.name.day for s in segments if s.name.logical >= cursor.segment]
                pending.append(min(known, default=segments[0].name.day))
    return min(pending, default=None)


def _ends_at(segments: tuple[SegmentFile, ...], seq: int) -> bool:
    """Whether the log has nothing behind this number."""
    try:
        ends = bounds(segments[-1])
    except (AuditLogError, FileNotFoundError):
        return False  # damaged, or going: in doubt there is
    return ends is not None and ends.last_seq <= seq
