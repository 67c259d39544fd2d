"""What an event is: typed fields, checked when it is made, cleaned when it becomes a record.  Pure.

    class PoolDrained(Event):
        names: ClassVar = ("pool", "pool_id")  # its resource, when none is given
        pool_id: Label
        replicas: Count | None = None

An event behaves as a frozen, slotted, keyword-only dataclass, and dataclasses.fields, asdict and
replace take it.  It is not made by that decorator, for two reasons.  Thirty-five of them cost 30 to
45 ms at import, so here the code of a class is generated when its first event is made.  And a
frozen dataclass sets each field through object.__setattr__, 1.5 us an event; here __new__ fills an
unfrozen twin of the same layout by plain assignments and then turns it into the frozen class.

Invariants (tests of the same name in tests/auditlog/test_event.py):
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

from auditlog.actor import (
    OUTCOMES,
    SEVERITIES,
    Actor,
    Outcome,
    Resource,
    Severity,
    as_actor,
    as_resource,
)
from auditlog.errors import InvalidEvent
from auditlog.field_kinds import KINDS, NAMES, Kind
from auditlog.redaction import clean
from auditlog.secret_keys import is_secret_key

__all__ = [
    "COMMON_FIELDS",
    "EVENT_TYPE",
    "LIBRARYS_OWN",
    "Event",
    "EventField",
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
_VALUE: Final = re.compile(r"\b_v\b")


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
class _EventType(type):
    """Turns the annotations of an event class into slots before the class exists."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _EventType:
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


class Event(metaclass=_EventType):
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

    def own_details(self) -> dict[str, Any]:
        """The event's own fields, cleaned, in declared order; None is left out."""
        raise NotImplementedError  # generated for each class

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


def _check_details(cls: type[Event], value: object) -> Mapping[str, Any]:
    details = check_mapping(f"{cls.event_type}.details", value)
    if taken := [field.name for field in cls.own_fields if field.name in details]:
        raise InvalidEvent(
            f"{cls.event_type}.details has {', '.join(taken)}, which the event has as a field",
            hint="Give it to the constructor by that name.",
        )
    return details


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
    _generate(cls)
    return cls.__new__(cls, **fields)


def _generate(cls: type[Event]) -> None:
    """Give the class its ``__new__`` and ``own_details``."""
    twin = type.__new__(
        _EventType,
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
    for field in cls.own_fields:
        names[f"_check_{field.name}"] = field.kind.check
        names[f"_clean_{field.name}"] = field.kind.clean
    exec(_constructor(cls) + _details(cls), names)  # noqa: S102  (of class and field names only)
    names["__new__"].__qualname__ = cls.__qualname__  # what a TypeError about arguments names
    cls.own_details = names["own_details"]  # type: ignore[method-assign]  # once per class
    cls.__new__ = staticmethod(names["__new__"])  # type: ignore[method-assign]  # last: now it is ready


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
        f" if reason is not None: reason = _check_string('{kind}.reason', reason)",
        " _self.reason = reason",
        f" if severity is None: severity = {cls.default_severity!r}",
        f" elif severity not in _severities: _refuse_choice('{kind}.severity', _severities)",
        " _self.severity = severity",
        " if correlation_id is not None:",
        f"  correlation_id = _check_string('{kind}.correlation_id', correlation_id)",
        " _self.correlation_id = correlation_id",
        " if details is not None: details = _check_details(_this, details)",
        " _self.details = details",
        " _self.__class__ = _this",
        " return _self\n",
    ]
    return "\n".join(lines)


def _details(cls: type[Event]) -> str:
    lines = ["def own_details(_self):", " _d = {}"]
    for field in cls.own_fields:
        lines.append(f" _v = _self.{field.name}")
        indent = " "
        if not field.required:
            lines.append(" if _v is not None:")
            indent = "  "
        if field.kind.clean is not None:
            condition = "" if field.kind.dirty is None else f"if {field.kind.dirty}: "
            where = f"{cls.event_type}.{field.name}"
            lines.append(f"{indent}{condition}_v = _clean_{field.name}(_v, {where!r})")
        lines.append(f"{indent}_d[{field.name!r}] = _v")
    return "\n".join([*lines, " return _d\n"])
