"""Decide whether a search shows heartbeats.  Pure: no clock, disk, network, logging.

Every open log has one in five minutes, so that an answer for people would be full of them.

Invariants (tests of the same name in tests/auditlog/query/test_heartbeats.py):
  named   heartbeats are left out, unless the query names them, their number or their hash
"""

from __future__ import annotations

from typing import Final

from auditlog.query.syntax import All, And, Not, Or, Query, Test, WordTest

__all__ = ["HEARTBEAT", "names_heartbeats", "without_heartbeats"]

HEARTBEAT: Final = "log.heartbeat"


def without_heartbeats(query: Query) -> Query:
    """Return the query with heartbeats left out, or as it is where it names them.

    >>> from auditlog.query.syntax import parse
    >>> without_heartbeats(parse("event_type~^log"))
    Test(field='event_type', op='~', value='^log', quoted=False)
    """
    if names_heartbeats(query):
        return query
    others = Test("event_type", "!=", HEARTBEAT, quoted=True)
    return others if isinstance(query, All) else And((query, others))


def names_heartbeats(query: Query) -> bool:
    """Return whether some condition is about heartbeats, or about one record."""
    match query:
        case And(parts) | Or(parts):
            return any(map(names_heartbeats, parts))
        case Not(part):
            return names_heartbeats(part)
        case WordTest(text):
            return _is_their_name(text)
        case Test("event_type", "=" | "~", value):
            return _is_their_name(value)
        case Test("seq" | "hash", "="):
            return True
        case _:
            return False


def _is_their_name(text: str) -> bool:
    plain = text.replace("\\", "").strip("^$")
    return plain == "log" or plain.startswith("log.") or "heartbeat" in plain
