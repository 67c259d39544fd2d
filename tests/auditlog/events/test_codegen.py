from __future__ import annotations

import inspect
import traceback
from typing import Any, ClassVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import InvalidEvent
from auditlog.events.actor import Resource
from auditlog.events.base import Event
from auditlog.events.field_kinds import Changes, Count, Id, Label, Labels, Number, Text
from auditlog.redaction.redactor import KEYLESS
from tests.support.secrets import HIDDEN, STRANGE_TEXTS

_TEXTS = st.one_of(STRANGE_TEXTS, HIDDEN.map(lambda hidden: hidden[1]), st.just("plain"))
_NAMED = _TEXTS.filter(bool)


class OptionalFirst(Event):
    """Its first member may be absent, and the one that follows never is."""

    note: Text | None = None
    count: Count
    labels: Labels | None = None


class Defaulted(Event):
    """A field that is left out has a value of its own."""

    count: Count = 3
    note: Text | None = None


class Quoted(Event):
    """The type of its resource needs escapes."""

    names: ClassVar[tuple[str, str] | None] = ('"a" {b} \\', "an_id")
    an_id: Id
    label: Label | None = None
    number: Number | None = None
    changes: Changes | None = None


def _own(event: Event) -> dict[str, Any]:
    names = [field.name for field in event.own_fields]
    return {name: getattr(event, name) for name in names if getattr(event, name) is not None}


@given(st.none() | _TEXTS, st.integers(0, 2**64 - 1), st.none() | st.lists(_TEXTS, max_size=2))
def test_as_dumped(note: str | None, count: int, labels: list[str] | None) -> None:
    event = OptionalFirst(note=note, count=count, labels=labels)
    members, resource = event.own_json()
    assert list(orjson.loads(f"{{{members}}}").items()) == list(
        KEYLESS.clean(_own(event), "x").items()
    )
    assert resource == ""
    assert OptionalFirst.own_json_from(KEYLESS, note=note, count=count, labels=labels) == (
        event.own_json()
    )


@given(
    _NAMED,
    st.none() | _NAMED,
    st.none() | st.floats(0, 1e18),
    st.none() | st.dictionaries(_TEXTS, _TEXTS, max_size=2),
)
def test_a_resource_follows_from_the_field_that_names_it(
    an_id: str, label: str | None, number: float | None, changes: dict[str, str] | None
) -> None:
    event = Quoted(an_id=an_id, label=label, number=number, changes=changes)
    members, resource = event.own_json()
    assert (members, resource) == Quoted.own_json_from(
        KEYLESS, an_id=an_id, label=label, number=number, changes=changes
    )
    own = orjson.loads(f"{{{members}}}")
    assert own == KEYLESS.clean(_own(event), "x")
    assert orjson.loads(f"{{{resource.removesuffix(',')}}}") == {
        "resource": {"resource_type": '"a" {b} \\', "resource_id": own["an_id"]}
    }


@pytest.mark.parametrize(
    "given", [{"count": -1}, {"count": 1, "note": []}, {"count": 1, "labels": "x"}, {"count": None}]
)
def test_fields_without_an_object_are_refused_as_with_one(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent) as typed:
        OptionalFirst(**given)
    with pytest.raises(InvalidEvent) as by_name:
        OptionalFirst.own_json_from(KEYLESS, **given)
    assert str(by_name.value) == str(typed.value)


def test_a_field_that_is_left_out_has_its_default() -> None:
    assert Defaulted().own_details() == {"count": 3}
    assert Defaulted.own_json_from(KEYLESS) == Defaulted().own_json() == ('"count":3', "")
    assert Defaulted(count=0, note="a").own_details() == {"count": 0, "note": "a"}


def test_the_fields_of_an_event_have_to_be_named() -> None:
    class Keyed(Event):
        note: Text | None = None
        count: Count

    arguments: Any = ("a note",)
    with pytest.raises(TypeError, match="positional"):
        Keyed(*arguments, count=1)


def test_a_field_may_be_called_like_what_the_code_uses() -> None:
    class Named(Event):
        known: Label | None = None
        escape: Text | None = None
        len: Text | None = None
        new: Id | None = None

    event = Named(known="a", escape="b c", len="d e", new="f", resource=Resource("g", "h"))
    assert event.own_details() == {"known": "a", "escape": "b c", "len": "d e", "new": "f"}


def test_shown() -> None:
    """shown: a traceback through generated code shows its source"""
    with pytest.raises(InvalidEvent) as raised:
        OptionalFirst(count=-1)
    text = "".join(traceback.format_exception(raised.value))
    assert "if (_type(count) is not int" in text
    assert "<generated for " in text
    assert "OptionalFirst>" in text


def test_the_source_of_generated_code_can_be_asked_for() -> None:
    """By a debugger, which shows the lines around one of them."""

    class Debugged(Event):
        count: Count

    Debugged(count=1)
    first, *_, last = inspect.getsource(Debugged.__new__).splitlines()
    assert first.startswith("def __new__(_cls, /, *, count, ")
    assert last == "    return _self"
