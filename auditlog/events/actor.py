"""Describe who acted, and what was acted on.  Pure.

Both are given as objects or as plain mappings of the same fields, and checked alike.  Their JSON is
made once and kept, as one actor usually causes many events.

Invariants (tests of the same name in tests/auditlog/events/test_actor.py):
  alike        a mapping gives the same bytes, or the same error, as the object
  strict       an unknown key or a value of the wrong kind is refused with its name
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeVar, get_args
from uuid import UUID

from auditlog.errors import InvalidEvent
from auditlog.events.codegen import checked, compiled, constructor, members
from auditlog.events.field_kinds import Address, EcsName, Id, Label, Labels, Text, Word
from auditlog.events.frozen_class import Frozen
from auditlog.redaction.redactor import CHECKER, KEYLESS, Redactor

__all__ = [
    "AUTH_METHODS",
    "OUTCOMES",
    "SEVERITIES",
    "Actor",
    "Outcome",
    "Resource",
    "Severity",
    "actor_json",
    "as_actor",
    "as_resource",
    "resource_json",
]

Outcome = Literal["success", "failure", "partial_success", "denied", "pending"]
Severity = Literal["info", "warning", "error", "critical"]

AUTH_METHODS: Final = (
    *("bearer_token", "api_key", "mtls", "internal", "password", "oidc", "saml", "session"),
    *("ssh_key", "passkey", "mfa", "service_account"),
)
"""Suggested words for Actor.auth_method; any other lower-case word is taken as well."""
OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)
SEVERITIES: Final[tuple[str, ...]] = get_args(Severity)


class _Party(Frozen):
    """A member of the record that is an object; keeps its JSON beside its fields."""

    __slots__ = ("_made",)
    member: ClassVar[str]
    """Name of its member in the record."""

    if TYPE_CHECKING:

        @property
        def _made(self) -> tuple[Redactor | None, str]: ...

        def _json_of(self, redactor: Redactor) -> str: ...

    @property
    def json(self) -> str:
        """The object in JSON, redacted by the default policy; absent fields left out."""
        return self.json_for(KEYLESS)

    def json_for(self, redactor: Redactor) -> str:
        """The object as it stands in a record of the redactor's log."""
        made = self._made
        if made[0] is not redactor:
            # One assignment: another thread may ask on behalf of another log at the same time.
            made = (redactor, self._json_of(redactor))
            object.__setattr__(self, "_made", made)
        return made[1]

    @staticmethod
    def _json_from(_redactor: Redactor, /, **_fields: Any) -> str:
        """The JSON of an object of these fields; TypeError where one is unknown or missing."""
        raise TypeError("generated with the first object")

    @classmethod
    def _generate(cls) -> None:
        names: dict[str, object] = {"_checker": CHECKER, "_unmade": (None, "")}
        odd = " or ".join(
            f"({field.name} is not None and not {field.name}.isascii())"
            if field.kind.quoted
            else f"{field.name} is not None"
            for field in cls.declared
        )
        statements, pieces = members(cls.declared, cls.member)
        parameters, _ = checked(cls.declared, cls.member, names)
        checked_statements, _ = members(cls.declared, cls.member, names)
        source = constructor(
            cls.declared,
            cls.member,
            names,
            keyword_only=cls.keyword_only,
            fill={},
            then=[
                # A lone surrogate is refused now; plain ASCII has none and needs no second look.
                f"_self._made = (_checker, _json_of(_self, _checker)) if {odd} else _unmade",
            ],
        )
        source += "\n".join(
            [
                "def _json_of(_self, _r):",
                *(f"    {field.name} = _self.{field.name}" for field in cls.declared),
                *(f"    {line}" for line in statements),
                f"    return '{{' + {pieces} + '}}'",
                # The JSON of a mapping of the fields, without an object in between.
                f"def _json_from(_r, /, {', '.join(parameters)}):",
                *(f"    {line}" for line in checked_statements),
                f"    return '{{' + {pieces} + '}}'\n",
            ]
        )
        made = compiled(cls, source, names)
        made["__new__"].__qualname__ = cls.__qualname__  # what a TypeError about arguments names
        cls._json_of = made["_json_of"]  # type: ignore[method-assign]  # once per class
        cls._json_from = staticmethod(made["_json_from"])  # type: ignore[method-assign]  # as before
        cls.__new__ = staticmethod(made["__new__"])  # type: ignore[method-assign]  # last: now it is ready


class Actor(_Party):
    """The person or service that acted.

    user_id        a person, a service or a token's fingerprint (``token:a3f2c1``); the id a log
                   can be searched for
    ip             an IPv4 or IPv6 address
    auth_method    a lower-case word, such as those of AUTH_METHODS
    on_behalf_of   the id of the person or service that the actor acts for
    tenant         the organisation that the actor belongs to
    roles          what the actor acted as
    name           a name for people to read

    >>> Actor("alice@example.org", ip="10.0.0.7", auth_method="mtls").ip
    '10.0.0.7'

    Raises InvalidEvent naming the field.
    """

    member: ClassVar[str] = "actor"

    user_id: Annotated[Id, EcsName("user.id")]
    ip: Annotated[Address, EcsName("source.ip")] | None = None
    auth_method: Word | None = None
    session_id: Id | None = None
    on_behalf_of: Annotated[Id, EcsName("user.effective.id")] | None = None
    tenant: Annotated[Label, EcsName("organization.id")] | None = None
    roles: Annotated[Labels, EcsName("user.roles")] | None = None
    name: Annotated[Text, EcsName("user.full_name")] | None = None


class Resource(_Party):
    """The object that was acted on: its type, its id within the type, the id of its parent.

    Raises InvalidEvent naming the field.
    """

    member: ClassVar[str] = "resource"

    resource_type: Label
    resource_id: Id
    parent_id: Id | None = None


def as_actor(value: Actor | Mapping[str, Any] | str) -> Actor:
    """Return the actor itself, or one made of a mapping of its fields or of its id alone.

    Raises InvalidEvent.
    """
    if isinstance(value, Actor):
        return value
    if isinstance(value, (str, int, UUID)):
        return Actor(value)
    return _from_mapping(Actor, value)


def as_resource(value: Resource | Mapping[str, Any]) -> Resource:
    """Return the resource itself, or one made of a mapping of its fields.  Raises InvalidEvent."""
    return value if isinstance(value, Resource) else _from_mapping(Resource, value)


def actor_json(value: Actor | Mapping[str, Any] | str, redactor: Redactor) -> str:
    """Return the JSON that as_actor(value) has in a record of the redactor's log, or its error."""
    if value.__class__ is dict:
        try:
            return Actor._json_from(redactor, **value)  # noqa: SLF001  (its own module)
        except TypeError:
            pass  # an unknown or a missing field, which is named below
    return as_actor(value).json_for(redactor)


def resource_json(value: Resource | Mapping[str, Any], redactor: Redactor) -> str:
    """As actor_json, for as_resource(value)."""
    if value.__class__ is dict:
        try:
            return Resource._json_from(redactor, **value)  # noqa: SLF001  (its own module)
        except TypeError:
            pass  # as in actor_json
    return as_resource(value).json_for(redactor)


_Of = TypeVar("_Of", Actor, Resource)


def _from_mapping(kind: type[_Of], value: Any) -> _Of:
    where = kind.member
    try:
        return kind(**value)
    except TypeError:  # checked only after the failure, so that the common case stays fast
        if not isinstance(value, Mapping):
            raise InvalidEvent(
                f"{where} is {type(value).__name__}",
                hint=f"Give {kind.__name__} or a mapping.",
            ) from None
    known = [field.name for field in kind.declared]
    if strange := [key for key in value if key not in known]:
        listed = ", ".join(sorted(repr(KEYLESS.text(str(key), where)) for key in strange))
        raise InvalidEvent(
            f"{where} has no field {listed}", hint=f"Its fields are {', '.join(known)}."
        )
    missing = [field.name for field in kind.declared if field.required and field.name not in value]
    raise InvalidEvent(f"{where} lacks {', '.join(missing)}")
