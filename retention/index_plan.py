"""Decide which daily indices of a sink go, and say why.  Pure: no clock, disk, network, logging.

An index holds what every host wrote on one UTC day; its age is the time since that day's end.  Like
a segment's, its end needs everything to agree: the name, the age, the holds, the cursors.  A hold
that touches the day keeps the index, whichever log, actor or correlation id it is about: what else
is in an index is not read for it.

Invariants (tests of the same name in tests/retention/test_index_plan.py):
  partition    every index that was listed is in exactly one of keep and delete, with one reason
  outside      nothing but the prefix and a day, to the letter, is ever deleted
  recent       neither today's index, nor a later day's, nor the newest is deleted
  held         an index whose day a hold in force touches stays
  not_shipped  an index of a day from which something is still to be shipped stays
  monotone     what is deleted at one instant is deleted at every later one
  announced    the first run, and the first of a shorter age or another target, deletes nothing
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from auditlog.format.record import format_timestamp
from retention.breaker import Refusal, jumped
from retention.errors import PolicyError
from retention.policy import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from retention.holds import Hold

__all__ = [
    "IndexAction",
    "IndexFacts",
    "IndexPlan",
    "IndexPolicy",
    "IndexRun",
    "day_of",
    "plan_indices",
]

_DAY: Final = dt.timedelta(days=1)
_SUFFIX: Final = re.compile(r"-([0-9]{4})\.([0-9]{2})\.([0-9]{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class IndexPolicy:
    """Daily indices ``<prefix>-<yyyy.mm.dd>`` at ``urls`` go ``delete_after`` after their day.

    Raises PolicyError.
    """

    sink: str
    urls: tuple[str, ...]
    prefix: str
    delete_after: dt.timedelta
    max_delete_fraction: float = 0.5

    def __post_init__(self) -> None:
        if self.delete_after < _DAY:
            raise PolicyError(
                f"index_delete_after of sink {self.sink} is "
                f"{self.delete_after.total_seconds():g} s",
                hint="An index holds a day, so 1d is the least; leave it out to delete none.",
            )

    @property
    def target(self) -> str:
        """What the policy is about; another one is announced anew."""
        return f"{self.prefix}-* at {', '.join(sorted(self.urls))}"

    def to_json(self) -> dict[str, Any]:
        return {
            "index_delete_after": format_duration(self.delete_after),
            "max_delete_fraction": self.max_delete_fraction,
        }


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """One index as the cluster lists it: ``uuid`` tells it from another one of the same name."""

    name: str
    uuid: str
    documents: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class IndexRun:
    """The last run for a sink; ``elapsed`` as in LastRun."""

    at: dt.datetime
    delete_after: dt.timedelta
    target: str
    max_delete_fraction: float = 0.5
    elapsed: dt.timedelta | None = None


@dataclass(frozen=True, slots=True)
class IndexAction:
    """What is to happen to one index, and why; ``day`` is None for one that is none of ours."""

    index: IndexFacts
    day: dt.date | None
    action: Literal["keep", "delete"]
    reason: str
    detail: str

    def to_json(self, *, done: bool = False) -> dict[str, Any]:
        return {
            "index": self.index.name,
            "day": None if self.day is None else self.day.isoformat(),
            "action": self.action,
            "reason": self.reason,
            "detail": self.detail,
            "documents": self.index.documents,
            "bytes": self.index.size_bytes,
            "uuid": self.index.uuid,
            "done": done,
        }


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """One action for each index, by name.

    ``announces`` says why this run only tells what the next one will do; ``refusals`` is the
    breaker's verdict.  Either is for a person to confirm.
    """

    policy: IndexPolicy
    at: dt.datetime
    actions: tuple[IndexAction, ...]
    announces: str = ""
    refusals: tuple[Refusal, ...] = ()

    def only(self, verb: str) -> tuple[IndexAction, ...]:
        return tuple(action for action in self.actions if action.action == verb)

    def to_json(self) -> dict[str, Any]:
        verbs = Counter(action.action for action in self.actions)
        return {
            "sink": self.policy.sink,
            "at": format_timestamp(self.at),
            "policy": self.policy.to_json(),
            "announces": self.announces or None,
            "refusals": [refusal.to_json() for refusal in self.refusals],
            "totals": {
                "keep": verbs["keep"],
                "delete": verbs["delete"],
                "documents": sum(action.index.documents for action in self.only("delete")),
            },
        }


def day_of(prefix: str, name: str) -> dt.date | None:
    """The day that an index is of; None unless its name is the prefix and a day, to the letter."""
    match = _SUFFIX.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
    if match is None:
        return None
    try:
        return dt.date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def plan_indices(
    indices: Sequence[IndexFacts],
    policy: IndexPolicy,
    holds: Sequence[Hold],
    now: dt.datetime,
    *,
    pending_from: dt.date | None,
    last_run: IndexRun | None,
    simulated: bool = False,
) -> IndexPlan:
    """Decide for each index.

    pending_from   the earliest day of which this host may still have records to ship; None: none
    simulated      ``now`` was given by a person and is no clock
    """
    days = {index.name: day_of(policy.prefix, index.name) for index in indices}
    newest = max((day for day in days.values() if day is not None), default=None)
    actions = []
    for index in sorted(indices, key=lambda index: index.name):
        day = days[index.name]
        if day is not None and day == newest:
            kept: tuple[str, str] | None = ("newest", "the newest index always stays")
        else:
            kept = _kept(day, policy, holds, now, pending_from)
        if kept is not None:
            actions.append(IndexAction(index, day, "keep", *kept))
        else:
            old = f"its day ended more than {format_duration(policy.delete_after)} ago"
            actions.append(IndexAction(index, day, "delete", "expired", old))
    deletes = sum(action.action == "delete" for action in actions)
    refusals: list[Refusal] = []
    if deletes:
        daily = sum(day is not None for day in days.values())
        refusals += _too_many(deletes, daily, policy)
        refusals += _harsher(policy, last_run)
        if not simulated:
            refusals += jumped(now, last_run, newest=None, patience=policy.delete_after)
    return IndexPlan(policy, now, tuple(actions), _announces(policy, last_run), tuple(refusals))


def _kept(
    day: dt.date | None,
    policy: IndexPolicy,
    holds: Sequence[Hold],
    now: dt.datetime,
    pending_from: dt.date | None,
) -> tuple[str, str] | None:
    """The first reason to keep an index, with its detail; None when there is none."""
    if day is None:
        return "outside", f"its name is not {policy.prefix} and a day"
    begin = dt.datetime.combine(day, dt.time(), dt.UTC)
    if now - begin < _DAY + policy.delete_after:
        after = format_duration(policy.delete_after)
        return "too_recent", f"its day did not end {after} ago"
    for hold in holds:
        starts_before_end = hold.from_at is None or hold.from_at < begin + _DAY
        ends_after_begin = hold.until_at is None or hold.until_at > begin
        if hold.in_force(now) and starts_before_end and ends_after_begin:
            return "held", f"hold {hold.id} of {hold.owner}"
    if pending_from is not None and pending_from <= day:
        return "not_shipped", f"records from {pending_from} on are still to be shipped"
    return None


def _too_many(deletes: int, daily: int, policy: IndexPolicy) -> Iterator[Refusal]:
    if deletes > policy.max_delete_fraction * daily:
        yield Refusal(
            "too_many_deletes",
            f"{deletes} of the {daily} indices of {policy.sink} would be deleted at once, "
            f"more than the allowed {policy.max_delete_fraction:.0%}",
        )


def _harsher(policy: IndexPolicy, last_run: IndexRun | None) -> Iterator[Refusal]:
    if last_run is not None and policy.max_delete_fraction > last_run.max_delete_fraction:
        yield Refusal(
            "harsher_policy",
            f"since the last run max_delete_fraction went from {last_run.max_delete_fraction} to "
            f"{policy.max_delete_fraction}, and indices would go",
        )


def _announces(policy: IndexPolicy, last_run: IndexRun | None) -> str:
    if last_run is None:
        return "it is the first run since index_delete_after was set"
    if last_run.target != policy.target:
        return f"the last run was about {last_run.target}"
    if policy.delete_after < last_run.delete_after:
        before, after = format_duration(last_run.delete_after), format_duration(policy.delete_after)
        return f"index_delete_after went from {before} to {after}"
    return ""
