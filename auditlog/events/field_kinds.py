"""Define the kinds of fields: how a value is checked, cleaned, described and indexed.  Pure.

A kind says more than a type: a Digest cannot hold a prompt, a Label is worth remembering.  A field
is declared once, by annotating it with a kind; everything else follows from the kind: the check in
the constructor, the JSON in the record, the JSON Schema, the mapping in the index.

``FieldKind.wrong`` and ``FieldKind.json`` are pieces of source that codegen inlines into a class,
so that the common case needs no call.

Invariants (tests of the same name in tests/auditlog/events/test_field_kinds.py):
  spared     a value the expression lets pass is one the check would return as it is
  cleaned    the JSON of a value is that of the cleaned value
  named      what a check refuses, it refuses with InvalidEvent and the name of the field
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from operator import index
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    SupportsFloat,
    SupportsIndex,
    TypeAlias,
    cast,
)
from uuid import UUID

import orjson

from auditlog.errors import InvalidEvent
from auditlog.events.values import cleaned, exception_fields
from auditlog.redaction.redactor import PLAIN_LENGTH, Redactor

__all__ = [
    "ANY",
    "FLOAT",
    "INTEGER",
    "KINDS",
    "NAMES",
    "Address",
    "Changes",
    "Count",
    "Digest",
    "EcsName",
    "FieldKind",
    "Id",
    "Indexed",
    "Instant",
    "Label",
    "Labels",
    "Number",
    "Text",
    "Word",
    "check_text",
    "choice",
    "instance_of",
    "one_of",
]

Indexed: TypeAlias = Literal["keyword", "ip", "short", "long", "date", "object", "stored"]
"""How an index makes a field searchable; ``stored``: it does not."""

_no_hex: Final = re.compile(r"[^0-9a-fA-F]").search
_is_word: Final = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch
_is_digest: Final = re.compile(r"(?:[a-z0-9][a-z0-9-]{0,15}:)?[0-9a-fA-F]{8,128}").fullmatch
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
# Without a group around the repetition: it takes two thirds of the time.
_is_ipv4: Final = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}").fullmatch
_WORDS_SEEN: Final[set[str]] = set()
"""Texts that were found to be words (bounded): a lookup takes a sixth of the match."""
_MAX_WORDS_SEEN: Final = 1024


class FieldKind:
    """How values of one kind are checked, written into JSON, described and indexed.

    ``wrong`` is an expression over ``_v`` that is true when ``check`` has to look closer; None: it
    always has to.  ``json`` is a statement that turns the value ``_v`` of the field ``_where`` into
    its JSON text, cleaned, and without its quotes where it is ``quoted``; None: it is that already.
    ``schema`` is the JSON Schema of the value in a record.  In a ``loose`` one a value may have to
    be replaced (see values).
    """

    __slots__ = (
        "check",
        "indexed",
        "json",
        "loose",
        "name",
        "quoted",
        "revived",
        "schema",
        "wrong",
    )

    def __init__(
        self,
        name: str,
        check: Callable[[str, Any], object],
        schema: Mapping[str, Any],
        *,
        wrong: str | None = None,
        json: str | None = None,
        quoted: bool = False,
        indexed: Indexed = "keyword",
        loose: bool = False,
        revived: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name, self.check, self.schema = name, check, schema
        self.wrong, self.json, self.quoted, self.indexed = wrong, json, quoted, indexed
        self.loose, self.revived = loose, revived

    def revive(self, value: Any) -> object:
        """Return what the JSON of a record was made of, where the kind is of a class.

        Raises InvalidEvent.
        """
        if self.revived is None:
            return value
        try:
            return self.revived(value)
        except (ValueError, TypeError, ArithmeticError):
            raise InvalidEvent(f"this is not a {self.name}") from None

    def __repr__(self) -> str:
        return self.name  # as a signature shows it


class EcsName(str):
    """Metadata of a field: its name in the Elastic Common Schema, such as ``user.id``."""

    __slots__ = ()


# Checks: return the value, perhaps in another spelling, or raise InvalidEvent.


def _refuse(where: str, value: object, wanted: str) -> InvalidEvent:
    return InvalidEvent(f"{where} is {type(value).__name__}, not {wanted}")


def check_text(where: str, value: object) -> str:
    """Return the text, or that of a UUID, number, path, address or exception.

    Raises InvalidEvent.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, UUID, IPv4Address, IPv6Address)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, BaseException):
        return exception_fields(value)["message"]
    if hasattr(type(value), "__fspath__") and isinstance(path := value.__fspath__(), str):  # type: ignore[attr-defined]  # just asked
        return path
    raise _refuse(where, value, "a string")


def _check_id(where: str, value: object) -> str:
    text = check_text(where, value)
    if not text:
        raise InvalidEvent(f"{where} is empty")
    return text


def _check_word(where: str, value: object) -> str:
    text = check_text(where, value)
    if _is_word(text) is None:
        raise InvalidEvent(
            f"{where} is not a lower-case word", hint="Write it like bearer_token or oidc."
        )
    if len(_WORDS_SEEN) < _MAX_WORDS_SEEN:
        _WORDS_SEEN.add(text)
    return text


def _check_digest(where: str, value: object) -> str:
    text = value.hex() if isinstance(value, (bytes, bytearray)) else _check_id(where, value)
    if _is_digest(text) is None:
        raise InvalidEvent(
            f"{where} is not a digest",
            hint="Give 8 to 128 hex digits, with the algorithm and a colon before if you like.",
        )
    return text


def _check_address(where: str, value: object) -> str:
    """Return the address in its canonical spelling, so that one address has one."""
    if isinstance(value, (str, IPv4Address, IPv6Address)):
        try:
            return str(ip_address(value))
        except ValueError:
            pass  # refused below, like every other value that is not an address
    raise InvalidEvent(f"{where} is not an IP address", hint="Give it as 10.0.0.7 or 2001:db8::7.")


def _check_count(where: str, value: object) -> int:
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise _refuse(where, value, "a whole number")
    number = index(cast("SupportsIndex", value))
    if not 0 <= number < 2**64:
        raise InvalidEvent(f"{where} is negative or beyond 64 bits")
    return number


def _check_number(where: str, value: object) -> float:
    if isinstance(value, (bool, str)) or not hasattr(type(value), "__float__"):
        raise _refuse(where, value, "a number")
    number = int(value) if isinstance(value, int) else float(cast("SupportsFloat", value))
    if not 0 <= number < 2**64:
        raise InvalidEvent(f"{where} is negative, not finite or beyond 64 bits")
    return number


def _check_integer(where: str, value: object) -> int:
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise _refuse(where, value, "a whole number")
    return index(cast("SupportsIndex", value))


def _check_float(where: str, value: object) -> float:
    if isinstance(value, (bool, str)) or not hasattr(type(value), "__float__"):
        raise _refuse(where, value, "a number")
    return value if type(value) is int else float(cast("SupportsFloat", value))


def _check_instant(where: str, value: object) -> dt.datetime:
    if isinstance(value, str):  # an event by name may come from JSON
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            raise InvalidEvent(
                f"{where} is not a time", hint="Give a datetime, or text like 2026-11-23T07:12:00Z."
            ) from None
    if not isinstance(value, dt.datetime):
        raise _refuse(where, value, "a datetime")
    return value


def _check_labels(where: str, value: object) -> tuple[str, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise _refuse(where, value, "a list of strings")
    made = [check_text(f"{where}[{number}]", item) for number, item in enumerate(value)]
    return tuple(sorted(made) if isinstance(value, (set, frozenset)) else made)


def _check_changes(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse(where, value, "a mapping")
    return cast("Mapping[str, Any]", value)


def _check_bool(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refuse(where, value, "True or False")
    return value


def _clean_json(redactor: Redactor, value: object, where: str) -> str:
    return orjson.dumps(cleaned(value, where, redactor=redactor)[0]).decode()


# The first look of Redactor.text, inlined: a call would cost as much as the look itself.  A plain
# text is ASCII without quotes and backslashes, and so is its own JSON.  _r is the redactor.
_TEXT_JSON: Final = f"if _len(_v) >= {PLAIN_LENGTH} or _r.odd(_v): _v = _r.text_json(_v, _where)"
_LABEL_JSON: Final = "_v = _r.known.get(_v) or _r.label_json(_v, _where)"
# An address of four octets is never odd to the rules that are always on.
_ADDRESS_JSON: Final = "if ':' in _v or _r.searches_all: _v = _r.text_json(_v, _where)"
_CLEANED_JSON: Final = "_v = _clean_json(_r, _v, _where)"
_NOT_TEXT: Final = "_type(_v) is not str"
_NOT_ID: Final = "_type(_v) is not str or not _v"
_NOT_HEX: Final = "_type(_v) is not str or not 8 <= _len(_v) <= 128 or _no_hex(_v)"

_NAME_SCHEMA: Final = {"type": "string", "minLength": 1}
_TEXT_SCHEMA: Final = {"type": "string"}

_ID: Final = FieldKind("Id", _check_id, _NAME_SCHEMA, wrong=_NOT_ID, json=_TEXT_JSON, quoted=True)
_LABEL: Final = FieldKind(
    "Label", _check_id, _NAME_SCHEMA, wrong=_NOT_ID, json=_LABEL_JSON, quoted=True
)
_WORD: Final = FieldKind(
    "Word",
    _check_word,
    {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$"},
    wrong="_type(_v) is not str or _v not in _words",
    quoted=True,
)
_TEXT: Final = FieldKind(
    "Text", check_text, _TEXT_SCHEMA, wrong=_NOT_TEXT, json=_TEXT_JSON, quoted=True
)
_DIGEST: Final = FieldKind(
    "Digest",
    _check_digest,
    {"type": "string", "pattern": "^([a-z0-9][a-z0-9-]{0,15}:)?[0-9a-fA-F]{8,128}$"},
    wrong=_NOT_HEX,
    quoted=True,
)
_ADDRESS: Final = FieldKind(
    "Address",
    _check_address,
    {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    # Four decimal octets without leading zeros are the canonical spelling already: ip_address,
    # which costs ten times the match, is left to the others.
    wrong="_type(_v) is not str or not _ipv4(_v)",
    json=_ADDRESS_JSON,
    quoted=True,
    indexed="ip",
)
_COUNT: Final = FieldKind(
    "Count",
    _check_count,
    {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
    wrong="_type(_v) is not int or not 0 <= _v < 18446744073709551616",
    indexed="long",
)
_NUMBER: Final = FieldKind(
    "Number",
    _check_number,
    {"type": "number", "minimum": 0, "maximum": 2**64 - 1},
    wrong="_type(_v) is not float or not 0.0 <= _v < 1.8e19",
)
_BOOL: Final = FieldKind(
    "bool",
    _check_bool,
    {"type": "boolean"},
    wrong="_type(_v) is not bool",
    json="_v = 'true' if _v else 'false'",
)
_INSTANT: Final = FieldKind(
    "Instant",
    _check_instant,
    {
        "type": "string",
        "format": "date-time",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?Z?$",
    },
    json=_CLEANED_JSON,
    indexed="date",
)
_LABELS: Final = FieldKind(
    "Labels", _check_labels, {"type": "array", "items": _TEXT_SCHEMA}, json=_CLEANED_JSON
)
_CHANGES: Final = FieldKind(
    "Changes", _check_changes, {"type": "object"}, json=_CLEANED_JSON, indexed="object", loose=True
)

INTEGER: Final = FieldKind(
    "int",
    _check_integer,
    {"type": "integer"},
    wrong="_type(_v) is not int",
    # JSON readers take a larger number for a float and change it: it is recorded as text.
    json="if not -9223372036854775808 <= _v < 18446744073709551616: _v = f'\"{_v}\"'",
    indexed="long",
)
FLOAT: Final = FieldKind(
    "float",
    _check_float,
    {"type": ["number", "null"]},
    wrong="_type(_v) is not float",
    json="_v = _repr(_v) if _v - _v == 0 else 'null'",
    loose=True,
)
ANY: Final = FieldKind(
    "Any", lambda _where, value: value, {}, json=_CLEANED_JSON, indexed="object", loose=True
)

Id: TypeAlias = Annotated[str, _ID]
"""Identifier with many values, such as a task or job id.  Not empty."""
Label: TypeAlias = Annotated[str, _LABEL]
"""Name with few values that recur, such as a model or worker.  Not empty."""
Word: TypeAlias = Annotated[str, _WORD]
"""A lower-case word of a small vocabulary: ``bearer_token``."""
Text: TypeAlias = Annotated[str, _TEXT]
"""Free text, such as a path or an explanation."""
Digest: TypeAlias = Annotated[str, _DIGEST]
"""8 to 128 hex digits, an algorithm may stand before: ``sha256:9f86d0…``.  Takes no other text."""
Address: TypeAlias = Annotated[str, _ADDRESS]
"""An IPv4 or IPv6 address."""
Count: TypeAlias = Annotated[int, _COUNT]
"""A whole number from 0 to 2**64 - 1."""
Number: TypeAlias = Annotated[float, _NUMBER]
"""A finite number, not negative."""
Instant: TypeAlias = Annotated[dt.datetime, _INSTANT]
"""A datetime; an aware one is recorded in UTC, a naive one as it is, without a zone."""
Labels: TypeAlias = Annotated[Sequence[str], _LABELS]
"""A list of strings."""
Changes: TypeAlias = Annotated[Mapping[str, Any], _CHANGES]
"""A JSON object."""

KINDS: Final[Mapping[str, FieldKind]] = {
    kind.name: kind
    for kind in (
        *(_ID, _LABEL, _WORD, _TEXT, _DIGEST, _ADDRESS, _COUNT, _NUMBER, _BOOL),
        *(_INSTANT, _LABELS, _CHANGES, INTEGER, FLOAT, ANY),
    )
}
"""The kinds of fields by the name their annotations use."""

NAMES: Final[Mapping[str, object]] = {
    "_len": len,
    "_type": type,
    "_clean_json": _clean_json,
    "_no_hex": _no_hex,
    "_ipv4": _is_ipv4,
    "_words": _WORDS_SEEN,
    "_repr": repr,
}
"""Globals of the generated code; no field's name starts with an underscore."""


def instance_of(wanted: type) -> FieldKind:
    """Return the kind of a field that holds objects of a class, recorded as values has them."""

    def check(where: str, value: object) -> object:
        if isinstance(value, wanted):
            return value
        raise _refuse(where, value, wanted.__qualname__)

    return FieldKind(wanted.__qualname__, check, {}, json=_CLEANED_JSON, loose=True, revived=wanted)


def one_of(known: tuple[object, ...]) -> FieldKind:
    """Return the kind of a field that holds one of the literals."""
    words = tuple(each for each in known if isinstance(each, str))
    if words == known:
        return choice("Literal", words)

    def check(where: str, value: object) -> object:
        if any(value is each or (type(value) is type(each) and value == each) for each in known):
            return value
        raise InvalidEvent(f"{where} is not one of {', '.join(map(repr, known))}")

    return FieldKind("Literal", check, {"enum": list(known)}, json=_CLEANED_JSON)


def choice(name: str, known: tuple[str, ...]) -> FieldKind:
    """Return the kind of a field that holds one of the known words."""

    def check(where: str, value: object) -> str:
        if isinstance(value, str) and value in known:
            return str.__str__(value)
        # The value is not shown: it may be a secret.
        raise InvalidEvent(
            f"{where} is not one of {', '.join(known)}", hint="Write it exactly like that."
        )

    wrong = f"_type(_v) is not str or _v not in {known!r}"
    return FieldKind(name, check, {"enum": list(known)}, wrong=wrong, quoted=True)
