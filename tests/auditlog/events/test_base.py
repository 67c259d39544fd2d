from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import inspect
import pickle
import threading
from types import MappingProxyType
from typing import Any, ClassVar
from unittest import mock

import orjson
import pytest
from hypothesis import given

from auditlog import events
from auditlog.errors import InvalidEvent
from auditlog.events.actor import Actor, Resource
from auditlog.events.base import Event
from auditlog.events.field_kinds import (
    Address,
    Changes,
    Count,
    Digest,
    Id,
    Instant,
    Label,
    Labels,
    Number,
    Text,
)
from auditlog.redaction.redactor import KEYLESS
from tests.support.secrets import HIDDEN, SECRETS


class EveryKind(Event):
    names: ClassVar[tuple[str, str] | None] = ("thing", "an_id")
    an_id: Id
    a_label: Label
    a_text: Text | None = None
    a_digest: Digest | None = None
    an_address: Address | None = None
    a_count: Count | None = None
    a_number: Number | None = None
    a_flag: bool | None = None
    at: Instant | None = None
    labels: Labels | None = None
    changes: Changes | None = None


_FULL: dict[str, Any] = {
    "an_id": "t-1",
    "a_label": "m",
    "a_text": "/x",
    "a_digest": "0123456789abcdef",
    "an_address": "10.0.0.7",
    "a_count": 3,
    "a_number": 0.5,
    "a_flag": False,
    "at": dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
    "labels": ("a", "b"),
    "changes": {"replicas": [1, 2]},
}


def test_fields_stand_in_declared_order_and_absent_ones_are_left_out() -> None:
    assert list(EveryKind(**dict(reversed(_FULL.items()))).own_details().items()) == [
        *list(_FULL.items())[:8],
        ("at", "2026-11-23T00:00:00Z"),
        ("labels", ["a", "b"]),
        ("changes", {"replicas": [1, 2]}),
    ]
    assert EveryKind(an_id="t", a_label="m").own_details() == {"an_id": "t", "a_label": "m"}


def test_the_type_is_named_after_the_class() -> None:
    assert EveryKind.event_type == "every_kind"
    assert events.GdprRightToErasure.event_type == "gdpr_right_to_erasure"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"an_id": ""}, "every_kind.an_id is empty"),
        ({"an_id": None}, "every_kind.an_id is NoneType"),
        ({"a_digest": "a poem"}, "every_kind.a_digest is not a digest"),
        ({"an_address": "here"}, "every_kind.an_address is not an IP address"),
        ({"a_count": -1}, "every_kind.a_count is negative"),
        ({"a_number": float("nan")}, "every_kind.a_number is negative, not finite"),
        ({"a_flag": 1}, "every_kind.a_flag is int"),
        ({"at": "now"}, "every_kind.at is not a time"),
        ({"labels": "ab"}, "every_kind.labels is str"),
        ({"changes": []}, "every_kind.changes is list"),
        ({"actor": {"user_id": "a", "x": 1}}, "actor has no field 'x'"),
        ({"resource": {}}, "resource lacks resource_type, resource_id"),
        ({"outcome": "ok"}, "every_kind.outcome is not one of success, failure, partial_success"),
        ({"outcome": []}, "every_kind.outcome is not one of"),
        ({"severity": "fatal"}, "every_kind.severity is not one of info, warning, error, critical"),
        ({"correlation_id": b"x"}, "every_kind.correlation_id is bytes, not a string"),
        ({"details": [1]}, "every_kind.details is list, not a mapping"),
        ({"details": {"an_id": "x"}}, "every_kind.details has an_id, which the event has"),
    ],
)
def test_checked(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        EveryKind(**{"an_id": "t", "a_label": "m", **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"an_id": "t"}, r"EveryKind\(\) missing .* 'a_label'"),
        ({"an_id": "t", "a_label": "m", "seq": 1}, r"EveryKind\(\) got .* 'seq'"),
    ],
)
def test_a_missing_or_unknown_field_is_a_type_error(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        EveryKind(**fields)


def test_frozen() -> None:
    event = EveryKind(**_FULL)
    for name in ("an_id", "reason", "actor", "new"):
        with pytest.raises(AttributeError, match=f"cannot be changed: {name}"):
            setattr(event, name, "x")
        with pytest.raises(AttributeError, match=f"cannot be changed: {name}"):
            delattr(event, name)
    assert not hasattr(event, "__dict__")
    assert type(event) is EveryKind


@given(HIDDEN)
def test_cleaned(hidden: tuple[str, str]) -> None:
    secret, text = hidden
    event = EveryKind(
        an_id=text,
        a_label=text,
        a_text=text,
        labels=["x", text],
        changes={text: [text]},
        reason=text,
        details={"x": text},
    )
    assert secret not in orjson.dumps(event.own_details()).decode()
    assert secret not in repr(event)


@given(SECRETS)
def test_a_secret_does_not_fit_where_a_digest_is_asked_for(secret: tuple[str, str]) -> None:
    with pytest.raises(InvalidEvent, match="a_digest is not a digest"):
        EveryKind(an_id="t", a_label="m", a_digest=secret[1])


def test_mappings_become_objects_and_defaults_are_filled_in() -> None:
    event = EveryKind(
        an_id="t",
        a_label="m",
        actor={"user_id": "alice"},
        resource={"resource_type": "pool", "resource_id": "p"},
    )
    assert event.actor == Actor("alice")
    assert event.resource == Resource("pool", "p")
    assert (event.outcome, event.severity) == ("success", "info")


@pytest.mark.parametrize("kind", [dict, MappingProxyType])
def test_details_may_be_any_mapping(kind: Any) -> None:
    assert EveryKind(an_id="t", a_label="m", details=kind({"x": 1})).details == {"x": 1}


def test_an_event_of_ones_own_is_not_critical_unless_it_says_so() -> None:
    assert EveryKind.critical is False


def test_the_type_of_the_resource_comes_before_the_field_of_its_id() -> None:
    class Named(Event):
        names: ClassVar[tuple[str, str] | None] = ("pool", "pool_id")
        pool_id: Id

    resource = '"resource":{"resource_type":"pool","resource_id":"p1"},'
    assert Named(pool_id="p1").own_json() == ('"pool_id":"p1"', resource)


def test_the_json_of_a_class_that_has_no_object_yet_can_be_made() -> None:
    class Unmade(Event):
        number: Count

    assert Unmade.own_json_from(KEYLESS, number=7) == ('"number":7', "")


def test_dataclass_tools_take_an_event() -> None:
    event = EveryKind(**_FULL, reason="why", actor=Actor("alice"))
    assert dataclasses.is_dataclass(event)
    changed = dataclasses.replace(event, reason="other", an_id="t-2")
    assert (changed.reason, changed.an_id, changed.a_label) == ("other", "t-2", "m")
    assert {field.name for field in dataclasses.fields(event)} >= {*_FULL, "reason", "details"}
    as_dict = dataclasses.asdict(event)
    assert (as_dict["an_id"], as_dict["reason"]) == ("t-1", "why")
    assert as_dict["actor"]["user_id"] == "alice"
    with pytest.raises(InvalidEvent, match="an_id is empty"):
        dataclasses.replace(event, an_id="")


def test_events_are_equal_by_their_fields() -> None:
    event = EveryKind(**{**_FULL, "changes": None})
    same = EveryKind(**{**_FULL, "changes": None, "labels": ["a", "b"]})
    assert event == same
    assert hash(event) == hash(same)
    assert event != dataclasses.replace(event, a_count=4)
    assert event != "x"
    for again in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
        assert again == event


def test_a_repr_shows_the_fields_without_secrets() -> None:
    event = EveryKind(
        an_id="t", a_label="m", actor=Actor("a"), reason="bearer abc123", a_text="\ud800"
    )
    shown = repr(event)
    assert shown.startswith("EveryKind(an_id='t', a_label='m', a_text=<str>, actor=Actor(user_id=")
    assert "abc123" not in shown


def test_the_base_has_no_type() -> None:
    with pytest.raises(TypeError, match="Event has no type"):
        Event()


def test_a_class_with_a_strange_field_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Strange.count: 'int \| str' is not one type"):

        class Strange(Event):
            count: int | str

    with pytest.raises(TypeError, match=r"Shared.tags: a default that can change"):

        class Shared(Event):
            tags: Labels = []  # noqa: RUF012  (wrong on purpose)

    with pytest.raises(TypeError, match=r"Leaky.session_token: the name is taken"):

        class Leaky(Event):
            session_token: Text

    with pytest.raises(TypeError, match=r"Twice.reason: the name is taken"):

        class Twice(Event):
            reason: Text  # type: ignore[assignment]  # wrong on purpose


def test_a_field_may_count_what_would_be_a_secret_or_a_prompt() -> None:
    class Counting(Event):
        tokens: Count
        prompt: Count
        prompts: Number

    assert Counting(tokens=1, prompt=2, prompts=3).own_details() == {
        "tokens": 1,
        "prompt": 2,
        "prompts": 3,
    }


@pytest.mark.parametrize(
    ("name", "kind"), [("tokens", Text), ("prompt", Text), ("token", Count), ("token", Text)]
)
def test_a_field_that_would_be_a_secret_or_a_prompt_is_refused(name: str, kind: Any) -> None:
    with pytest.raises(TypeError, match=rf"Leaky\.{name}: the name is taken"):
        type(Event)("Leaky", (Event,), {"__annotations__": {name: kind}, "__module__": __name__})


def test_an_event_can_be_extended() -> None:
    parent = events.TaskCanceled(task_id="t")  # its code exists before the child's

    class TaskRetried(events.TaskCanceled):
        attempt: Count

    event = TaskRetried(task_id="t", attempt=2, worker_id="w")
    assert event.event_type == "task_retried"
    assert event.own_details() == {"task_id": "t", "worker_id": "w", "attempt": 2}
    assert type(event) is TaskRetried
    assert type(events.TaskCanceled(task_id="t")) is type(parent)
    assert event != parent


def test_a_field_may_have_any_name_without_underscore_in_front() -> None:
    class Named(Event):
        digest: Digest
        type: Label
        len: Count
        new: Id
        cls: Text
        self: Text
        v: Labels

    fields = {"digest": "0123456789abcdef", "type": "t", "len": 2, "new": "n"}
    fields |= {"cls": "c", "self": "s", "v": ["x"]}
    assert Named(**fields).own_details() == fields  # type: ignore[arg-type]  # of several types
    with pytest.raises(TypeError, match=r"Hidden._v: a field's name starts with a letter"):

        class Hidden(Event):
            _v: Label


@pytest.mark.parametrize("name", ["log.opened", "Upper", "", "a'b"])
def test_a_class_with_an_event_type_that_is_not_allowed_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="cannot be the event type of a caller"):

        class Odd(Event):
            event_type: ClassVar[str] = name


def test_the_first_events_of_a_class_may_be_made_by_several_threads() -> None:
    class Raced(Event):
        number: Count

    ready, made = threading.Barrier(8), []

    def make(number: int) -> None:
        ready.wait()
        made.append(Raced(number=number).own_details()["number"])

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(8))


def test_frozen_objects_are_as_dataclasses_to_the_standard_library() -> None:
    actor = Actor("a")
    assert dataclasses.is_dataclass(actor)
    fields = {field.name: field for field in dataclasses.fields(actor)}
    assert next(iter(fields)) == "user_id"
    assert fields["user_id"].default is dataclasses.MISSING
    assert fields["ip"].default is None
    assert all(field.kw_only for field in fields.values())


def test_frozen_objects_show_their_signature() -> None:
    of_actor = inspect.signature(Actor).parameters
    assert of_actor["user_id"].default is inspect.Parameter.empty
    assert of_actor["ip"].default is None
    assert of_actor["ip"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    of_event = inspect.signature(events.AuthSuccess).parameters
    assert {each.kind for each in of_event.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_frozen_objects_leave_a_comparison_with_anything_else_to_the_other() -> None:
    assert Actor("a") == mock.ANY
    assert Actor("a").__eq__("a") is NotImplemented
