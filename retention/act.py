"""Carry out a plan, one subject at a time, rechecking before each step.

    look again: read it whole, compare it with the plan, judge it by the same rules with the holds
    of this moment -> tombstone durable -> unlink, or delete the index

Deletions come first, since they free the space that compression needs.  What is found damaged,
changed or held stays, and the run goes on with the next.  Without a durable tombstone nothing is
deleted, and after a failed one no other is tried.

Invariants (tests of the same name in tests/retention/test_act.py):
  proven       nothing is gone without a durable tombstone
  damaged      a segment whose content is not an unbroken chain stays
  once         killed between tombstone and unlink, the next run unlinks without a second one
  late_hold    a hold that came after the plan still keeps
  counted      with verify_before_delete, what a sink lacks stays
  goes_on      one subject that cannot be handled does not stop the others

Invariants (tests of the same name in tests/retention/test_act_on_files.py):
  proven       no foreign file is gone without a durable tombstone
  once         killed between tombstone and unlink, the next run unlinks without a second one
  late         a hold, a writer or a line that came after the plan still keeps

Invariants (tests of the same name in tests/retention/test_act_on_indices.py):
  proven       no index is asked to be deleted without a durable tombstone
  once         an index that could not be deleted does not get a second tombstone
  changed      an index that is another one by now, or is held by now, stays
  goes_on      one index that cannot be deleted does not stop the others
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from auditlog import durable_fs
from auditlog.errors import AuditLogError
from auditlog.format.tombstones import INDEX_DELETED, SEGMENT_DELETED
from auditlog.reading.reader import bounds
from retention import tombstone_log
from retention.compress import compress
from retention.content import inspect
from retention.errors import RetentionError, SegmentChanged, SegmentDamaged, Stopped
from retention.foreign_content import inspect_foreign
from retention.foreign_forms import check_forms, compress_foreign, remove_forms
from retention.gather import searched
from retention.plan import Case, index_cases
from retention.rules import holds_to_search
from retention.subjects import AdoptedFile, Index, Segment
from retention.verdict import RuleResult, first_keeping
from retention.writers import kept_out

if TYPE_CHECKING:
    import datetime as dt
    import threading
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from auditlog.format.segment_names import LogId
    from auditlog.reading.reader import Bounds
    from retention.content import Content, Identity
    from retention.foreign_forms import Forms
    from retention.holds import Hold, HoldStore
    from retention.plan import Action, IndexPlan, Plan
    from retention.policy import RetentionPolicy
    from retention.subjects import ForeignContent, SinkCursors
    from retention.tombstone_log import RetentionRun, TombstoneLog

__all__ = ["FileHandler", "IndexCluster", "IndexHandler", "RecordCounter", "Step", "act"]

_logger = logging.getLogger("auditlog.retention")


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one action.

    action        the planned one, or keep where looking again found a reason to
    error         the error that stopped it, "" when it was done
    freed_bytes   on disk
    """

    action: Action
    done: bool = False
    error: str = ""
    freed_bytes: int = 0


class RecordCounter(Protocol):
    """Counts records in the sinks they were shipped to."""

    def count(self, sink: str, log: LogId, first_seq: int, last_seq: int, *, day: dt.date) -> int:
        """Return how many of these records, all of one day, the sink accounts for.

        Raises AuditLogError or OSError when it cannot be asked.
        """
        ...

    def can_count(self, sink: str) -> bool:
        """Whether the sink can be asked at little cost; if not, the reason is logged.

        Raises AuditLogError or OSError when that cannot be told, as of one that does not answer.
        """
        ...


class IndexCluster(Protocol):
    """The indices of one sink.  Every method raises AuditLogError when it fails."""

    def indices(self) -> Sequence[Index]:
        """List every index whose name begins with the prefix."""
        ...

    def delete(self, name: str) -> None:
        """Delete the index of exactly this name, never an alias or a pattern.

        An index that does not exist any more is not an error.
        """
        ...


@dataclass(slots=True)
class Work:
    """The steps for one subject; ``case`` is its present state, to be judged again."""

    case: Case

    def lacking(self) -> str:
        """Return the sink that lacks records; "" when none does, or counting is off."""
        return ""

    def compress(self) -> int:
        """Compress it; return the bytes freed."""
        raise NotImplementedError

    def tombstone(self) -> tuple[str, dict[str, Any]]:
        """Return the event type and the details of its tombstone."""
        raise NotImplementedError

    def delete(self) -> int:
        """Delete it durably; return the bytes freed."""
        raise NotImplementedError


def act(
    plan: Plan,
    handler: FileHandler | IndexHandler,
    tombstones: TombstoneLog,
    holds: HoldStore,
    *,
    by: str,
    stop: threading.Event,
) -> tuple[Step, ...]:
    """Carry out every action of the plan; after a stop the rest is not done.

    Raises nothing for a single subject: its step says what happened.
    """
    steps = [Step(action) for action in plan.actions]
    log_failed = ""
    for place in sorted(range(len(steps)), key=lambda n: plan.actions[n].action != "delete"):
        action = plan.actions[place]
        if action.action == "keep" or stop.is_set():
            continue
        if action.action == "delete" and log_failed:
            steps[place] = Step(action, error=log_failed)
            continue
        try:
            work = handler.open(action, holds.load(), stop)
            if isinstance(work, RuleResult):
                steps[place] = Step(_kept(action, work))
                continue
            if (found := _look_again(action, work)) is not None:
                steps[place] = Step(_kept(action, found))
                continue
            if action.action == "compress":
                freed = work.compress()
            else:
                event_type, details = work.tombstone()
                try:
                    tombstones.write_tombstone(event_type, {**details, "by": by}, actor=by)
                except (AuditLogError, OSError) as error:
                    log_failed = str(error)
                    raise
                freed = work.delete()
        except Stopped:
            continue
        except (SegmentDamaged, durable_fs.Locked) as error:
            steps[place] = Step(_kept(action, _found_late(error)))
        except (AuditLogError, OSError) as error:
            steps[place] = Step(action, error=str(error))
        else:
            verb = "compressed" if action.action == "compress" else "deleted"
            _logger.info("%s %s, %d bytes freed", verb, action.name, freed)
            steps[place] = Step(action, done=True, freed_bytes=freed)
    return tuple(steps)


def _look_again(action: Action, work: Work) -> RuleResult | None:
    """Return what keeps the subject, where the rules or a sink now say so."""
    found = first_keeping(*work.case, ageless=action.reason == "size")
    if found is None and action.action == "delete" and (lacking := work.lacking()):
        return RuleResult("not_in_index", True, lacking)
    return found


def _found_late(error: SegmentDamaged | durable_fs.Locked) -> RuleResult:
    """Return what keeps a subject that could not be touched after all."""
    if isinstance(error, durable_fs.Locked):
        return RuleResult("active", True, f"{error.holder or 'a process'} writes it")
    _logger.error("%s", error)
    return RuleResult("damaged", True, error.reason)


def _kept(action: Action, found: RuleResult) -> Action:
    return replace(action, action="keep", reason=found.rule, detail=found.detail)


def _again(case: Case, subject: Segment | AdoptedFile, holds: Sequence[Hold]) -> Case:
    """Return the case with what is known now."""
    in_force = tuple(hold for hold in holds if hold.in_force(case.group.now))
    return Case(subject, case.newer, replace(case.group, holds=in_force))


# Files of a directory -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileHandler:
    """Opens the segments and adopted files of a directory."""

    policy: RetentionPolicy
    cursors: SinkCursors
    run: RetentionRun
    counter: RecordCounter | None = None
    can_count: dict[str, bool | Exception] = field(default_factory=dict)

    def open(
        self, action: Action, holds: Sequence[Hold], stop: threading.Event
    ) -> Work | RuleResult:
        """Look at a subject again; return a finding where it is another one now.

        Raises AuditLogError, OSError; the subject then stays as it is.
        """
        subject = action.subject
        if isinstance(subject, AdoptedFile):
            return _open_file(action.case, subject, holds, stop)
        assert isinstance(subject, Segment)  # noqa: S101  (no rule touches anything else)
        return self._open_segment(action, subject, holds, stop)

    def counts_in(self, sink: str) -> bool:
        """Whether records can be counted in the sink; asked once a run.

        Raises AuditLogError or OSError when that cannot be told.
        """
        if sink not in self.can_count:
            try:
                self.can_count[sink] = self.counter is not None and self.counter.can_count(sink)
            except (AuditLogError, OSError) as error:
                self.can_count[sink] = error
        known = self.can_count[sink]
        if isinstance(known, Exception):
            raise known
        return known

    def _open_segment(
        self,
        action: Action,
        segment: Segment,
        holds: Sequence[Hold],
        stop: threading.Event,
    ) -> Work:
        policy = self.policy.of(segment.log)
        room_bytes = self.policy.max_total_bytes if action.reason == "size" else None
        run = replace(self.run, room_bytes=room_bytes)
        content: Content | None = None
        forms: dict[str, Identity] = {}
        if action.action == "delete":  # compression reads the whole file anyway
            content, forms = _inspect_forms(segment, stop)
        case = _again(action.case, segment, holds)
        search = holds_to_search(segment, case.group)
        case = case._replace(subject=searched(segment, search, stop) if search else segment)
        return _SegmentWork(case, segment, policy, self, content, forms, stop, run)


def _stretches(bounds: Bounds, erased: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The numbers of a segment's records between those that were erased: first and last of each."""
    first_seq = bounds.first_seq
    for seq in (*erased, bounds.last_seq + 1):
        if first_seq < seq:
            yield first_seq, seq - 1
        first_seq = seq + 1


@dataclass(slots=True)
class _SegmentWork(Work):
    segment: Segment
    policy: RetentionPolicy
    handler: FileHandler
    content: Content | None
    forms: Mapping[str, Identity]
    stop: threading.Event
    run: RetentionRun

    def lacking(self) -> str:
        if self.policy.verify_before_delete == "none":
            return ""
        bounds, name = self.segment.bounds, self.segment.file.name
        assert bounds is not None  # noqa: S101  (what was not read is kept)
        for sink in self.handler.cursors.sinks:
            if self.policy.verify_before_delete == "auto" and not self.handler.counts_in(sink):
                continue
            if self.handler.counter is None:
                raise RetentionError(
                    f"sink {sink} cannot be asked whether it has the records",
                    hint="verify_before_delete needs the sinks of the configuration.",
                )
            erased = () if self.content is None else self.content.erased
            count = sum(
                self.handler.counter.count(sink, name.log, first_seq, last_seq, day=name.day)
                for first_seq, last_seq in _stretches(bounds, erased)
            )
            records = bounds.records - len(erased)
            if count < records:
                return f"sink {sink} has {count} of its {records} records"
        return ""

    def compress(self) -> int:
        expected, file = self.segment.bounds, self.segment.file
        assert expected is not None  # noqa: S101  (what was not read is kept)
        if self.case.newer:
            return compress(file, expected, self.policy, self.stop).freed_bytes
        # A writer that comes later finds it compressed, and goes on in another one.
        with kept_out(file.directory, file.name.log):
            if bounds(file) != expected:
                raise SegmentChanged(
                    "its log was written to since the plan was made",
                    path=file.path,
                    hint="The next run looks at it again.",
                )
            return compress(file, expected, self.policy, self.stop).freed_bytes

    def tombstone(self) -> tuple[str, dict[str, Any]]:
        assert self.content is not None  # noqa: S101  (read for every deletion)
        log = self.segment.file.name.log
        cursors = self.handler.cursors
        known = {sink: cursors.cursor(sink, log).cursor for sink in cursors.sinks}
        cursor = {sink: 0 if one is None else one.seq for sink, one in known.items()}
        return SEGMENT_DELETED, tombstone_log.segment_details(
            self.segment, self.content, cursor=cursor, policy=self.policy, run=self.run
        )

    def delete(self) -> int:
        freed = 0
        for form, identity in self.forms.items():
            path = self.segment.file.form_path(form)
            identity.check(path)
            durable_fs.unlink(path)
            freed += identity.size_bytes
        durable_fs.fsync_directory(self.segment.file.path.parent)
        return freed


def _inspect_forms(segment: Segment, stop: threading.Event) -> tuple[Content, dict[str, Identity]]:
    """Read every form to its end; all must be the same, and what the plan saw."""
    file = segment.file
    contents: list[Content] = []
    forms: dict[str, Identity] = {}
    for form in file.forms:
        content, forms[form] = inspect(
            file.form_path(form), form, file.name.log, stop, with_tree=True
        )
        contents.append(content)
    if any(content != contents[0] for content in contents):
        raise SegmentChanged(
            "its plain and its compressed form differ",
            path=file.path,
            hint="Run auditctl verify on each; both stay until one is removed by hand.",
        )
    if contents[0].bounds != segment.bounds:
        raise SegmentChanged(
            "its records are not the ones the plan saw",
            path=file.path,
            hint="Run retention again; if it says so again, run auditctl verify.",
        )
    return contents[0], forms


def _open_file(case: Case, file: AdoptedFile, holds: Sequence[Hold], stop: threading.Event) -> Work:
    again = _again(case, file, holds)
    fields = file.foreign.timestamp_fields
    content, identity = inspect_foreign(file.path, file.forms[0], fields, stop, again.group.holds)
    if file.content is None or replace(content, matches=file.content.matches) != file.content:
        raise SegmentChanged(
            "its content is not what the plan saw",
            path=file.path,
            hint="It is still written to, or was replaced. The next run looks at it again.",
        )
    now = replace(
        file,
        content=content,
        open_for_writing=durable_fs.open_for_writing_elsewhere(file.path),
    )
    return _FileWork(again._replace(subject=now), now, content, identity, stop)


@dataclass(slots=True)
class _FileWork(Work):
    file: AdoptedFile
    content: ForeignContent
    identity: Identity
    stop: threading.Event
    forms: Forms | None = None

    def compress(self) -> int:
        return compress_foreign(self.file, self.content, self.stop)

    def tombstone(self) -> tuple[str, dict[str, Any]]:
        self.forms = check_forms(self.file, self.stop)
        self.identity.check(self.file.path)
        return tombstone_log.FOREIGN_DELETED, tombstone_log.foreign_details(self.file, self.content)

    def delete(self) -> int:
        assert self.forms is not None  # noqa: S101  (set by tombstone)
        remove_forms(self.file, self.forms)
        return sum(identity.size_bytes for identity, _ in self.forms.values())


# Indices of a sink --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IndexHandler:
    """Opens the indices of a cluster."""

    plan: IndexPlan
    cluster: IndexCluster

    def open(
        self, action: Action, holds: Sequence[Hold], stop: threading.Event
    ) -> Work | RuleResult:
        del stop
        group, policy = action.case.group, self.plan.policy
        waiting = group.pending_from, group.unarchived_from
        for case in index_cases(self.cluster.indices(), policy, holds, self.plan.at, waiting):
            if isinstance(case.subject, Index) and case.subject.name == action.name:
                planned = action.subject
                if isinstance(planned, Index) and case.subject.uuid == planned.uuid:
                    return _IndexWork(case, planned, self)
        return RuleResult("changed", True, "it is not the index that the plan saw")


@dataclass(slots=True)
class _IndexWork(Work):
    planned: Index
    handler: IndexHandler

    def tombstone(self) -> tuple[str, dict[str, Any]]:
        return INDEX_DELETED, tombstone_log.index_details(self.planned, self.handler.plan.policy)

    def delete(self) -> int:
        self.handler.cluster.delete(self.planned.name)
        return self.planned.size_bytes
