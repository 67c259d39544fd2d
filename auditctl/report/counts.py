"""Count the events of a report, record by record.  Pure: no clock, disk, network, logging.

Memory is bounded whatever the records say: names are cut, and beyond a number of different ones
the rest is counted together, which the report then says.

Invariants (tests of the same name in tests/auditctl/report/test_counts.py):
  counted    the counts are those of a naive loop over the same records
  bounded    any number of different names keeps at most MAX_NAMES of them, and loses no count
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import datetime as dt

    from auditlog.format.record import Record

__all__ = ["MAX_NAMES", "OUTCOMES", "REST", "EventCounts", "RefusedLogin"]

MAX_NAMES: Final = 10_000
REST: Final = "(all others)"
OUTCOMES: Final = ("success", "partial_success", "pending", "denied", "failure")
_NAME_CHARACTERS: Final = 120
_NEWEST: Final = 20
_HOURS_UP_TO: Final = 3  # days that are shown hour by hour
_REFUSED_LOGIN: Final = "auth_failure"
_ABOUT_THE_LOG: Final = {
    "log.events_refused": "events were refused, because the queue was full",
    "log.recovered": "the writer opened the log again after a crash",
    "log.clock_stepped": "the clock was set back",
    "log.space_low": "the disk was nearly full",
}


@dataclass(frozen=True, slots=True)
class RefusedLogin:
    """One refused login."""

    at: str
    log: str
    seq: int
    user: str
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A record of a log about itself that may mean that events are missing."""

    at: str
    log: str
    seq: int
    event_type: str
    meaning: str


@dataclass(slots=True)
class EventCounts:
    """``add`` every record of the time from ``since_at`` to ``until_at``."""

    since_at: dt.datetime
    until_at: dt.datetime
    records: int = 0
    events: int = 0
    unreadable: int = 0
    when: Counter[tuple[str, str]] = field(default_factory=Counter)
    types: Counter[tuple[str, str]] = field(default_factory=Counter)
    actors: Counter[tuple[str, str]] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    newest_refusals: deque[RefusedLogin] = field(default_factory=lambda: deque(maxlen=_NEWEST))
    notices: Counter[str] = field(default_factory=Counter)
    newest_notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=_NEWEST))

    @property
    def hourly(self) -> bool:
        return (self.until_at - self.since_at).days < _HOURS_UP_TO

    @property
    def refused_logins(self) -> int:
        return self.refusals.total()

    def add(self, record: Record) -> None:
        """Count one record.  Raises LogDamaged, having counted nothing, when it is not JSON."""
        fields = record.fields
        self.records += 1
        header = record.header
        if record.event_type in _ABOUT_THE_LOG:
            self._notice(record)
        if record.event_type.startswith("log."):
            return  # records of a log about itself are not counted as events
        self.events += 1
        outcome = fields.get("outcome")
        outcome = outcome if outcome in OUTCOMES else "success"
        self.when[header.timestamp[: 13 if self.hourly else 10], outcome] += 1
        _count(self.types, _cut(record.event_type), outcome)
        actor = fields.get("actor")
        actor = actor if isinstance(actor, dict) else {}
        user = _cut(actor.get("user_id", ""))
        if user:
            _count(self.actors, user, outcome)
        if record.event_type == _REFUSED_LOGIN:
            # This type has the claimed user and the address in its details.
            details = fields.get("details")
            details = details if isinstance(details, dict) else {}
            user = _cut(details.get("attempted_user")) or user
            address = _cut(details.get("ip")) or _cut(actor.get("ip"))
            _count(self.refusals, user, address)
            reason = _cut(fields.get("reason", ""))
            self.newest_refusals.append(
                RefusedLogin(header.timestamp, record.log, record.seq, user, address, reason)
            )

    def _notice(self, record: Record) -> None:
        kind = record.event_type
        self.notices[kind] += 1
        self.newest_notices.append(
            Notice(record.header.timestamp, record.log, record.seq, kind, _ABOUT_THE_LOG[kind])
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "events": self.events,
            "unreadable": self.unreadable,
            "by_time": _nested(self.when),
            "by_type": _nested(self.types),
            "by_actor": _nested(self.actors),
            "refused_logins": [
                {"user": user, "ip": address, "count": count}
                for (user, address), count in self.refusals.most_common()
            ],
            "notices": dict(self.notices),
        }


def _count(counter: Counter[tuple[str, str]], name: str, other: str) -> None:
    if (name, other) not in counter and len(counter) >= MAX_NAMES:
        name, other = REST, other if other in OUTCOMES else ""
    counter[name, other] += 1


def _cut(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else repr(value)
    return text if len(text) <= _NAME_CHARACTERS else f"{text[:_NAME_CHARACTERS]}…"


def _nested(counter: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (name, outcome), count in sorted(counter.items()):
        nested.setdefault(name, {})[outcome] = count
    return nested
