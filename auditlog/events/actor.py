"""Who acted, and on what.  Pure.

Both are given as objects or as plain mappings of the same fields, and checked alike.  Their JSON is
made once and kept, as one actor usually causes many events.

Invariants (tests of the same name in tests/auditlog/events/test_actor.py):
  alike        a mapping gives the same bytes, or the same error, as the object
  strict       an unknown key or a value of the wrong kind is refused with its name
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, Literal, TypeVar, get_args

import orjson

from auditlog.errors import InvalidEvent
from auditlog.redaction.cleaning import clean_text

__all__ = [
    "AUTH_METHODS",
    "OUTCOMES",
    "SEVERITIES",
    "Actor",
    "AuthMethod",
    "Outcome",
    "Resource",
    "Severity",
    "as_actor",
    "as_resource",
]

AuthMethod = Literal["bearer_token", "api_key", "mtls", "internal"]
Outcome = Literal["success", "failure", "partial_success"]
Severity = Literal["info", "warning", "error", "critical"]

AUTH_METHODS: Final[tuple[str, ...]] = get_args(AuthMethod)
OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
SEVERITIES: Final[tuple[str, ...]] = get_args(Severity)


class _WithJson:
    """Keeps the JSON of a frozen object.  No dataclass field: it is no part of the value."""

    __slots__ = ("json",)
    json: str
    """The object as it stands in a record: cleaned, absent fields left out."""

    def _keep_json(self, where: str, **fields: str | None) -> None:
        members = {
            name: clean_text(text, f"{where}.{name}")
            for name, text in fields.items()
            if text is not None
        }
        object.__setattr__(self, "json", orjson.dumps(members).decode())

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew from its fields, from which its JSON follows."""
        fields: tuple[str, ...] = type(self).__match_args__  # type: ignore[attr-defined]  # a dataclass
        return type(self), tuple(getattr(self, name) for name in fields)


@dataclass(frozen=True, slots=True)
class Actor(_WithJson):
    """Who acted.

    ``user_id`` names a person, a service or a token's fingerprint (``token:a3f2c1``); ``ip`` is an
    IPv4 or IPv6 address; ``auth_method`` bearer_token, api_key, mtls or internal.

    >>> Actor("alice@example.org", ip="10.0.0.7", auth_method="mtls").ip
    '10.0.0.7'

    Raises InvalidEvent naming the field.
    """

    user_id: str
    ip: str | None = None
    auth_method: AuthMethod | None = None
    session_id: str | None = None

    def __post_init__(self) -> None:
        _require_text("actor.user_id", self.user_id)
        if self.ip is not None:
            # frozen: one spelling for one address, whatever the caller used
            object.__setattr__(self, "ip", check_ip("actor.ip", self.ip))
        if self.auth_method is not None and self.auth_method not in AUTH_METHODS:
            raise InvalidEvent(
                "actor.auth_method is unknown", hint=f"Known are {', '.join(AUTH_METHODS)}."
            )
        if self.session_id is not None:
            _require_text("actor.session_id", self.session_id)
        self._keep_json(
            "actor",
            user_id=self.user_id,
            ip=self.ip,
            auth_method=self.auth_method,
            session_id=self.session_id,
        )


@dataclass(frozen=True, slots=True)
class Resource(_WithJson):
    """What was acted on: its kind, its id within the kind, and the id of what it belongs to.

    Raises InvalidEvent naming the field.
    """

    resource_type: str
    resource_id: str
    parent_id: str | None = None

    def __post_init__(self) -> None:
        _require_text("resource.resource_type", self.resource_type)
        _require_text("resource.resource_id", self.resource_id)
        if self.parent_id is not None:
            _require_text("resource.parent_id", self.parent_id)
        self._keep_json(
            "resource",
            resource_type=self.resource_type,
            resource_id=self.resource_id,
            parent_id=self.parent_id,
        )


def as_actor(value: Actor | Mapping[str, Any]) -> Actor:
    """The actor itself, or one made of a mapping of its fields.  Raises InvalidEvent."""
    return value if isinstance(value, Actor) else _from_mapping(Actor, "actor", value)


def as_resource(value: Resource | Mapping[str, Any]) -> Resource:
    """The resource itself, or one made of a mapping of its fields.  Raises InvalidEvent."""
    return value if isinstance(value, Resource) else _from_mapping(Resource, "resource", value)


def check_ip(where: str, value: object) -> str:
    """The address in its canonical spelling.  Raises InvalidEvent."""
    if isinstance(value, (str, IPv4Address, IPv6Address)):
        try:
            return str(ip_address(value))
        except ValueError:
            pass  # refused below, as everything else that is no address
    raise InvalidEvent(f"{where} is not an IP address", hint="Give it as 10.0.0.7 or 2001:db8::7.")


_Kind = TypeVar("_Kind", Actor, Resource)


def _from_mapping(kind: type[_Kind], where: str, value: object) -> _Kind:
    if not isinstance(value, Mapping):
        raise InvalidEvent(
            f"{where} is {type(value).__name__}", hint=f"Give {kind.__name__} or a mapping."
        )
    known = kind.__match_args__
    if strange := [key for key in value if key not in known]:
        listed = ", ".join(sorted(repr(clean_text(str(key), where)) for key in strange))
        raise InvalidEvent(
            f"{where} has no field {listed}", hint=f"Its fields are {', '.join(known)}."
        )
    try:
        return kind(**value)
    except TypeError:
        missing = ", ".join(
            name for name in known[: 1 if kind is Actor else 2] if name not in value
        )
        raise InvalidEvent(f"{where} lacks {missing}") from None


def _require_text(where: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidEvent(f"{where} is {type(value).__name__}, not a string")
    if not value:
        raise InvalidEvent(f"{where} is empty")
