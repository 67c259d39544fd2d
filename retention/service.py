"""One retention run over one directory: lock, gather, plan, ask the breaker, apply, remember.

A dry run does the same up to the plan and writes nothing at all, not even a lock.

Invariants (tests of the same name in tests/retention/test_service.py):
  dry          a dry run leaves every byte and every time stamp as it was
  refused      what the breaker stops changes nothing
  one_at_once  a second run on the directory or the state directory is Busy
  verifies     after every run the directory verifies
"""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditlog.errors import AuditLogError
from auditlog.reading.inventory import STATE_DIRECTORY
from retention import census, foreign
from retention.apply import IndexCount, Step, apply
from retention.compress import remove_stale
from retention.errors import Refused, RetentionError
from retention.holds import HoldStore
from retention.last_run import LastRunStore
from retention.lock import locked
from retention.plan import Plan, plan
from retention.proofs import ProofLog
from retention.rules import Finding, explain

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from retention.facts import ShipGate
    from retention.plan import Action
    from retention.policy import Policy

__all__ = ["Explanation", "RunResult", "explain_segment", "run_retention"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """A plan and what became of it; after a dry run no step is done."""

    plan: Plan
    steps: tuple[Step, ...]
    dry_run: bool
    stopped: bool = False
    error: str = ""

    @property
    def failures(self) -> tuple[Step, ...]:
        """Steps that were tried and not done; what was found damaged is kept, not failed."""
        return tuple(step for step in self.steps if step.error)

    @property
    def ok(self) -> bool:
        return not (self.failures or self.stopped or self.error)

    @property
    def totals(self) -> dict[str, int]:
        """Segments by action, and the bytes on disk that were freed (dry: by deletions alone)."""
        verbs = Counter(step.action.action for step in self.steps)
        deletes = self.plan.only("delete")
        freed = (
            sum(action.size_bytes for action in deletes)
            if self.dry_run
            else sum(step.freed_bytes for step in self.steps)
        )
        return {
            "keep": verbs["keep"],
            "compress": verbs["compress"],
            "delete": verbs["delete"],
            "freed_bytes": freed,
        }

    def to_json(self) -> dict[str, Any]:
        """The object that ``auditctl prune --json`` prints."""
        return {
            **self.plan.to_json(dry_run=self.dry_run),
            "actions": [
                step.action.to_json(done=step.done) | ({"error": step.error} if step.error else {})
                for step in self.steps
            ],
            "totals": self.totals,
        }


def run_retention(
    directory: str | os.PathLike[str],
    policy: Policy,
    state_dir: str | os.PathLike[str] | None,
    sinks: Sequence[str],
    now: dt.datetime,
    *,
    dry_run: bool = False,
    confirm: bool = False,
    simulated: bool = False,
    host: str | None = None,
    instance: str = "",
    by: str = "schedule",
    stop: threading.Event | None = None,
    index: IndexCount | None = None,
) -> RunResult:
    """Plan, and unless ``dry_run`` compress and delete.

    state_dir   where cursors, holds and the last run lie; None: ``.auditlog`` in the directory
    sinks       names of the configured sinks; nothing goes that one of them did not acknowledge
    now         UTC; ``simulated`` says that a person gave it and no clock
    confirm     go on although the breaker says to ask
    host        names the log of tombstones, ``retention@<host>``; None: this host
    instance    tells it from that of another directory, where one host has several
    by          who ordered the run, as the tombstones tell
    stop        when set, the run ends within seconds and leaves nothing half done
    index       counts records in the sinks, where the policy wants that before a deletion

    A simulated run is not remembered as the last one.  Raises Refused (with the plan), Busy,
    StateDamaged, RetentionError when the directory cannot be used, OSError.
    """
    directory = Path(directory)
    state = directory / STATE_DIRECTORY if state_dir is None else Path(state_dir)
    if now.utcoffset() is None:
        raise RetentionError("the instant of a run needs a time zone")
    if not directory.is_dir():
        raise RetentionError("there is no such directory", path=directory)

    def planned() -> tuple[Plan, ShipGate]:
        holds = HoldStore(state).load()
        last_run = LastRunStore(state).load(directory)
        facts, cursors = census.gather(
            directory, policy, sinks=sinks, state_dir=state, holds=holds, now=now, stop=stop
        )
        return (
            plan(facts, policy, cursors, holds, now, last_run=last_run, simulated=simulated),
            cursors,
        )

    if dry_run:
        with _uncollected():
            decided, _ = planned()
            steps = tuple(Step(action) for action in decided.actions)
        return RunResult(decided, steps, dry_run=True)
    with ExitStack() as stack:
        # By directory, since people also run it by hand with a state directory of their own.
        for place in sorted({(directory / STATE_DIRECTORY).resolve(), state.resolve()}):
            stack.enter_context(locked(place / "retention.lock"))
        remove_stale(directory)
        with _uncollected():
            decided, cursors = planned()
        if decided.refusals and not confirm:
            raise Refused(decided, path=directory)
        return _carry_out(
            decided,
            cursors,
            state,
            ProofLog(directory, host, instance),
            by=by,
            stop=stop or threading.Event(),
            index=index,
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for reference cycles: the facts and actions of a plan have none, and to
    look through 100,000 segments' again and again takes as long as to make them.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is planned for one segment, and what each rule says of it, in the rules' order."""

    action: Action
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """The object that ``auditctl prune --explain --json`` prints."""
        return {
            "schema": "auditctl.explain/1",
            **self.action.to_json(),
            "rules": [asdict(finding) for finding in self.findings],
        }


def explain_segment(
    directory: Path,
    policy: Policy,
    state_dir: Path,
    sinks: Sequence[str],
    now: dt.datetime,
    *,
    segment: str,
) -> Explanation | None:
    """Explain the plan for one segment or adopted file, named in any form; None: it is not there.

    Writes nothing.  Raises StateDamaged, OSError.
    """
    holds = HoldStore(state_dir).load()
    logical = segment.removesuffix(".zst").removesuffix(".gz")
    facts, cursors = census.gather(
        directory, policy, sinks=sinks, state_dir=state_dir, holds=holds, now=now, asked=logical
    )
    decided = plan(facts, policy, cursors, holds, now, simulated=True)
    newer = foreign.newer_counts(facts.adopted)
    for place, file in enumerate(facts.adopted):
        if file.plain.name == logical:
            action = next(action for action in decided.actions if action.adopted is file)
            findings = foreign.explain(file, newer[place], holds, now)
            return Explanation(action, (*findings, *_for_room(action)))
    for action in decided.actions:
        if action.file is None or action.segment != logical:
            continue
        log = action.file.name.log
        segments = facts.segments[log]
        index = next(n for n, found in enumerate(segments) if found.file is action.file)
        findings = explain(
            log, segments, index, policy=policy, cursors=cursors, holds=holds, now=now
        )
        return Explanation(action, (*findings, *_for_room(action)))
    return None


def _for_room(action: Action) -> tuple[Finding, ...]:
    """What max_total_bytes says, which lets go what age alone keeps."""
    return (Finding("size", False, action.detail),) if action.reason == "size" else ()


def _carry_out(
    decided: Plan,
    cursors: ShipGate,
    state: Path,
    proof_log: ProofLog,
    *,
    by: str,
    stop: threading.Event,
    index: IndexCount | None,
) -> RunResult:
    error = ""
    steps: tuple[Step, ...] = ()
    try:
        with proof_log as proofs:
            steps = apply(decided, proofs, HoldStore(state), cursors, by=by, stop=stop, index=index)
    except AuditLogError as failed:
        if not steps:
            raise
        error = str(failed)  # closing the log failed; each tombstone was durable before
    result = RunResult(decided, steps, dry_run=False, stopped=stop.is_set(), error=error)
    if result.ok and not decided.simulated:
        LastRunStore(state).save(
            decided.directory, decided.at, decided.policy, decided.sinks, result.totals
        )
    return result
