"""What an event is: typed fields, checked when it is made, cleaned when it becomes a record.  Pure.

    class PoolDrained(Event):
        names: ClassVar = ("pool", "pool_id")  # its resource, when none is given
        pool_id: Label
        replicas: Count | None = None

An event behaves as a frozen, slotted, keyword-only dataclass, and dataclasses.fields, asdict and
replace take it.  It is not made by that decorator, for two reasons.  Thirty-five of them cost 30 to
45 ms at import, so here the code of a class is generated when its first event is made (see
event_code).  And a frozen dataclass sets each field through object.__setattr__, 1.5 us an event.

Invariants (tests of the same name in tests/auditlog/events/test_base.py):
  checked    a field of the wrong kind, an unknown and a missing one are refused by name
  frozen     no field of an event can be set or deleted
  cleaned    no field gets around redaction
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    NamedTuple,
    NoReturn,
    Self,
    dataclass_transform,
)

import orjson

from auditlog.errors import InvalidEvent
from auditlog.events.actor import (
    Actor,
    Outcome,
    Resource,
    Severity,
)
from auditlog.events.field_kinds import KINDS, Kind
from auditlog.redaction.cleaning import clean
from auditlog.redaction.secret_keys import is_secret_key

__all__ = [
    "COMMON_FIELDS",
    "EVENT_TYPE",
    "LIBRARYS_OWN",
    "Event",
    "EventField",
    "EventMeta",
    "check_mapping",
    "check_string",
    "refuse_choice",
]

COMMON_FIELDS: Final = (
    "actor",
    "resource",
    "outcome",
    "reason",
    "severity",
    "correlation_id",
    "details",
)
"""The fields every event has, in the order of the record."""

EVENT_TYPE: Final = re.compile(r"[a-z][a-z0-9_.]{0,63}")
"""What the name of an event type looks like."""

LIBRARYS_OWN: Final = "log."
"""How the types start that only the library writes."""

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class EventField(NamedTuple):
    """One field of an event's own: recorded below ``details`` under the same name."""

    name: str
    kind_name: str
    required: bool

    @property
    def kind(self) -> Kind:
        return KINDS[self.kind_name]


class _LazyDataclassFields:
    """What makes dataclasses.fields, asdict and replace take an event; built when one asks."""

    def __get__(self, instance: object, owner: type[Event]) -> dict[str, Any]:
        import dataclasses  # noqa: PLC0415  (only who asks for it pays)

        specs: list[Any] = [(f.name, f.kind_name) for f in owner.own_fields if f.required]
        optional = [f.name for f in owner.own_fields if not f.required]
        specs += [(name, Any, None) for name in [*optional, *COMMON_FIELDS]]
        made = dataclasses.make_dataclass(owner.__name__, specs, kw_only=True)
        return {field.name: field for field in dataclasses.fields(made)}


@dataclass_transform(kw_only_default=True, frozen_default=True)
class EventMeta(type):
    """Turns the annotations of an event class into slots before the class exists."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> EventMeta:
        own = []
        for field, annotation in namespace.get("__annotations__", {}).items():
            if str(annotation).startswith("ClassVar"):
                continue
            own.append(_field(name, field, str(annotation), required=field not in namespace))
            namespace.pop(field, None)  # a slot and a class attribute exclude each other
        namespace["__slots__"] = tuple(field.name for field in own)
        if bases:
            inherited: tuple[EventField, ...] = bases[0].own_fields  # type: ignore[attr-defined]  # an Event
            namespace["own_fields"] = (*inherited, *own)
            kind = namespace.setdefault("event_type", _CAMEL.sub("_", name).lower())
            if EVENT_TYPE.fullmatch(kind) is None or kind.startswith(LIBRARYS_OWN):
                raise TypeError(f"{name}: {kind!r} cannot be the event type of a caller")
            namespace["__new__"] = _generate_and_make
        return super().__new__(mcs, name, bases, namespace)


def _field(class_name: str, name: str, annotation: str, *, required: bool) -> EventField:
    kind = annotation.removesuffix(" | None").rpartition(".")[2]
    if class_name != "Event":
        if kind not in KINDS:
            raise TypeError(f"{class_name}.{name}: {annotation!r} is none of {', '.join(KINDS)}")
        if name.startswith("_"):  # the generated code has its own names there
            raise TypeError(f"{class_name}.{name}: a field's name starts with a letter")
        if name in COMMON_FIELDS or is_secret_key(name, numeric=kind in ("Count", "Number")):
            raise TypeError(f"{class_name}.{name}: the name is taken, or says that it is a secret")
    return EventField(name, kind, required)


class Event(metaclass=EventMeta):
    """Something that happened, as one type of event.

    ``actor`` and ``resource`` may be given as mappings.  ``outcome`` and ``severity`` have a
    default that depends on the type.  ``details`` holds what has no field of its own; a name that
    is a field is refused there.

    Raises InvalidEvent naming the field; TypeError for a missing or unknown one.
    """

    event_type: ClassVar[str] = ""
    critical: ClassVar[bool] = False
    """Whether hybrid mode makes it durable at once."""
    default_outcome: ClassVar[Outcome] = "success"
    default_severity: ClassVar[Severity] = "info"
    names: ClassVar[tuple[str, str] | None] = None
    """The type of the resource it is about, and which field holds that resource's id."""
    own_fields: ClassVar[tuple[EventField, ...]] = ()

    actor: Actor | Mapping[str, Any] | None = None
    resource: Resource | Mapping[str, Any] | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    severity: Severity | None = None
    correlation_id: str | None = None
    details: Mapping[str, Any] | None = None

    if not TYPE_CHECKING:  # the constructor's real signature is what dataclass_transform makes
        __dataclass_fields__ = _LazyDataclassFields()

        def __new__(cls, **_fields: object) -> Self:
            raise TypeError("Event has no type; use one of auditlog.events, or a subclass")

        def __setattr__(self, name: str, value: object) -> NoReturn:
            raise AttributeError(f"an event cannot be changed: {name}")

        def __delattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"an event cannot be changed: {name}")

    def own_json(self) -> tuple[str, str]:
        """What the record gets from the event's own fields, cleaned: two pieces of JSON.

        The members of ``details`` in declared order, None left out; and the member ``resource``
        with a comma behind it, of an event that names one and was given none.
        """
        raise NotImplementedError  # generated for each class

    def own_details(self) -> dict[str, Any]:
        """The event's own fields as they stand in the record, in declared order."""
        details: dict[str, Any] = orjson.loads(f"{{{self.own_json()[0]}}}")
        return details

    def _values(self) -> dict[str, Any]:
        names = [*(field.name for field in self.own_fields), *COMMON_FIELDS]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), tuple(self._values().items())))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self._values().items())
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._values())


def check_string(where: str, value: object) -> str:
    """A string.  Raises InvalidEvent."""
    if not isinstance(value, str):
        raise InvalidEvent(f"{where} is {type(value).__name__}, not a string")
    return str.__str__(value)


def check_mapping(where: str, value: object) -> Mapping[str, Any]:
    """A mapping.  Raises InvalidEvent."""
    if type(value) is dict or isinstance(value, Mapping):  # the first is ten times as fast
        return value
    raise InvalidEvent(f"{where} is {type(value).__name__}, not a mapping")


def refuse_choice(where: str, known: tuple[str, ...]) -> NoReturn:
    """Refuse what is none of the known words; it may be a secret, so it is not shown."""
    listed = ", ".join(known)
    raise InvalidEvent(f"{where} is not one of {listed}", hint="Write it exactly like that.")


def _restore(cls: type[Event], values: dict[str, Any]) -> Event:
    return cls(**values)


def _shown(value: object) -> str:
    if isinstance(value, (Actor, Resource)):
        return (
            "{" + ", ".join(f"{k}={_shown(getattr(value, k))}" for k in value.__match_args__) + "}"
        )
    try:
        return repr(clean(value, ""))
    except InvalidEvent:
        return f"<{type(value).__name__}>"


def _generate_and_make(cls: type[Event], /, **fields: object) -> Event:
    """The ``__new__`` of a class that has not made an event yet."""
    from auditlog.events.codegen import generate  # noqa: PLC0415  (it needs the class Event)

    generate(cls)
    return cls.__new__(cls, **fields)
