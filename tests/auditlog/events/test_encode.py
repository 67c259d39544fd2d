from __future__ import annotations

from typing import Any

import orjson
import pytest

from auditlog import events
from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.events.encode import EventEncoder
from auditlog.events.values import ValueRules
from auditlog.format.record import MAX_OVERHEAD_BYTES, MAX_RECORD_BYTES

ME = '"service":"s","host":"h"'


def record_of(event: Any, fields: dict[str, Any] | None = None, **rules: Any) -> dict[str, Any]:
    body, _ = EventEncoder(ME, ValueRules(**rules)).encode(event, fields or {}, None)
    record: dict[str, Any] = orjson.loads(b"{%b}" % body)
    return record


def recorded_while_handling(event: Any, fields: dict[str, Any], **rules: Any) -> dict[str, Any]:
    try:
        int("not a number")
    except ValueError:
        return record_of(event, fields, **rules)
    pytest.fail("it is not a number")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "emit was given NoneType, not an event"),
        (7, "emit was given int"),
        ({"event_type": "x"}, "emit was given dict"),
        (events.AuthSuccess, "emit was given the class AuthSuccess"),
        (b"pool.drained", "emit was given bytes"),
    ],
)
def test_a_wrong_first_argument_is_named(given: Any, words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        record_of(given)


def test_critical_events_are_known() -> None:
    for event, fields in (
        (events.AuthFailure(ip="::1"), {}),
        ("auth_failure", {}),
        ("pool.drained", {"severity": "critical"}),
        (events.AuthSuccess(severity="critical"), {}),
    ):
        assert EventEncoder(ME).encode(event, fields, None)[1]
    assert not EventEncoder(ME).encode("pool.drained", {}, None)[1]


HANDLED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a strange name": ("Bad Name", {}, "the event type is not a name"),
    "an unknown outcome": ("pool.drained", {"outcome": "maybe"}, "outcome is not one of"),
    "a wrong actor": ("pool.drained", {"actor": 1.5}, "actor is float"),
    "an unknown field": ("pool.drained", {"user": 1}, "unknown field user"),
    "no event": (None, {}, "emit was given NoneType"),
    "a name with a field of another kind": (
        "task_submitted",
        {"details": {"task_id": [], "model_ref": "m"}},
        "task_submitted.task_id is list",
    ),
    "too much": ("pool.drained", {"details": {"x": "y" * 70_000}}, "details.x alone has 70000"),
}


@pytest.mark.parametrize(("event", "fields", "words"), HANDLED.values(), ids=HANDLED.keys())
def test_handled(event: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        record_of(event, fields)
    record = recorded_while_handling(event, fields)
    assert record["details"]["_refused"].removeprefix("pool.drained: ").startswith(words)


def test_handled_too_large_a_typed_event() -> None:
    event = events.PoolModified(pool_id="p", changes={"x": "y" * 70_000}, actor="alice")
    with pytest.raises(RecordTooLarge):
        record_of(event)
    record = recorded_while_handling(event, {})
    assert record["actor"] == {"user_id": "alice"}
    assert record["details"]["claimed_type"] == "pool_modified"
    assert record["details"]["changes"]["x"]["length"] == 70_000


def test_handled_too_large_as_a_whole() -> None:
    details = {f"field_{number}": "x" * 3_000 for number in range(22)}
    record = recorded_while_handling("pool.drained", {"details": details})
    assert record["details"]["omitted_fields"] > 10
    assert "bytes, 65535 are allowed" in record["details"]["_refused"]


def test_strict_refuses_in_an_except_block_too() -> None:
    with pytest.raises(InvalidEvent, match="the event type is not a name"):
        recorded_while_handling("Bad Name", {}, strict=True)


def test_a_typed_event_takes_no_further_fields() -> None:
    with pytest.raises(InvalidEvent, match="auth_success: a typed event carries its fields itself"):
        record_of(events.AuthSuccess(), {"reason": "because"})


@pytest.mark.parametrize(("too_many", "is_reduced"), [(0, False), (1, True)])
def test_handled_is_reduced_from_the_largest_record_on(too_many: int, *, is_reduced: bool) -> None:
    """Whether the record fits is judged with the most that sealing can add to its body."""

    def fields(count: int) -> dict[str, Any]:
        return {"details": {f"f{n}": "x" * 3_000 for n in range(20)} | {"rest": "x" * count}}

    body, _ = EventEncoder(ME).encode("pool.drained", fields(1), None)
    room = MAX_RECORD_BYTES - MAX_OVERHEAD_BYTES - len(body)
    record = recorded_while_handling("pool.drained", fields(1 + room + too_many))
    assert ("_refused" in record["details"]) == is_reduced


@pytest.mark.parametrize(
    ("event", "fields", "critical"),
    [
        ("pool.drained", {"user": 1}, False),
        ("pool.drained", {"user": 1, "severity": "critical"}, True),
        ("pool.drained", {"user": 1, "severity": "error"}, False),
    ],
)
def test_a_reduced_event_is_critical_as_the_event_was(
    event: str, fields: dict[str, Any], *, critical: bool
) -> None:
    try:
        int("not a number")
    except ValueError:
        _, found = EventEncoder(ME).encode(event, fields, None)
    assert found is critical


def test_handled_keeps_the_details_of_a_typed_event() -> None:
    event = events.PoolModified(pool_id="p", changes={"x": "y" * 70_000}, details={"more": 1})
    details = recorded_while_handling(event, {})["details"]
    assert (details["pool_id"], details["more"]) == ("p", 1)
