from __future__ import annotations

from auditlog import Actor, events
from auditlog.events.base import Event
from auditlog.testing import capture


def test_a_record_gives_what_it_was_made_of() -> None:
    event = events.TaskSubmitted(
        actor=Actor("alice", roles=["admin"]),
        task_id="t",
        model_ref="m",
        reason="why",
        correlation_id="r-1",
        severity="warning",
        outcome="pending",
    )
    with capture() as captured:
        captured.log.emit(event)
        captured.log.emit("pool.drained", details={"n": 1})
    first, second = captured.records
    assert first.event() == event
    assert first.actor == event.actor
    assert first.resource is not None
    assert first.resource.resource_id == "t"
    assert (first.outcome, first.severity) == ("pending", "warning")
    assert (first.reason, first.correlation_id) == ("why", "r-1")
    assert first.details == {"task_id": "t", "model_ref": "m"}
    assert (second.actor, second.resource, second.event()) == (None, None, None)
    assert (second.details, second.reason, second.outcome) == ({"n": 1}, None, "success")
    assert isinstance(first.event(), Event)
