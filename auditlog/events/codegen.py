"""The code of an event class, written when its first event is made.  Pure.

Two functions: ``__new__``, which checks every field by an expression that needs no call in the
common case and fills an unfrozen twin of the same layout by plain assignments, which it then turns
into the frozen class; and ``own_json``, which writes the fields straight into JSON, since a text
that is plainly clean needs no escape (see secret_text).

Invariants (tests of the same name in tests/auditlog/events/test_codegen.py):
  as_dumped    own_json is what cleaning the fields and serialising them gives
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from auditlog.errors import InvalidEvent
from auditlog.events.actor import OUTCOMES, SEVERITIES, Actor, Resource, as_actor, as_resource
from auditlog.events.base import (
    COMMON_FIELDS,
    Event,
    EventField,
    EventMeta,
    check_mapping,
    check_string,
    refuse_choice,
)
from auditlog.events.field_kinds import NAMES
from auditlog.redaction.cleaning import escape

__all__ = ["generate"]

_VALUE: Final = re.compile(r"\b_v\b")


def generate(cls: type[Event]) -> None:
    """Give the class its ``__new__`` and ``own_json``."""
    twin = type.__new__(
        EventMeta,
        cls.__name__,
        cls.__bases__,
        {
            "__slots__": cls.__dict__["__slots__"],
            # both, or the interpreter does not take its short cut for slots
            "__setattr__": object.__setattr__,
            "__delattr__": object.__delattr__,
        },
    )
    names: dict[str, Any] = {
        **NAMES,
        "_twin": twin,
        "_this": cls,
        "_new": object.__new__,
        "_Actor": Actor,
        "_Resource": Resource,
        "_as_actor": as_actor,
        "_as_resource": as_resource,
        "_outcomes": OUTCOMES,
        "_severities": SEVERITIES,
        "_check_string": check_string,
        "_refuse_choice": refuse_choice,
        "_check_details": _check_details,
    }
    if cls.names is not None:
        names["_resource_type"] = escape(cls.names[0])
    for field in cls.own_fields:
        names[f"_check_{field.name}"] = field.kind.check
    exec(_constructor(cls) + _own_json(cls), names)  # noqa: S102  (of class and field names only)
    names["__new__"].__qualname__ = cls.__qualname__  # what a TypeError about arguments names
    cls.own_json = names["own_json"]  # type: ignore[method-assign]  # once per class
    cls.__new__ = staticmethod(names["__new__"])  # type: ignore[method-assign]  # last: now it is ready


def _check_details(cls: type[Event], value: object) -> Mapping[str, Any]:
    details = check_mapping(f"{cls.event_type}.details", value)
    if taken := [field.name for field in cls.own_fields if field.name in details]:
        raise InvalidEvent(
            f"{cls.event_type}.details has {', '.join(taken)}, which the event has as a field",
            hint="Give it to the constructor by that name.",
        )
    return details


def _constructor(cls: type[Event]) -> str:
    required = [field.name for field in cls.own_fields if field.required]
    optional = [f"{field.name}=None" for field in cls.own_fields if not field.required]
    optional += [f"{name}=None" for name in COMMON_FIELDS]
    lines = [
        f"def __new__(_cls, /, *, {', '.join([*required, *optional])}):",
        " _self = _new(_twin)",
    ]
    for field in cls.own_fields:
        where = f"{cls.event_type}.{field.name}"
        conditions = [] if field.required else [f"{field.name} is not None"]
        if field.kind.wrong is not None:
            conditions.append(f"({_VALUE.sub(field.name, field.kind.wrong)})")
        condition = f"if {' and '.join(conditions)}: " if conditions else ""
        lines += [
            f" {condition}{field.name} = _check_{field.name}({where!r}, {field.name})",
            f" _self.{field.name} = {field.name}",
        ]
    kind = cls.event_type
    lines += [
        " if actor is not None and _type(actor) is not _Actor: actor = _as_actor(actor)",
        " _self.actor = actor",
        " if resource is not None and _type(resource) is not _Resource:",
        "  resource = _as_resource(resource)",
        " _self.resource = resource",
        f" if outcome is None: outcome = {cls.default_outcome!r}",
        f" elif outcome not in _outcomes: _refuse_choice('{kind}.outcome', _outcomes)",
        " _self.outcome = outcome",
        " if reason is not None and _type(reason) is not str:",
        f"  reason = _check_string('{kind}.reason', reason)",
        " _self.reason = reason",
        f" if severity is None: severity = {cls.default_severity!r}",
        f" elif severity not in _severities: _refuse_choice('{kind}.severity', _severities)",
        " _self.severity = severity",
        " if correlation_id is not None and _type(correlation_id) is not str:",
        f"  correlation_id = _check_string('{kind}.correlation_id', correlation_id)",
        " _self.correlation_id = correlation_id",
        " if details is not None: details = _check_details(_this, details)",
        " _self.details = details",
        " _self.__class__ = _this",
        " return _self\n",
    ]
    return "\n".join(lines)


def _own_json(cls: type[Event]) -> str:
    lines = ["def own_json(_self):"]
    members = []
    for number, field in enumerate(cls.own_fields):
        name = field.name
        value = f'"{{{name}}}"' if field.kind.quoted else f"{{{name}}}"
        member = f'{"," if number else ""}"{name}":{value}'
        lines.append(f" {name} = _self.{name}")
        to_json = _to_json(cls, field)
        if field.required:
            lines += [f" {line}" for line in to_json]
            members.append(member)
        else:
            # With its comma, which is cut off again where no field is sure to stand before it.
            made = f"_j_{name} = f'{member}'" if number else f"_j_{name} = f',{member}'"
            lines += [f" if {name} is None: _j_{name} = ''", " else:"]
            lines += [f"  {line}" for line in (*to_json, made)]
            members.append(f"{{_j_{name}}}")
    resource = "''"
    if cls.names is not None:
        inner = f'"resource_type":"{{_resource_type}}","resource_id":"{{{cls.names[1]}}}"'
        resource = f"""f'"resource":{{{{{inner}}}}},'"""
    cut = "" if cls.own_fields and cls.own_fields[0].required else "[1:]"
    lines.append(f" return f'{''.join(members)}'{cut}, {resource}\n")
    return "\n".join(lines)


def _to_json(cls: type[Event], field: EventField) -> tuple[str, ...]:
    """The statement that turns the field's value into its JSON, where one is needed."""
    if field.kind.json is None:
        return ()
    where = repr(f"{cls.event_type}.{field.name}")
    return (_VALUE.sub(field.name, field.kind.json).replace("_where", where),)
