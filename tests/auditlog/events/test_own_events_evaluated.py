"""The same event type without ``from __future__ import annotations``: nothing may differ."""

import datetime as dt
import enum
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from auditlog.events.base import Event
from auditlog.events.field_kinds import Id
from tests.auditlog.events import test_own_events as in_strings


class Level(enum.Enum):
    LOW = "low"


class Refund(Event):
    """Money went back."""

    order: str
    amount: Decimal
    count: int = 1
    rate: float = 0.5
    manual: bool = False
    currency: Literal["EUR", "USD"] = "EUR"
    note: str | None = None
    at: dt.datetime | None = None
    tags: list[str] = ()  # type: ignore[assignment]  # a tuple is taken, and cannot change
    level: Level = Level.LOW
    owner: UUID | None = None
    attempt: Literal[1, 2] = 1
    more: Any = None
    task_id: Id = "t-0"


def test_the_fields_are_those_of_annotations_in_strings() -> None:
    for ours, theirs in zip(Refund.declared, in_strings.Refund.declared, strict=True):
        assert ours.name == theirs.name
        assert ours.kind.name == theirs.kind.name
        assert (ours.nullable, ours.required) == (theirs.nullable, theirs.required)


def test_the_records_are_the_same() -> None:
    fields: dict[str, Any] = {"order": "o-1", "amount": Decimal(1), "note": "n"}
    assert Refund(**fields).own_details() == in_strings.Refund(**fields).own_details()
