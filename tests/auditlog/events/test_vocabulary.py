from __future__ import annotations

import datetime as dt
import subprocess
import sys
from typing import Any

import orjson
import pytest

from auditlog import events
from auditlog.events.base import COMMON_FIELDS, Event
from auditlog.events.body import encode_body
from auditlog.events.vocabulary import EVENT_TYPES

_TYPES = """
    auth_success auth_failure token_created token_revoked
    authorization_granted authorization_denied permission_changed
    pool_created pool_deleted pool_modified node_registered
    node_deregistered task_submitted task_completed task_canceled
    vram_sealed seal_verified seal_verification_failed
    vram_allocated vram_allocation_failed vram_deallocated
    rate_limit_exceeded path_traversal_attempt invalid_token_used
    policy_violation suspicious_activity integrity_violation malformed_model_rejected
    resource_limit_violation
    inference_executed model_accessed data_deleted
    gdpr_data_access_request gdpr_data_export gdpr_right_to_erasure
"""
_CRITICAL = """
    auth_failure token_revoked policy_violation seal_verification_failed path_traversal_attempt
    invalid_token_used suspicious_activity integrity_violation malformed_model_rejected
    resource_limit_violation
"""
_EXAMPLES: dict[str, Any] = {
    "Id": "t-1",
    "Label": "name",
    "Text": "some text",
    "Digest": "0123456789abcdef",
    "Address": "10.0.0.7",
    "Count": 3,
    "Number": 0.5,
    "bool": True,
    "Instant": dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
    "Labels": ("a",),
    "Changes": {"replicas": 3},
}


def test_vocabulary() -> None:
    assert set(EVENT_TYPES) == set(_TYPES.split())
    assert len(EVENT_TYPES) == 35
    critical = {name for name, cls in EVENT_TYPES.items() if cls.critical}
    assert critical == set(_CRITICAL.split())
    severe = {name for name, cls in EVENT_TYPES.items() if cls.default_severity == "critical"}
    assert severe == critical


def test_no_prompt() -> None:
    prompts = {
        (field.name, field.kind.name)
        for cls in EVENT_TYPES.values()
        for field in cls.own_fields
        if any(word in field.name for word in ("prompt", "completion", "message", "content"))
    }
    assert prompts == {("prompt_length", "Count"), ("prompt_hash", "Digest")}


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=EVENT_TYPES)
@pytest.mark.parametrize("optional", [False, True])
def test_every_type_makes_a_record_with_its_fields(cls: type[Event], optional: bool) -> None:
    fields = {
        field.name: _EXAMPLES[field.kind.name]
        for field in cls.own_fields
        if optional or field.required
    }
    event = cls(**fields)
    record = orjson.loads(b"{%b}" % encode_body(event, service_host='"service":"s","host":"h"'))
    assert record["event_type"] == cls.event_type
    assert list(record.get("details", {})) == list(fields)
    assert record["outcome"] == cls.default_outcome
    assert record["severity"] == cls.default_severity
    if cls.names is not None:
        kind, source = cls.names
        assert record["resource"] == {"resource_type": kind, "resource_id": fields[source]}
    for field in cls.own_fields:
        if field.required:
            with pytest.raises(TypeError, match=field.name):
                cls(**{name: value for name, value in fields.items() if name != field.name})


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=EVENT_TYPES)
def test_the_resource_comes_from_a_required_field(cls: type[Event]) -> None:
    if cls.names is not None:
        source = next(field for field in cls.own_fields if field.name == cls.names[1])
        assert source.required
        assert source.kind.name in ("Id", "Label")
    assert cls.__doc__
    assert not {field.name for field in cls.own_fields} & set(COMMON_FIELDS)


def test_every_type_is_exported_under_the_name_of_its_class() -> None:
    exported = {getattr(events, name) for name in events.__all__ if name != "EVENT_TYPES"}
    assert exported == {*EVENT_TYPES.values(), Event}
    assert events.__all__[1:] == sorted(events.__all__[1:])


def test_types_that_fail_by_name_fail_by_default() -> None:
    for cls in (events.AuthFailure, events.VramAllocationFailed, events.AuthorizationDenied):
        assert cls.default_outcome == "failure"
    revoked = events.TokenRevoked(token_fingerprint="a3f2c1")
    assert (revoked.outcome, revoked.severity) == ("success", "critical")


def test_importing_the_vocabulary_generates_no_code() -> None:
    code = (
        "import auditlog.events as e, sys\n"
        "assert not [c for c in e.EVENT_TYPES.values() if 'own_json' in vars(c)]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
