from __future__ import annotations

from typing import Any

import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from auditlog.events.body import encode_free
from auditlog.events.reduction import reduced
from auditlog.format.record import MAX_RECORD_BYTES

LONG = "x" * 70_000
ANYTHING = st.one_of(
    st.none(),
    st.integers(),
    st.text(st.characters()),
    st.builds(object),
    st.sampled_from([LONG, "success", "alice", float("nan"), b"x" * 99_000]),
    st.dictionaries(st.text(max_size=3) | st.integers(), st.text(max_size=3), max_size=2),
)
FIELDS = ("actor", "resource", "outcome", "reason", "severity", "correlation_id", "details", "seq")


def record_of(event_type: object, fields: dict[str, Any]) -> dict[str, Any]:
    kept_type, kept = reduced(event_type, fields)
    body = encode_free(kept_type, service_host='"service":"s"', **kept)
    assert len(body) < MAX_RECORD_BYTES - 512
    record: dict[str, Any] = orjson.loads(b"{" + body + b"}")
    return record


@given(
    st.sampled_from(["pool.drained", "log.x", 7]),
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING),
)
@example("pool.drained", {"actor": LONG})
@example("pool.drained", {"resource": {"resource_type": LONG, "resource_id": LONG}})
@example("pool.drained", dict.fromkeys(FIELDS, LONG))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_never_lost(event_type: object, fields: dict[str, Any]) -> None:
    record = record_of(event_type, fields)
    assert (record["event_type"] == "pool.drained") == (event_type == "pool.drained")


def test_what_is_valid_is_kept_and_the_rest_stands_below_details() -> None:
    fields = {"actor": "alice", "outcome": "who knows", "seq": 7, "details": {"a": float("nan")}}
    record = record_of("task_submitted", fields)
    assert record["event_type"] == "app.logged"
    assert record["actor"] == {"user_id": "alice"}
    assert record["details"] == {
        "a": None,
        "claimed_type": "task_submitted",
        "outcome": "who knows",
        "seq": 7,
        "_replaced": ["a was nan"],
    }
