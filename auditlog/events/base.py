"""Define the event class: typed fields, validated on creation, cleaned for recording.  Pure.

    class PoolDrained(Event):
        names: ClassVar = ("pool", "pool_id")  # its resource, when none is given
        pool_id: Label
        replicas: Count | None = None

Invariants (tests of the same name in tests/auditlog/events/test_base.py):
  cleaned    no field gets around redaction
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self, cast, dataclass_transform

import orjson

from auditlog.errors import InvalidEvent, InvalidEventType
from auditlog.events.actor import (
    OUTCOMES,
    SEVERITIES,
    Actor,
    Outcome,
    Resource,
    Severity,
    as_actor,
    as_resource,
)
from auditlog.events.annotations import FieldSpec
from auditlog.events.codegen import checked, compiled, constructor, members
from auditlog.events.field_kinds import KINDS, EcsName, FieldKind, check_text, choice
from auditlog.events.frozen_class import Frozen, FrozenMeta
from auditlog.redaction.key_meaning import meaning
from auditlog.redaction.redactor import KEYLESS, Redactor, escape

__all__ = [
    "AGENT_SERVICE",
    "ARCHIVE_SERVICE",
    "ARCHIVE_TYPES",
    "COMMON_FIELDS",
    "EVENT_TYPE",
    "OUTCOME",
    "RESERVED_SERVICES",
    "RESERVED_TYPES",
    "SEVERITY",
    "Event",
    "check_mapping",
]

EVENT_TYPE: Final = re.compile(r"[a-z][a-z0-9_.]{0,63}")
"""Pattern of the name of an event type."""

_RECORDING: Final = ("evidence", "retention", "witness")

AGENT_SERVICE: Final = "auditlog-agent"
"""The service of the log in which the agent records that it is alive."""

ARCHIVE_SERVICE: Final = "auditlog-archive"
"""The service of the log in which the agent records what it archived."""

ARCHIVE_TYPES: Final = frozenset({"log.archived", "log.archive_manifest"})
"""The types that only the log of ARCHIVE_SERVICE has."""

RESERVED_SERVICES: Final = frozenset({*_RECORDING, AGENT_SERVICE, ARCHIVE_SERVICE})
"""The services of the library itself, whose logs contain tombstones, holds and checkpoints."""

RESERVED_TYPES: Final = ("log.", *(f"{service}." for service in _RECORDING))
"""The beginnings of the event types that only the library writes."""

_NUMERIC: Final = ("Count", "Number", "int", "float")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def check_mapping(where: str, value: object) -> Mapping[str, Any]:
    """Return the mapping.  Raises InvalidEvent."""
    if type(value) is dict or isinstance(value, Mapping):  # the first is ten times as fast
        return value
    raise InvalidEvent(f"{where} is {type(value).__name__}, not a mapping")


# The kinds of the fields that every event has.
OUTCOME: Final = choice("Outcome", OUTCOMES)
SEVERITY: Final = choice("Severity", SEVERITIES)
_ACTOR: Final = FieldKind(
    "Actor",
    lambda _where, value: as_actor(value),
    {"$ref": "#/$defs/actor"},
    wrong="_type(_v) is not _Actor",
    indexed="object",
)
_RESOURCE: Final = FieldKind(
    "Resource",
    lambda _where, value: as_resource(value),
    {"$ref": "#/$defs/resource"},
    wrong="_type(_v) is not _Resource",
    indexed="object",
)
_STRING: Final = FieldKind("String", check_text, KINDS["Text"].schema, wrong="_type(_v) is not str")
_DETAILS: Final = FieldKind("Details", check_mapping, {"type": "object"}, indexed="object")


@dataclass_transform(kw_only_default=True, frozen_default=True)
class EventMeta(FrozenMeta):
    """Checks what is particular to a class of events, and derives its type from its name."""

    def __init__(self, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        if Frozen not in bases:
            _prepare(cast("type[Event]", self))


class Event(Frozen, metaclass=EventMeta):
    """Something that happened, as one type of event.

    ``actor`` and ``resource`` may be given as mappings, the actor by its id alone.  ``outcome`` and
    ``severity`` have a default that depends on the type.  ``details`` holds what has no field of
    its own; a name that is a field is refused there.

    Raises InvalidEvent naming the field; TypeError for a missing or unknown one.
    """

    keyword_only: ClassVar[bool] = True
    event_type: ClassVar[str] = ""
    critical: ClassVar[bool] = False
    """Whether ``flush="hybrid"`` waits until it is durable."""
    default_outcome: ClassVar[Outcome] = "success"
    default_severity: ClassVar[Severity] = "info"
    names: ClassVar[tuple[str, str] | None] = None
    """The type of the resource it is about, and which field holds that resource's id."""
    own_fields: ClassVar[tuple[FieldSpec, ...]] = ()
    """The fields of the type itself: recorded below ``details`` under the same names."""
    own_names: ClassVar[frozenset[str]] = frozenset()
    required_names: ClassVar[frozenset[str]] = frozenset()
    loose_fields: ClassVar[tuple[str, ...]] = ()
    """Own fields that hold any value, and may need one replaced."""

    actor: Annotated[Actor | Mapping[str, Any] | str, _ACTOR] | None = None
    resource: Annotated[Resource | Mapping[str, Any], _RESOURCE] | None = None
    outcome: Annotated[Outcome, OUTCOME, EcsName("event.outcome")] | None = None
    reason: Annotated[str, _STRING, EcsName("event.reason")] | None = None
    severity: Annotated[Severity, SEVERITY, EcsName("log.level")] | None = None
    correlation_id: Annotated[str, _STRING, EcsName("trace.id")] | None = None
    details: Annotated[Mapping[str, Any], _DETAILS] | None = None

    if not TYPE_CHECKING:  # the constructor's real signature is what dataclass_transform makes

        def __new__(cls, **_fields: object) -> Self:
            raise InvalidEventType("Event has no type; use one of auditlog.events, or a subclass")

    @classmethod
    def _generate(cls) -> None:
        names: dict[str, object] = {"_Actor": Actor, "_Resource": Resource, "_keyless": KEYLESS}
        statements, pieces = members(cls.own_fields, cls.event_type)
        parameters, _ = checked(cls.own_fields, cls.event_type, names)
        parameters = ["_r", "/", *(["*"] if parameters else []), *parameters]
        checked_statements, _ = members(cls.own_fields, cls.event_type, names)
        resource = "''"
        if cls.names is not None:
            names["_resource_type"] = escape(cls.names[0])
            inner = f'"resource_type":"{{_resource_type}}","resource_id":"{{{cls.names[1]}}}"'
            resource = f"""f'"resource":{{{{{inner}}}}},'"""
        source = constructor(
            cls.declared,
            cls.event_type,
            names,
            keyword_only=cls.keyword_only,
            fill={"outcome": cls.default_outcome, "severity": cls.default_severity},
        )
        source += "\n".join(
            [
                "def own_json(_self, _r=_keyless):",
                *(f"    {field.name} = _self.{field.name}" for field in cls.own_fields),
                *(f"    {line}" for line in statements),
                f"    return {pieces}, {resource}",
                # The same of an event by name, without an object in between.
                f"def own_json_from({', '.join(parameters)}):",
                *(f"    {line}" for line in checked_statements),
                f"    return {pieces}, {resource}\n",
            ]
        )
        names["_check_details"] = partial(_check_details, cls)
        made = compiled(cls, source, names)
        made["__new__"].__qualname__ = cls.__qualname__  # what a TypeError about arguments names
        cls.own_json = made["own_json"]  # type: ignore[method-assign]  # once per class
        cls.own_json_from = staticmethod(made["own_json_from"])  # type: ignore[method-assign]  # as before
        cls.__new__ = staticmethod(made["__new__"])  # type: ignore[method-assign]  # last: now it is ready

    def own_json(self, redactor: Redactor = KEYLESS) -> tuple[str, str]:
        """Return the event's own fields as two cleaned pieces of JSON.

        The members of ``details`` in declared order, None left out; and the member ``resource``
        with a comma behind it, of an event that names one and was given none.
        """
        raise NotImplementedError  # generated for each class

    @classmethod
    def own_json_from(cls, redactor: Redactor, /, **own: Any) -> tuple[str, str]:
        """Return the own_json of an event with these own fields.

        Raises InvalidEvent naming the field; TypeError for a missing or unknown one.
        """
        cls._generate()
        return cls.own_json_from(redactor, **own)

    def own_details(self) -> dict[str, Any]:
        """Return the event's own fields as they stand in the record, in declared order."""
        details: dict[str, Any] = orjson.loads(f"{{{self.own_json()[0]}}}")
        return details


COMMON_FIELDS: Final = tuple(field.name for field in Event.declared)
"""The fields every event has, in the order of the record."""


def _prepare(cls: type[Event]) -> None:
    """Give a new class of events its type and its own fields.  Raises InvalidEventType."""
    name = cls.__name__
    if "event_type" not in cls.__dict__:
        cls.event_type = _CAMEL.sub("_", name).lower()
    if EVENT_TYPE.fullmatch(cls.event_type) is None or cls.event_type.startswith(RESERVED_TYPES):
        raise InvalidEventType(f"{name}: {cls.event_type!r} cannot be the event type of a caller")
    for field in cls.declared:
        taken = field.name in COMMON_FIELDS and field not in Event.declared
        if taken or _names_secret(field):
            raise InvalidEventType(
                f"{name}.{field.name}: the name is taken, or says that it is a secret"
            )
    cls.own_fields = tuple(field for field in cls.declared if field.name not in COMMON_FIELDS)
    cls.own_names = frozenset(field.name for field in cls.own_fields)
    cls.required_names = frozenset(field.name for field in cls.own_fields if field.required)
    cls.loose_fields = tuple(field.name for field in cls.own_fields if field.kind.loose)
    cls.declared = (*cls.own_fields, *Event.declared)


def _names_secret(field: FieldSpec) -> bool:
    found = meaning(field.name)
    if found is None or not found.sure:
        return False
    counts = found.plural or found.kind == "prompt"
    return not (counts and field.kind.name in _NUMERIC)


def _check_details(cls: type[Event], where: str, value: object) -> Mapping[str, Any]:
    details = check_mapping(where, value)
    if taken := [field.name for field in cls.own_fields if field.name in details]:
        raise InvalidEvent(
            f"{where} has {', '.join(taken)}, which the event has as a field",
            hint="Give it to the constructor by that name.",
        )
    return details
