"""When a run has to stop and ask a person.  Pure: no clock, disk, network, logging.

Too many deletions at once, less protection than the last run had, and a clock that jumped all look
alike: suddenly a lot is old.  A person can tell them apart; the breaker cannot, and stops.

The clock.  Backwards: now is earlier than the newest record or the last run, by more than the five
minutes in which hosts correct themselves.  Forwards, within one boot of the host: more time passed
since the last run by the clock than by CLOCK_BOOTTIME, which nobody can set and which counts
suspend (clock_gettime(2)); a day is allowed, since that deletes at most a day early and hosts
without a battery-backed clock start with hours of error.  Forwards, across a restart of the host:
nothing tells a long downtime from a jump, so the last run must not be longer ago than half of
delete_after; a shorter jump is bounded by that, and what it could delete by max_delete_fraction.
An instant given by a person is no clock and cannot have jumped.

Invariants (tests of the same name in tests/retention/test_breaker.py):
  too_many           more than max_delete_fraction of a log's segments at once is refused
  backwards          a clock behind the newest record or the last run is refused
  forwards           a clock that ran ahead of CLOCK_BOOTTIME is refused, downtime is not
  less_protection    deleting under a harsher policy or with a sink less is refused
  foreign            files of a pattern count as those of a log do; a pattern that is new, or needs
                     less than before, is a harsher policy
  per_log            the policy that a log had is compared with the one that it has
  simulated          a given instant is never taken for a clock that jumped
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Protocol

from auditlog.format.record import format_timestamp
from retention.policy import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from retention.facts import Facts, LastRun, ShipGate
    from retention.policy import ForeignPolicy, Policy

__all__ = ["PastRun", "Refusal", "judge", "jumped"]

_BACKWARDS_ALLOWED: Final = dt.timedelta(minutes=5)
_FORWARDS_ALLOWED: Final = dt.timedelta(days=1)


class PastRun(Protocol):
    """When the last run was, and how long ago by a clock that nobody can set, where one tells."""

    @property
    def at(self) -> dt.datetime: ...

    @property
    def elapsed(self) -> dt.timedelta | None: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason to stop.  ``kind``: too_many_deletes, clock_backwards, clock_forwards,
    harsher_policy or sink_removed."""

    kind: str
    detail: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def judge(
    facts: Facts,
    deletes: Mapping[str, int],
    policy: Policy,
    gate: ShipGate,
    now: dt.datetime,
    *,
    last_run: LastRun | None,
    simulated: bool,
) -> tuple[Refusal, ...]:
    """The reasons to stop; ``deletes`` counts what is to be deleted by log, and by pattern."""
    refusals = [*_too_many(facts, deletes, policy)]
    if not simulated:
        refusals += jumped(now, last_run, newest=_newest(facts), patience=_patience(facts, policy))
    if any(deletes.values()):
        if last_run is not None:
            logs = [str(log) for log in facts.segments if deletes.get(str(log))]
            refusals += _harsher(logs, policy, last_run.policy)
            foreign = [each for each in policy.foreign if deletes.get(each.pattern)]
            refusals += _harsher_foreign(foreign, last_run.policy)
        refusals += _fewer_sinks(gate, last_run)
    return tuple(refusals)


def _too_many(facts: Facts, deletes: Mapping[str, int], policy: Policy) -> Iterator[Refusal]:
    for log, segments in facts.segments.items():
        count = deletes.get(str(log), 0)
        allowed = policy.of(str(log)).max_delete_fraction
        if count > allowed * len(segments):
            yield Refusal(
                "too_many_deletes",
                f"{count} of the {len(segments)} segments of {log} would be deleted at once, "
                f"more than the allowed {allowed:.0%}",
            )
    counts = Counter(file.foreign.pattern for file in facts.adopted)
    for foreign in policy.foreign:
        count, total = deletes.get(foreign.pattern, 0), counts[foreign.pattern]
        if count > foreign.policy.max_delete_fraction * total:
            yield Refusal(
                "too_many_deletes",
                f"{count} of the {total} files of {foreign.pattern} would be deleted at once, "
                f"more than the allowed {foreign.policy.max_delete_fraction:.0%}",
            )


def _newest(facts: Facts) -> dt.datetime | None:
    return max(
        (
            segment.bounds.last_at
            for segments in facts.segments.values()
            for segment in segments
            if segment.bounds is not None
        ),
        default=None,
    )


def _patience(facts: Facts, policy: Policy) -> dt.timedelta:
    """The shortest time after which something is deleted."""
    ages = [policy.of(str(log)).delete_after for log in facts.segments]
    ages += [foreign.policy.delete_after for foreign in policy.foreign]
    return min([policy.delete_after, *ages])


def jumped(
    now: dt.datetime,
    last_run: PastRun | None,
    *,
    newest: dt.datetime | None,
    patience: dt.timedelta,
) -> Iterator[Refusal]:
    """Whether the clock cannot be believed; ``patience`` is the shortest delete_after."""
    if newest is not None and now < newest - _BACKWARDS_ALLOWED:
        yield Refusal(
            "clock_backwards",
            f"the clock says {format_timestamp(now)}, "
            f"the newest record was written at {format_timestamp(newest)}",
        )
    if last_run is None:
        return
    gap = now - last_run.at
    if gap < -_BACKWARDS_ALLOWED:
        yield Refusal(
            "clock_backwards",
            f"the clock says {format_timestamp(now)}, "
            f"the last run was at {format_timestamp(last_run.at)}",
        )
    elif last_run.elapsed is not None:
        if gap - last_run.elapsed > _FORWARDS_ALLOWED:
            yield Refusal(
                "clock_forwards",
                f"by the clock {_days(gap)} passed since the last run, "
                f"by the host's uptime {_days(last_run.elapsed)}",
            )
    elif gap > patience / 2:
        yield Refusal(
            "clock_forwards",
            f"the last run was {_days(gap)} ago and the host was restarted since: "
            "a long downtime, or a clock that jumped",
        )


def _harsher(logs: list[str], policy: Policy, before: Policy) -> Iterator[Refusal]:
    changes: dict[str, list[str]] = {}
    for log in logs:
        for change in _changes(before.of(log), policy.of(log)):
            changes.setdefault(change, []).append(log)
    if policy.max_total_bytes is not None and (
        before.max_total_bytes is None or policy.max_total_bytes < before.max_total_bytes
    ):
        old = before.max_total_bytes
        told = "unlimited" if old is None else f"{old} bytes"
        changes[f"max_total_bytes went from {told} to {policy.max_total_bytes}"] = []
    if changes:
        told = ", ".join(
            change
            + (f" for {', '.join(about)}" if about and before.overrides + policy.overrides else "")
            for change, about in changes.items()
        )
        yield Refusal("harsher_policy", f"since the last run {told}, and segments would go")


def _harsher_foreign(foreign: list[ForeignPolicy], before: Policy) -> Iterator[Refusal]:
    known = {each.pattern: each for each in before.foreign}
    for each in foreign:
        old = known.get(each.pattern)
        if old is None:
            changes = ["its files were not adopted before"]
        else:
            changes = list(_changes(old.policy, each.policy))
            if (old.shipped, each.shipped) == ("required", "not_required"):
                changes.append("shipped went from required to not_required")
            if gone := {name for name, _ in old.sources} - {name for name, _ in each.sources}:
                changes.append(f"the source {', '.join(sorted(gone))} was taken away")
        if changes:
            told = ", ".join(changes)
            yield Refusal("harsher_policy", f"for {each.pattern} {told}, and files would go")


def _changes(before: Policy, policy: Policy) -> Iterator[str]:
    for name, old, new, worse in (
        (
            "delete_after",
            format_duration(before.delete_after),
            format_duration(policy.delete_after),
            policy.delete_after < before.delete_after,
        ),
        (
            "keep_at_least",
            before.keep_at_least,
            policy.keep_at_least,
            policy.keep_at_least < before.keep_at_least,
        ),
        (
            "max_delete_fraction",
            before.max_delete_fraction,
            policy.max_delete_fraction,
            policy.max_delete_fraction > before.max_delete_fraction,
        ),
        (
            "verify_before_delete",
            before.verify_before_delete,
            policy.verify_before_delete,
            (before.verify_before_delete, policy.verify_before_delete) == ("index", "none"),
        ),
    ):
        if worse:
            yield f"{name} went from {old} to {new}"


def _fewer_sinks(gate: ShipGate, last_run: LastRun | None) -> Iterator[Refusal]:
    before = gate.others if last_run is None else last_run.sinks
    if gone := sorted(set(before) - set(gate.sinks)):
        told = "once received records" if last_run is None else "the last run waited for"
        text = f"{', '.join(gone)} {told}" if last_run is None else f"{told} {', '.join(gone)}"
        yield Refusal(
            "sink_removed", f"{text}, for which this run does not wait, and segments would go"
        )


def _days(duration: dt.timedelta) -> str:
    return f"{duration / dt.timedelta(days=1):.1f} d"
