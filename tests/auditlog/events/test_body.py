from __future__ import annotations

import datetime as dt
import enum
import re
from types import MappingProxyType
from typing import Any
from unittest.mock import ANY

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog import events
from auditlog.errors import InvalidEvent
from auditlog.events import body as module
from auditlog.events.actor import Actor, Resource
from auditlog.events.body import encode_body, encode_free, service_host
from auditlog.events.context import Context, bind, current
from auditlog.events.field_kinds import Changes, Text
from auditlog.events.vocabulary import Event
from auditlog.format.record import GENESIS_HASH, log_prefix, parse_header, seal
from auditlog.redaction.redactor import Redactor
from auditlog.redaction.visible import DECEIVES
from tests.support.secrets import HIDDEN, SECRET_KEYS, STRANGE_TEXTS

_ME = service_host("queen-rbee", "hive1")
_ORDER = [
    "event_type", "service", "host", "actor", "resource", "outcome", "reason", "severity",
    "correlation_id", "details",
]  # fmt: skip
_TEXTS = st.one_of(STRANGE_TEXTS, HIDDEN.map(lambda hidden: hidden[1]))
_NAMES = _TEXTS.filter(bool)
_FREE = st.fixed_dictionaries(
    {},
    optional={
        "actor": st.builds(Actor, _NAMES, session_id=_NAMES),
        "resource": st.builds(Resource, _NAMES, _NAMES),
        "outcome": st.sampled_from(["success", "failure", "partial_success"]),
        "reason": _TEXTS,
        "severity": st.sampled_from(["info", "warning", "error", "critical"]),
        "correlation_id": _TEXTS,
        "details": st.dictionaries(_TEXTS, st.one_of(st.integers(0, 9), _TEXTS), max_size=3),
    },
)


class Noted(Event):
    note: Text


class Measured(Event):
    ratio: float | None = None
    changes: Changes | None = None


class _Outcome(str, enum.Enum):  # noqa: UP042  (its text is not its value)
    FAILED = "failure"


class _Severity(str, enum.Enum):  # noqa: UP042  (as above)
    ERROR = "error"


def _record(body: bytes) -> dict[str, Any]:
    record: dict[str, Any] = orjson.loads(b"{%b}" % body)
    assert list(record) == [name for name in _ORDER if name in record]
    return record


def test_a_typed_event_has_this_body() -> None:
    event = events.TaskSubmitted(
        actor=Actor("alice@example.org", ip="10.0.0.7", auth_method="bearer_token"),
        task_id="task-000123",
        model_ref="meta-llama/Llama-3.1-8B-Instruct",
        prompt_length=1234,
        prompt_hash="ab" * 32,
        reason="because",
        correlation_id="req-12345",
        details={"queue": "default", "tags": ["a", None]},
    )
    assert encode_body(event, service_host=_ME).decode() == (
        '"event_type":"task_submitted","service":"queen-rbee","host":"hive1",'
        '"actor":{"user_id":"alice@example.org","ip":"10.0.0.7","auth_method":"bearer_token"},'
        '"resource":{"resource_type":"task","resource_id":"task-000123"},'
        '"outcome":"success","reason":"because","severity":"info","correlation_id":"req-12345",'
        '"details":{"task_id":"task-000123","model_ref":"meta-llama/Llama-3.1-8B-Instruct",'
        f'"prompt_length":1234,"prompt_hash":"{"ab" * 32}","queue":"default","tags":["a",null]}}'
    )


def test_a_bare_free_event_has_this_body() -> None:
    assert encode_free("pool.drained", service_host=_ME) == (
        b'"event_type":"pool.drained","service":"queen-rbee","host":"hive1",'
        b'"outcome":"success","severity":"info"'
    )


@given(_FREE)
def test_one_object(fields: dict[str, Any]) -> None:
    record = _record(encode_free("pool.drained", service_host=_ME, **fields))
    assert set(record) >= {"event_type", "service", "host", "outcome", "severity"}
    assert set(record) <= {*_ORDER}
    for name in ("actor", "resource", "reason", "correlation_id"):
        assert (name in record) == (name in fields)
    assert ("details" in record) == bool(fields.get("details"))


@given(_FREE, _NAMES)
def test_one_line(fields: dict[str, Any], text: str) -> None:
    for body in (
        encode_free("pool.drained", service_host=_ME, **fields),
        encode_body(Noted(note=text, **fields), service_host=_ME)
        if "note" not in fields.get("details", {})
        else b"",
    ):
        shown = body.decode().replace(r"\\", "")
        assert not re.search(r"\\u00|\\[bf]|[\x00-\x1f]", shown)
        assert re.search(DECEIVES, shown) is None
    body = encode_free("pool.drained", service_host=_ME, **fields)
    line, _ = seal(log_prefix("a@b"), 1, GENESIS_HASH, "2026-11-23T07:12:00.123456Z", body)
    assert parse_header(line) is not None


@given(HIDDEN, st.sampled_from(SECRET_KEYS))
def test_no_secret(hidden: tuple[str, str], key: str) -> None:
    secret, text = hidden
    common: dict[str, Any] = {
        "actor": {"user_id": text, "session_id": text},
        "resource": {"resource_type": text, "resource_id": text, "parent_id": text},
        "reason": text,
        "correlation_id": text,
        "details": {"a": [{"b": text}], key: secret, text: 1},
    }
    bound = Context(
        Actor(text), Resource(text, text), reason=text, correlation_id=text, details=None
    )
    bodies = [
        encode_free("pool.drained", service_host=_ME, **common),
        encode_body(Noted(note=text, **common), service_host=_ME),
        encode_free("pool.drained", service_host=_ME, context=bound),
        encode_body(events.TaskSubmitted(task_id=text, model_ref=text), service_host=_ME),
    ]
    with bind(**common):
        bodies.append(encode_free("pool.drained", service_host=_ME, context=current()))
    for body in bodies:
        assert secret not in body.decode()
        assert orjson.dumps(secret)[1:-1] not in body


@pytest.mark.parametrize(
    ("event_type", "fields", "words"),
    [
        ("Pool", {}, "the event type is not a name like pool.drained"),
        ("", {}, "the event type is not a name"),
        ("a" * 65, {}, "the event type is not a name"),
        ("a\n", {}, "the event type is not a name"),
        (7, {}, "the event type is not a name like pool.drained but int"),
        ("log.opened", {}, "log.opened: types that start with log. are the library's own"),
        ("retention.segment_deleted", {}, "types that start with retention. are the library's own"),
        ("evidence.checkpoint", {}, "types that start with evidence. are the library's own"),
        ("witness.x", {}, "types that start with witness. are the library's own"),
        ("a", {"seq": 1, "v": 2}, "a: seq, v is written by the library"),
        ("a", {"@timestamp": 1}, "a: @timestamp is written by the library"),
        ("a", {"user": 1}, "a: unknown field user"),
        ("a", {"resource": {"id": 1}}, "resource has no field 'id'"),
        ("a", {"outcome": "ok"}, "outcome is not one of"),
        ("a", {"outcome": ANY}, "outcome is not one of"),
        ("a", {"severity": {}}, "severity is not one of"),
        ("a", {"severity": "loud"}, "severity is not one of"),
        ("a", {"severity": ANY}, "severity is not one of"),
        ("auth_success", {"outcome": "ok"}, "outcome is not one of"),
        ("auth_success", {"outcome": ANY}, "outcome is not one of"),
        ("auth_success", {"severity": "loud"}, "severity is not one of"),
        ("auth_success", {"severity": ANY}, "severity is not one of"),
        ("auth_success", {"reason": [7]}, "auth_success.reason is list, not a string"),
        ("auth_success", {"correlation_id": b"7"}, "auth_success.correlation_id is bytes, not a"),
        ("a", {"reason": [7]}, "reason is list, not a string"),
        ("a", {"actor": 1.5}, "actor is float"),
        ("a", {"reason": "\ud800"}, "a.reason has a lone surrogate"),
        ("a", {"correlation_id": b"7"}, "correlation_id is bytes, not a string"),
        ("a", {"correlation_id": "\udfff"}, "a.correlation_id has a lone surrogate"),
        ("a", {"details": []}, "details is list, not a mapping"),
    ],
)
def test_refused(event_type: Any, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        encode_free(event_type, service_host=_ME, **fields)


def test_a_typed_event_refuses_the_same_when_it_is_encoded() -> None:
    for fields, words in (
        ({"note": "\ud800"}, "noted.note has a lone surrogate"),
        ({"note": "x", "reason": "\ud800"}, "noted.reason has a lone surrogate"),
    ):
        with pytest.raises(InvalidEvent, match=words):
            encode_body(Noted(**fields), service_host=_ME)


def test_the_librarys_names_are_free_below_details() -> None:
    details = {"v": 2, "log": "x", "seq": 3, "prev_hash": "y", "@timestamp": "z", "hash": "h"}
    body = encode_free("a", service_host=_ME, details=details)
    assert _record(body)["details"] == details


def test_a_type_of_the_vocabulary_has_its_defaults_when_given_by_name() -> None:
    details = {"ip": "192.0.2.7"}
    record = _record(encode_free("auth_failure", service_host=_ME, details=details))
    assert (record["outcome"], record["severity"]) == ("failure", "critical")
    body = encode_free("auth_failure", service_host=_ME, details=details, outcome="success")
    assert _record(body)["outcome"] == "success"


def test_a_type_of_the_vocabulary_is_that_type_when_given_by_name() -> None:
    own = {"token_fingerprint": "a3f2c1", "scope": ["read"], "expires_at": "2026-11-23T00:00:00Z"}
    typed = events.TokenCreated(
        token_fingerprint="a3f2c1",
        scope=["read"],
        expires_at=dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
        actor=Actor("alice"),
        details={"more": 1},
    )
    assert encode_free(
        "token_created",
        service_host=_ME,
        actor={"user_id": "alice"},
        details={**own, "more": 1},
    ) == encode_body(typed, service_host=_ME)


def test_a_field_of_a_named_type_may_be_bound() -> None:
    bound = Context(details={"task_id": "t-1", "worker_id": "w-1"})
    body = encode_free(
        "task_canceled", service_host=_ME, context=bound, details={"worker_id": "w-2"}
    )
    record = _record(body)
    assert record["details"] == {"task_id": "t-1", "worker_id": "w-2"}
    assert record["resource"] == {"resource_type": "task", "resource_id": "t-1"}


def test_a_name_of_the_vocabulary_is_taken_without_all_of_its_fields() -> None:
    """An untyped event may leave fields out; the type's outcome and severity still apply."""
    bare = _record(encode_free("auth_failure", service_host=_ME))
    assert (bare["outcome"], bare["severity"]) == ("failure", "critical")
    assert "details" not in bare
    some = {"task_id": "t-1", "prompt_hash": "a3f2c1d4", "more": 1}
    record = _record(encode_free("task_submitted", service_host=_ME, details=some))
    assert record["details"] == some
    assert "resource" not in record


@pytest.mark.parametrize(
    ("event_type", "details", "words"),
    [
        ("task_submitted", [], "task_submitted.details is list, not a mapping"),
        ("task_submitted", {"task_id": [7], "model_ref": "m"}, "task_submitted.task_id is list"),
        (
            "task_submitted",
            {"task_id": "t", "model_ref": "m", "prompt_hash": "write me a poem"},
            "task_submitted.prompt_hash is not a digest",
        ),
        (
            "task_submitted",
            {"prompt_hash": "write me a poem"},
            "task_submitted.prompt_hash is not a digest",
        ),
        (
            "token_created",
            {"token_fingerprint": "f", "scope": [], "expires_at": "soon"},
            "token_created.expires_at is not a time",
        ),
    ],
)
def test_a_named_type_refuses_what_the_type_refuses(
    event_type: str, details: Any, words: str
) -> None:
    with pytest.raises(InvalidEvent, match=words):
        encode_free(event_type, service_host=_ME, details=details)


def test_context_fills_only_what_an_event_lacks() -> None:
    bound = Context(
        Actor("bound"),
        Resource("pool", "bound"),
        reason="bound",
        correlation_id="bound",
        details={"a": "bound", "note": "bound", "b": "bound"},
    )
    full = _record(
        encode_body(
            Noted(
                note="own",
                actor=Actor("own"),
                resource=Resource("pool", "own"),
                reason="own",
                correlation_id="own",
                details={"a": "own"},
            ),
            service_host=_ME,
            context=bound,
        )
    )
    assert full["actor"] == {"user_id": "own"}
    assert full["resource"]["resource_id"] == "own"
    assert (full["reason"], full["correlation_id"]) == ("own", "own")
    assert full["details"] == {"note": "own", "a": "own", "b": "bound"}
    bare = _record(encode_body(Noted(note="own"), service_host=_ME, context=bound))
    assert bare["actor"] == {"user_id": "bound"}
    assert bare["resource"]["resource_id"] == "bound"
    assert (bare["reason"], bare["correlation_id"]) == ("bound", "bound")
    assert bare["details"] == {"note": "own", "a": "bound", "b": "bound"}


def test_an_events_own_resource_goes_before_the_bound_one() -> None:
    event = events.PoolDeleted(pool_id="p-1")
    bound = Context(resource=Resource("pool", "bound"))
    assert _record(encode_body(event, service_host=_ME, context=bound))["resource"] == {
        "resource_type": "pool",
        "resource_id": "p-1",
    }


def test_an_event_without_anything_of_its_own_has_no_details() -> None:
    assert "details" not in _record(encode_body(events.AuthSuccess(), service_host=_ME))


@pytest.mark.parametrize(
    "given",
    [
        {"user_id": "alice"},
        {"user_id": 7, "ip": "10.0.0.7", "auth_method": "mtls", "roles": ["a", "b"]},
        {"user_id": "Zoë\u202e", "name": "password=hunter22x", "session_id": "s" * 40},
        {},
        {"user_id": ""},
        {"user_id": "\ud800"},
        {"user_id": "alice", "ip": "10.0.0"},
        {"user_id": "alice", "nick": "al"},
        {"user_id": "alice", 7: 8},
    ],
    ids=repr,
)
def test_a_mapping_has_the_body_or_the_error_of_the_object(given: dict[Any, Any]) -> None:
    def outcome(actor: Any) -> bytes | str:
        try:
            return encode_free("pool.drained", service_host=_ME, actor=actor)
        except InvalidEvent as error:
            return str(error)

    # Of a mapping that is no dict an object is made.
    assert outcome(given) == outcome(MappingProxyType(given))


def test_the_library_records_its_own_types_in_the_logs_of_its_services_alone() -> None:
    for event_type, service in (
        ("log.archived", "auditlog-archive"),
        ("log.archive_manifest", "auditlog-archive"),
        ("retention.segment_deleted", "retention"),
        ("witness.x", "witness"),
    ):
        body = encode_free(event_type, service_host=service_host(service, "hive1"))
        assert _record(body)["event_type"] == event_type
    for event_type, service in (
        ("log.opened", "log"),
        ("log.opened", "auditlog-archive"),
        ("log.archived", "log"),
        ("retention.segment_deleted", "auditlog-archive"),
        ("retention.segment_deleted", "retention2"),
    ):
        with pytest.raises(InvalidEvent, match="are the library's own"):
            encode_free(event_type, service_host=service_host(service, "hive1"))


def test_a_name_is_checked_once_but_few_names_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names: set[str] = set()
    monkeypatch.setattr(module, "_FREE_TYPES", names)
    encode_free("pool.drained", service_host=_ME)
    assert names == {"pool.drained"}
    for number in range(2000):
        body = encode_free(f"pool.drained_{number}", service_host=_ME)
        assert _record(body)["event_type"] == f"pool.drained_{number}"
    assert len(names) == 1024


def test_a_name_that_is_the_librarys_own_is_not_remembered() -> None:
    own = service_host("retention", "hive1")
    encode_free("retention.segment_deleted", service_host=own)
    with pytest.raises(InvalidEvent, match="are the library's own"):
        encode_free("retention.segment_deleted", service_host=_ME)


_BOUND = Context(
    Actor("bound"), Resource("pool", "bound"), reason="bound", correlation_id="bound", details=None
)
_BOUND_DETAILS = Context(details={"a": "bound", "b": "bound"})


@pytest.mark.parametrize(
    ("event_type", "details"),
    [
        ("pool.drained", None),  # of no class
        ("auth_success", None),
        ("auth_failure", None),  # without the field that it requires
        ("authorization_granted", {"action": "read", "more": 1}),
    ],
)
def test_context_fills_only_what_an_event_given_by_name_lacks(
    event_type: str, details: dict[str, Any] | None
) -> None:
    bare = _record(encode_free(event_type, service_host=_ME, context=_BOUND, details=details))
    assert bare["actor"] == {"user_id": "bound"}
    assert bare["resource"] == {"resource_type": "pool", "resource_id": "bound"}
    assert (bare["reason"], bare["correlation_id"]) == ("bound", "bound")
    full = _record(
        encode_free(
            event_type,
            service_host=_ME,
            context=_BOUND,
            actor="own",
            resource={"resource_type": "pool", "resource_id": "own"},
            reason="own",
            correlation_id="own",
            details=details,
        )
    )
    assert full["actor"] == {"user_id": "own"}
    assert full["resource"]["resource_id"] == "own"
    assert (full["reason"], full["correlation_id"]) == ("own", "own")


@pytest.mark.parametrize(
    ("event_type", "details"),
    [
        ("pool.drained", {"a": "own"}),
        ("auth_failure", {"a": "own"}),
        ("auth_success", {"method": "mtls"}),
        ("task_canceled", {"task_id": "t-1"}),
        ("task_canceled", {"task_id": "t-1", "a": "own"}),
    ],
)
def test_bound_details_are_added_to_those_of_an_event_given_by_name(
    event_type: str, details: dict[str, Any]
) -> None:
    body = encode_free(event_type, service_host=_ME, context=_BOUND_DETAILS, details=details)
    assert _record(body)["details"] == {"a": "bound", "b": "bound", **details}
    bare = encode_free("pool.drained", service_host=_ME, context=_BOUND_DETAILS)
    assert _record(bare)["details"] == {"a": "bound", "b": "bound"}


def test_a_bound_field_of_a_named_type_is_checked() -> None:
    bound = Context(details={"prompt_hash": "write me a poem"})
    details = {"task_id": "t-1", "model_ref": "m"}
    with pytest.raises(InvalidEvent, match=r"task_submitted\.prompt_hash is not a digest"):
        encode_free("task_submitted", service_host=_ME, context=bound, details=details)


def test_the_resource_that_a_named_type_names_goes_between_the_given_and_the_bound_one() -> None:
    details = {"pool_id": "p-1"}
    named = {"resource_type": "pool", "resource_id": "p-1"}
    body = encode_free("pool_deleted", service_host=_ME, context=_BOUND, details=details)
    assert _record(body)["resource"] == named
    assert (
        _record(encode_free("pool_deleted", service_host=_ME, details=details))["resource"] == named
    )
    given_resource = Resource("pool", "given")
    body = encode_free(
        "pool_deleted", service_host=_ME, context=_BOUND, resource=given_resource, details=details
    )
    assert _record(body)["resource"] == {"resource_type": "pool", "resource_id": "given"}


def test_a_named_type_with_the_fields_it_requires_and_others_is_that_type() -> None:
    details = {"task_id": "t-1", "model_ref": "m", "more": 1}
    record = _record(encode_free("task_submitted", service_host=_ME, details=details))
    assert record["resource"] == {"resource_type": "task", "resource_id": "t-1"}
    assert record["details"] == details


@pytest.mark.parametrize("name", ["auth_success", "task_submitted", "pool.drained"])
def test_words_of_an_enumeration_are_recorded_as_their_values(name: str) -> None:
    """Of a type of the vocabulary, of one without the fields that it requires, and of any other."""
    fields: dict[str, Any] = {
        "outcome": _Outcome.FAILED,
        "severity": _Severity.ERROR,
        "reason": 7,
        "correlation_id": 8,
    }
    record = _record(encode_free(name, service_host=_ME, **fields))
    assert (record["outcome"], record["severity"]) == ("failure", "error")
    assert (record["reason"], record["correlation_id"]) == ("7", "8")


_NAN = float("nan")


@pytest.mark.parametrize(
    ("fields", "replaced"),
    [
        ({"ratio": _NAN}, ["ratio was nan"]),
        ({"ratio": _NAN, "changes": {"a": _NAN}}, ["ratio was nan", "changes.a was nan"]),
        ({"changes": {"a": _NAN}}, ["changes.a was nan"]),
        ({"details": {"b": _NAN}}, ["b was nan"]),
        ({"ratio": _NAN, "details": {"b": _NAN}}, ["ratio was nan", "b was nan"]),
        ({"ratio": 0.5, "details": {"b": 1}}, None),
    ],
    ids=repr,
)
def test_what_was_replaced_in_a_field_or_in_details_is_named(
    fields: dict[str, Any], replaced: list[str] | None
) -> None:
    record = _record(encode_body(Measured(**fields), service_host=_ME))
    assert record["details"].get("_replaced") == replaced


def test_what_was_replaced_in_a_named_type_is_named() -> None:
    details = {"pool_id": "p-1", "changes": {"ratio": _NAN}}
    record = _record(encode_free("pool_modified", service_host=_ME, details=details))
    assert record["details"] == {
        "pool_id": "p-1",
        "changes": {"ratio": None},
        "_replaced": ["changes.ratio was nan"],
    }


def test_a_secret_of_twenty_plain_characters_is_searched_for() -> None:
    secret = "AKIAIOSFODNN7EXAMPLE"
    assert len(secret) == 20
    record = _record(encode_free("pool.drained", service_host=_ME, correlation_id=secret))
    assert record["correlation_id"] == "[redacted:aws_key_id]"


def test_a_secret_in_details_is_counted_once() -> None:
    redactor = Redactor()
    for times in (1, 2, 3):  # the second time its key is known
        encode_free(
            "pool.drained", _ME, redactor=redactor, details={"note": "AKIAIOSFODNN7EXAMPLE"}
        )
        assert sum(redactor.counted().values()) == times
