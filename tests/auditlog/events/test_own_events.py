"""An event type of one's own, with annotations in strings."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import inspect
import pickle
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import orjson
import pytest

from auditlog.errors import InvalidEvent
from auditlog.events.base import Event
from auditlog.events.body import encode_body
from auditlog.events.field_kinds import Id


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


def record_of(event: Event) -> dict[str, Any]:
    record: dict[str, Any] = orjson.loads(
        b"{%b}" % encode_body(event, service_host='"service":"s"')
    )
    return record


def test_defaults_are_kept_and_recorded() -> None:
    assert record_of(Refund(order="o-1", amount=Decimal("9.90")))["details"] == {
        "order": "o-1",
        "amount": "9.90",
        "count": 1,
        "rate": 0.5,
        "manual": False,
        "currency": "EUR",
        "tags": [],
        "level": "low",
        "attempt": 1,
        "task_id": "t-0",
    }


def test_every_field_may_be_given() -> None:
    event = Refund(
        order="o-1",
        amount=Decimal(1),
        count=2**70,
        rate=float("nan"),
        manual=True,
        currency="USD",
        note="why",
        at=dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
        tags=["a"],
        owner=UUID(int=1),
        attempt=2,
        more={"x": {1}},
        task_id="t-1",
        details={"y": float("inf")},
    )
    details = record_of(event)["details"]
    assert details["count"] == str(2**70)
    assert details["rate"] is None
    assert (details["at"], details["more"]) == ("2026-11-23T00:00:00Z", {"x": [1]})
    assert details["_replaced"] == ["rate was nan", "y was inf"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"amount": 1.5}, "refund.amount is float, not Decimal"),
        ({"count": "1"}, "refund.count is str, not a whole number"),
        ({"rate": "1"}, "refund.rate is str, not a number"),
        ({"manual": 1}, "refund.manual is int"),
        ({"currency": "GBP"}, "refund.currency is not one of EUR, USD"),
        ({"attempt": True}, "refund.attempt is not one of 1, 2"),
        ({"level": "low"}, "refund.level is str, not Level"),
        ({"at": 7}, "refund.at is int"),
        ({"tags": "a"}, "refund.tags is str"),
        ({"order": None}, "refund.order is NoneType"),
    ],
)
def test_a_value_of_another_type_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        Refund(**{"order": "o", "amount": Decimal(1), **fields})


def test_the_signature_shows_the_fields_and_their_defaults() -> None:
    parameters = inspect.signature(Refund).parameters
    assert list(parameters)[:3] == ["order", "amount", "count"]
    assert parameters["count"].default == 1
    assert parameters["order"].default is inspect.Parameter.empty
    assert "outcome" in parameters
    assert str(inspect.signature(Refund)).startswith("(*, order: Text, amount: Decimal, count: int")


def test_a_subclass_adds_fields_and_changes_defaults() -> None:
    class Chargeback(Refund):
        count: int = 2
        bank: str

    details = record_of(Chargeback(order="o", amount=Decimal(1), bank="b"))["details"]
    assert (details["count"], details["bank"]) == (2, "b")

    class Unmarked(Refund):
        count = 3

    assert Unmarked(order="o", amount=Decimal(1)).count == 3


def test_dataclass_tools_know_the_defaults() -> None:
    event = dataclasses.replace(Refund(order="o", amount=Decimal(1)), count=5)
    assert (event.count, event.currency) == (5, "EUR")
    assert dataclasses.asdict(event)["rate"] == 0.5
    assert pickle.loads(pickle.dumps(event)) == event
