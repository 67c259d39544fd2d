"""Decide when the circuit breaker stops a run.  Pure: no clock, disk, network, logging.

Too many deletions at once, less protection than at the last run, and a clock that jumped all look
alike: many subjects are suddenly old.  A person can tell them apart; a program cannot, and stops.

The clock.  Backwards: now is earlier than the newest record or the last run, by more than the five
minutes in which hosts correct themselves.  Forwards, within one boot of the host: more time passed
since the last run by the clock than by CLOCK_BOOTTIME, which nobody can set and which counts
suspend (clock_gettime(2)); a day is allowed, since that deletes at most a day early and hosts
without a battery-backed clock start with hours of error.  Forwards, across a restart of the host:
nothing distinguishes a long downtime from a jump, so the last run must not be longer ago than half
of delete_after; a shorter jump is bounded by that, and its deletions by max_delete_fraction.
An instant given by a person is not a clock and cannot have jumped.

Invariants (tests of the same name in tests/retention/test_breaker.py):
  too_many           deleting more than max_delete_fraction of a group at once is refused
  backwards          a clock behind the newest record or the last run is refused
  forwards           a clock that ran ahead of CLOCK_BOOTTIME is refused, downtime is not
  less_protection    deleting under a harsher policy or with a sink less is refused
  foreign            files of a pattern count as those of a log do; a pattern that is new, or needs
                     less than before, is a harsher policy
  per_log            a log's policy is compared with the one it had at the last run
  simulated          a given instant is never taken for a clock that jumped
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from auditlog.format.record import format_timestamp
from retention.policy import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from retention.groups import SubjectGroup
    from retention.policy import ForeignPolicy, IndexPolicy, RetentionPolicy
    from retention.subjects import SinkCursors

__all__ = [
    "LastIndexRun",
    "LastRun",
    "Refusal",
    "harsher",
    "harsher_foreign",
    "harsher_indices",
    "jumped",
    "sinks_removed",
    "too_many",
]

_BACKWARDS_ALLOWED: Final = dt.timedelta(minutes=5)
_CHECKS: Final = ("index", "auto", "none")  # strictest first
_FORWARDS_ALLOWED: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run over a directory that succeeded.

    ``elapsed`` is the time since then by CLOCK_BOOTTIME; None when the host was restarted since.
    """

    at: dt.datetime
    policy: RetentionPolicy
    sinks: tuple[str, ...] = ()
    elapsed: dt.timedelta | None = None


@dataclass(frozen=True, slots=True)
class LastIndexRun:
    """The last run over a sink's indices that succeeded; ``elapsed`` as in LastRun."""

    at: dt.datetime
    delete_after: dt.timedelta
    target: str
    max_delete_fraction: float = 0.5
    elapsed: dt.timedelta | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason to stop.  ``kind``: too_many_deletes, clock_backwards, clock_forwards,
    harsher_policy or sink_removed."""

    kind: str
    detail: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def too_many(counts: Iterable[tuple[SubjectGroup, int, int]]) -> Iterator[Refusal]:
    """Refuse to delete too large a share; ``counts`` are (group, its subjects, to be deleted)."""
    for group, total, deletes in counts:
        if deletes > group.max_delete_fraction * total:
            yield Refusal(
                "too_many_deletes",
                f"{deletes} of the {total} {group.noun} of {group.name} would be deleted at once, "
                f"more than the allowed {group.max_delete_fraction:.0%}",
            )


def jumped(
    now: dt.datetime,
    last_run: LastRun | LastIndexRun | None,
    *,
    newest: dt.datetime | None,
    delete_after: dt.timedelta,
) -> Iterator[Refusal]:
    """Refuse a clock that is not plausible; ``delete_after`` is the shortest one."""
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
    elif gap > delete_after / 2:
        yield Refusal(
            "clock_forwards",
            f"the last run was {_days(gap)} ago and the host was restarted since: "
            "a long downtime, or a clock that jumped",
        )


def harsher(
    logs: Sequence[str], policy: RetentionPolicy, before: RetentionPolicy
) -> Iterator[Refusal]:
    """Refuse to delete segments of these logs under a policy that protects less than before."""
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
        yield Refusal("harsher_policy", f"since the last run {told}, and segments would be deleted")


def harsher_foreign(foreign: Sequence[ForeignPolicy], before: RetentionPolicy) -> Iterator[Refusal]:
    """Refuse the same for the files of these patterns."""
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
                changes.append(f"the source {', '.join(sorted(gone))} was removed")
        if changes:
            told = ", ".join(changes)
            yield Refusal(
                "harsher_policy", f"for {each.pattern} {told}, and files would be deleted"
            )


def harsher_indices(policy: IndexPolicy, last_run: LastIndexRun | None) -> Iterator[Refusal]:
    """Refuse to delete a larger share of the indices than the last run could."""
    if last_run is not None and policy.max_delete_fraction > last_run.max_delete_fraction:
        yield Refusal(
            "harsher_policy",
            f"since the last run max_delete_fraction went from {last_run.max_delete_fraction} to "
            f"{policy.max_delete_fraction}, and indices would be deleted",
        )


def _changes(before: RetentionPolicy, policy: RetentionPolicy) -> Iterator[str]:
    """Name the settings that protect less than before."""
    lowered = {
        "delete_after": (format_duration(before.delete_after), format_duration(policy.delete_after))
        if policy.delete_after < before.delete_after
        else None,
        "keep_at_least": (before.keep_at_least, policy.keep_at_least)
        if policy.keep_at_least < before.keep_at_least
        else None,
        "max_delete_fraction": (before.max_delete_fraction, policy.max_delete_fraction)
        if policy.max_delete_fraction > before.max_delete_fraction
        else None,
        "verify_before_delete": (before.verify_before_delete, policy.verify_before_delete)
        if _CHECKS.index(policy.verify_before_delete) > _CHECKS.index(before.verify_before_delete)
        else None,
    }
    for name, change in lowered.items():
        if change is not None:
            yield f"{name} went from {change[0]} to {change[1]}"


def sinks_removed(cursors: SinkCursors, last_run: LastRun | None) -> Iterator[Refusal]:
    """Refuse to delete without waiting for a sink that was waited for, or once received records."""
    before = cursors.others if last_run is None else last_run.sinks
    if gone := ", ".join(sorted(set(before) - set(cursors.sinks))):
        known = f"{gone} once received records"
        if last_run is not None:
            known = f"the last run waited for {gone}"
        yield Refusal(
            "sink_removed",
            f"{known}; this run does not wait for it, and segments would be deleted",
        )


def _days(duration: dt.timedelta) -> str:
    return f"{duration / dt.timedelta(days=1):.1f} d"
