from __future__ import annotations

from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.bridges.log_call import LogCall, is_librarys, severity_of
from auditlog.events.body import encode_free
from auditlog.format.record import MAX_RECORD_BYTES


class Strange:
    def __repr__(self) -> str:
        raise RuntimeError("not to be called")

    __str__ = __repr__


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not to be called")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.builds(Strange)
    | st.sampled_from(["x" * 5_000, "ä" * 70_000, "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters()) | st.integers() | st.none(), inner, max_size=4)
    ),
    max_leaves=12,
)


def record_of(call: LogCall, event_type: object = "app.logged") -> dict[str, Any]:
    kept_type, fields = call.reduced(event_type)
    body = encode_free(kept_type, service_host='"service":"s"', **fields)
    assert len(body) < MAX_RECORD_BYTES - 512
    record: dict[str, Any] = orjson.loads(b"{" + body + b"}")
    return record


@given(
    st.text(st.characters()) | st.just("long " * 30_000),
    st.dictionaries(st.text(st.characters(), max_size=400), ANYTHING, max_size=8),
    st.sampled_from(
        ["pool.drained", "auth_failure", "auth_success", "log.closed", "No", 7, "\ud800"]
    ),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_never_lost(message: str, extra: dict[str, Any], event_type: object) -> None:
    record = record_of(LogCall(message, "info", "queen", extra), event_type)
    assert record["details"]["logger"] == "queen"
    kept = event_type == "pool.drained"
    assert record["event_type"] == (event_type if kept else "app.logged")
    assert kept or "claimed_type" in record["details"]


def test_never_lost_with_more_fields_than_a_record_holds() -> None:
    extra = {f"field_{number}": "x" * 4_000 for number in range(100)}
    extra["loop"] = [extra]  # type: ignore[assignment]  # wrong on purpose
    details = record_of(LogCall("m", "info", "queen", extra))["details"]
    assert details["field_0"] == "x" * 4_000
    assert details["omitted_fields"] > 90


def test_what_a_record_cannot_hold_is_described() -> None:
    message = "m" * 100_000
    extra = {
        "actor": "alice",
        "outcome": "who knows",
        "request": Strange(),
        "deep": {"of": [Strange(), 1], 2: "two"},
        "body": "b" * 5_000,
        "password": "hunter2",
        "half": "\udc80",
    }
    record = record_of(LogCall(message, "error", "queen", extra))
    details = record["details"]
    assert record["outcome"] == "failure"
    assert "reason" not in record
    assert details["reason"]["length"] == 100_000
    assert record["actor"] == {"user_id": "alice"}
    assert details["request"] == "<Strange>"
    assert details["deep"] == {"of": ["<Strange>", 1], "2": "two"}
    assert details["body"]["length"] == 5_000
    assert details["half"] == "\\udc80"
    assert details["outcome"] == "who knows"
    assert details["password"] == "[redacted:password]"


def test_by_type() -> None:
    secret = "only in a local variable"  # noqa: F841  (it must not be found)
    try:
        {}["missing"]
    except KeyError as error:
        call = LogCall("m", "error", "queen", {}, error)
    assert call.fields()["details"] == {
        "logger": "queen",
        "exception": {"type": "builtins.KeyError", "message": "'missing'"},
    }
    details = record_of(LogCall("m", "error", "queen", {}, Mute()))["details"]
    assert details["exception"]["message"] == "<its text cannot be had>"


def test_the_events_own_fields_are_taken_from_extra() -> None:
    actor = {"user_id": "alice"}
    extra = {"actor": actor, "outcome": "partial_success", "details": {"a": 1}, "b": 2}
    fields = LogCall("m", "critical", "queen", extra).fields()
    assert fields["actor"] is actor
    assert fields["outcome"] == "partial_success"
    assert fields["details"] == {"a": 1, "b": 2, "logger": "queen"}


def test_details_may_be_any_mapping() -> None:
    fields = LogCall("m", "info", "queen", {"details": MappingProxyType({"a": 1})}).fields()
    assert fields["details"] == {"a": 1, "logger": "queen"}


@pytest.mark.parametrize(
    ("level", "severity"),
    [(0, "info"), (10, "info"), (29, "info"), (30, "warning"), (39, "warning"),
     (40, "error"), (49, "error"), (50, "critical")],
)  # fmt: skip
def test_levels_become_severities(level: int, severity: str) -> None:
    assert severity_of(level) == severity


def test_only_this_librarys_loggers_are_its_own() -> None:
    assert is_librarys("auditlog")
    assert is_librarys("auditlog.shippers")
    assert not is_librarys("auditlogger")
