"""Carry out a plan, segment by segment, looking once more before each step.

Deletions come first: they free space that compression needs.  A deletion reads the whole segment,
checks that it is the unbroken chain the plan saw, makes the tombstone durable, and only then
unlinks.  What is found damaged or changed stays, and the run goes on with the next.

Invariants (tests of the same name in tests/retention/test_apply.py):
  proven       no segment is gone without a durable tombstone
  damaged      a segment whose content is not an unbroken chain stays
  once         killed between tombstone and unlink, the next run unlinks without a second one
  late_hold    a hold that came after the plan still keeps
  counted      with verify_before_delete, what a sink lacks stays
  goes_on      one segment that cannot be handled does not stop the others
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from auditlog import durable_fs
from auditlog.errors import AuditLogError
from retention import tombstone
from retention.compress import compress
from retention.content import inspect
from retention.errors import RetentionError, SegmentChanged, SegmentDamaged, Stopped
from retention.foreign_apply import carry_out_foreign
from retention.matching import matching

if TYPE_CHECKING:
    import datetime as dt
    import threading
    from collections.abc import Mapping

    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import SegmentFile
    from auditlog.reading.reader import Bounds
    from retention.content import Content, Identity
    from retention.facts import AdoptedFile, ShipGate
    from retention.holds import HoldStore
    from retention.plan import Action, Plan
    from retention.proofs import ProofLog

__all__ = ["IndexCount", "Step", "apply"]

_logger = logging.getLogger("auditlog.retention")


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one action.

    ``action`` is the planned one, or keep where the last look before acting found a reason to.
    ``error`` says why it was tried and not done; ``freed_bytes`` counts on disk.
    """

    action: Action
    done: bool = False
    error: str = ""
    freed_bytes: int = 0


def apply(
    plan: Plan,
    proofs: ProofLog,
    holds: HoldStore,
    cursors: ShipGate,
    *,
    by: str,
    stop: threading.Event,
    index: IndexCount | None = None,
) -> tuple[Step, ...]:
    """One step for each action of the plan, in its order; after a stop the rest is not done.

    Raises nothing for a single segment: its step says what happened.
    """
    work = _Work(plan, proofs, holds, cursors, by, stop, index or _NoIndex())
    steps = {place: Step(action) for place, action in enumerate(plan.actions)}
    order = sorted(steps, key=lambda place: plan.actions[place].action != "delete")
    for place in order:
        if plan.actions[place].action != "keep" and not stop.is_set():
            steps[place] = work.carry_out(plan.actions[place])
    return tuple(steps[place] for place in range(len(steps)))


class IndexCount(Protocol):
    """Counts records where they were shipped to."""

    def count(self, sink: str, log: LogId, first_seq: int, last_seq: int, *, day: dt.date) -> int:
        """How many of these records, all of one day, the sink accounts for.

        Raises AuditLogError or OSError when it cannot be asked.
        """
        ...


class _NoIndex:
    def count(self, sink: str, log: LogId, first_seq: int, last_seq: int, *, day: dt.date) -> int:
        del log, first_seq, last_seq, day
        raise RetentionError(
            f"sink {sink} cannot be asked whether it has the records",
            hint="verify_before_delete needs the sinks of the configuration.",
        )


@dataclass(slots=True)
class _Work:
    plan: Plan
    proofs: ProofLog
    holds: HoldStore
    cursors: ShipGate
    by: str
    stop: threading.Event
    index: IndexCount
    proofs_failed: str = ""

    def carry_out(self, action: Action) -> Step:
        if action.adopted is not None:
            return self._foreign(action, action.adopted)
        return self._segment(action)

    def _segment(self, action: Action) -> Step:
        file, bounds = action.file, action.bounds
        if file is None or bounds is None:  # plan acts on nothing that was not read
            return Step(action, error="it was planned without being read")
        try:
            if action.action == "delete":
                return self._delete(action, file, bounds)
            result = compress(file, bounds, self.plan.policy.of(action.log), self.stop)
        except SegmentDamaged as error:
            _logger.error("%s", error)  # noqa: TRY400  (the error is expected and says it all)
            return Step(replace(action, action="keep", reason="damaged", detail=error.reason))
        except Stopped:
            return Step(action)
        except (AuditLogError, OSError) as error:
            return Step(action, error=str(error))
        _logger.info("compressed %s, %d bytes freed", action.segment, result.freed_bytes)
        return Step(action, done=True, freed_bytes=result.freed_bytes)

    def _foreign(self, action: Action, file: AdoptedFile) -> Step:
        delete = action.action == "delete"
        if delete and self.proofs_failed:
            return Step(action, error=self.proofs_failed)
        try:
            outcome = carry_out_foreign(
                file,
                delete=delete,
                proofs=self.proofs,
                holds=self.holds,
                at=self.plan.at,
                by=self.by,
                stop=self.stop,
            )
        except Stopped:
            return Step(action)
        except (AuditLogError, OSError) as error:
            if isinstance(error, AuditLogError) and not isinstance(error, RetentionError):
                self.proofs_failed = str(error)  # no further tombstone will become durable
            return Step(action, error=str(error))
        if outcome.kept:
            detail = outcome.detail
            return Step(replace(action, action="keep", reason=outcome.kept, detail=detail))
        return Step(action, done=True, freed_bytes=outcome.freed_bytes)

    def _delete(self, action: Action, file: SegmentFile, expected: Bounds) -> Step:
        if self.proofs_failed:
            return Step(action, error=self.proofs_failed)
        content, forms = _inspect_forms(file, expected, self.stop)
        if (held := self._held(action, file, expected)) is not None:
            return held
        if (lacking := self._lacking(action, file, expected)) is not None:
            return lacking
        details = tombstone.details(
            action.log,
            action.segment,
            content,
            cursor=self._cursor(file.name.log),
            policy=self.plan.policy.of(action.log),
            by=self.by,
        )
        try:
            self.proofs.bury(details, actor=self.by)
        except (AuditLogError, OSError) as error:
            self.proofs_failed = str(error)
            return Step(action, error=self.proofs_failed)
        freed = 0
        for form, identity in forms.items():
            path = file.form_path(form)
            identity.check(path)
            durable_fs.unlink(path)
            freed += identity.size_bytes
        durable_fs.fsync_directory(file.path.parent)
        _logger.info("deleted %s, %d bytes freed", action.segment, freed)
        return Step(action, done=True, freed_bytes=freed)

    def _held(self, action: Action, file: SegmentFile, bounds: Bounds) -> Step | None:
        """A hold that was added since the plan was made."""
        covering = [
            hold
            for hold in self.holds.load()
            if hold.in_force(self.plan.at)
            and hold.covers(action.log, bounds.first_at, bounds.last_at)
        ]
        by_record = [hold for hold in covering if hold.reads_records]
        found = matching(file.path, file.name.compression, by_record, self.stop)
        for hold in covering:
            if not hold.reads_records or hold.id in found:
                detail = f"hold {hold.id} of {hold.owner}"
                return Step(replace(action, action="keep", reason="held", detail=detail))
        return None

    def _lacking(self, action: Action, file: SegmentFile, bounds: Bounds) -> Step | None:
        """A sink that has fewer of the records than the segment, where the policy has it count."""
        if self.plan.policy.of(action.log).verify_before_delete != "index":
            return None
        for sink in self.cursors.sinks:
            count = self.index.count(
                sink, file.name.log, bounds.first_seq, bounds.last_seq, day=file.name.day
            )
            if count < bounds.records:
                detail = f"sink {sink} has {count} of its {bounds.records} records"
                return Step(replace(action, action="keep", reason="not_in_index", detail=detail))
        return None

    def _cursor(self, log: LogId) -> Mapping[str, int]:
        known = {sink: self.cursors.cursor(sink, log).cursor for sink in self.cursors.sinks}
        return {sink: 0 if cursor is None else cursor.seq for sink, cursor in known.items()}


def _inspect_forms(
    file: SegmentFile, expected: Bounds, stop: threading.Event
) -> tuple[Content, dict[str, Identity]]:
    """Read every form to its end; they have to be the same, and what the plan saw."""
    contents: list[Content] = []
    forms: dict[str, Identity] = {}
    for form in file.forms:
        content, forms[form] = inspect(file.form_path(form), form, file.name.log, stop)
        contents.append(content)
    if any(content != contents[0] for content in contents):
        raise SegmentChanged(
            "its plain and its compressed form differ",
            path=file.path,
            hint="Run auditctl verify on each; both stay until one is removed by hand.",
        )
    if contents[0].bounds != expected:
        raise SegmentChanged(
            "its records are not the ones the plan saw",
            path=file.path,
            hint="Run retention again; if it says so again, run auditctl verify.",
        )
    return contents[0], forms
