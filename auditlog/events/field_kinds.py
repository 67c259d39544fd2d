"""The kinds of fields an event can have: how each is checked and cleaned.  Pure.

A kind says more than a type: a Digest cannot hold a prompt, a Label is worth remembering.  Whether
a value is plainly good is told by expressions that are put into the code of an event class (see
event_code), so that the common case needs no call.

Invariants (tests of the same name in tests/auditlog/events/test_field_kinds.py):
  spared     a value the expression lets pass is one the check would return as it is
  cleaned    the JSON of a value is that of the cleaned value
  named      what a check refuses, it refuses with InvalidEvent and the name of the field
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import orjson

from auditlog.errors import InvalidEvent
from auditlog.events.actor import check_ip
from auditlog.redaction.cleaning import KNOWN_CLEAN, clean, clean_text, escape, label_json
from auditlog.redaction.secret_text import ISSUED_SK, ODD

__all__ = [
    "KINDS",
    "NAMES",
    "Address",
    "Changes",
    "Count",
    "Digest",
    "Id",
    "Instant",
    "Kind",
    "Label",
    "Labels",
    "Number",
    "Text",
]

Id: TypeAlias = str
"""Names one thing and hardly recurs: a task, a job.  Not empty."""
Label: TypeAlias = str
"""Names one of few things and recurs: a model, a worker.  Not empty."""
Text: TypeAlias = str
"""Free text, such as a path or an explanation."""
Digest: TypeAlias = str
"""8 to 128 hex digits, an algorithm may stand before: ``sha256:9f86d0…``.  Takes no other text."""
Address: TypeAlias = str
"""An IPv4 or IPv6 address."""
Count: TypeAlias = int
"""A whole number from 0 to 2**64 - 1."""
Number: TypeAlias = float
"""A finite number, not negative."""
Instant: TypeAlias = dt.datetime
"""An aware datetime; recorded in UTC."""
Labels: TypeAlias = Sequence[str]
"""A list of strings."""
Changes: TypeAlias = Mapping[str, Any]
"""A JSON object."""

_no_hex: Final = re.compile(r"[^0-9a-fA-F]").search
_is_digest: Final = re.compile(r"(?:[a-z0-9][a-z0-9-]{0,15}:)?[0-9a-fA-F]{8,128}").fullmatch


def _refuse(where: str, value: object, wanted: str) -> InvalidEvent:
    return InvalidEvent(f"{where} is {type(value).__name__}, not {wanted}")


def _check_id(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refuse(where, value, "a string")
    if not value:
        raise InvalidEvent(f"{where} is empty")
    return str.__str__(value)


def _check_text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refuse(where, value, "a string")
    return str.__str__(value)


def _check_digest(where: str, value: object) -> str:
    text = _check_id(where, value)
    if _is_digest(text) is None:
        raise InvalidEvent(
            f"{where} is not a digest",
            hint="Give 8 to 128 hex digits, with the algorithm and a colon before if you like.",
        )
    return text


def _check_count(where: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refuse(where, value, "a whole number")
    if not 0 <= value < 2**64:
        raise InvalidEvent(f"{where} is negative or beyond 64 bits")
    return int(value)


def _check_number(where: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _refuse(where, value, "a number")
    if not 0 <= value < 2**64:
        raise InvalidEvent(f"{where} is negative, not finite or beyond 64 bits")
    return int(value) if isinstance(value, int) else float(value)


def _check_instant(where: str, value: object) -> dt.datetime:
    if not isinstance(value, dt.datetime):
        raise _refuse(where, value, "a datetime")
    if value.tzinfo is None:
        raise InvalidEvent(
            f"{where} is a datetime without a time zone", hint="Use datetime.now(UTC)."
        )
    return value


def _check_labels(where: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _refuse(where, value, "a list of strings")
    return tuple(_check_text(f"{where}[{index}]", item) for index, item in enumerate(value))


def _check_changes(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse(where, value, "a mapping")
    return cast("Mapping[str, Any]", value)


def _check_bool(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refuse(where, value, "True or False")
    return value


class Kind:
    """How values of one kind are checked, and written into JSON.

    ``wrong`` is an expression over ``_v`` that is true when ``check`` has to look closer; None: it
    always has to.  ``json`` is a statement that turns the value ``_v`` of the field ``_where`` into
    its JSON text, cleaned, and without its quotes where it is ``quoted``; None: it is that already.
    """

    __slots__ = ("check", "json", "quoted", "wrong")

    def __init__(
        self,
        wrong: str | None,
        check: Callable[[str, object], object],
        json: str | None = None,
        *,
        quoted: bool = False,
    ) -> None:
        self.wrong, self.check, self.json, self.quoted = wrong, check, json, quoted


# secret_text.suspicious, written out: a call would cost as much as the look itself.  What is not
# suspicious is plain ASCII without quotes and backslashes, and so its own JSON.
_TEXT: Final = (
    'if _len(_v) >= 40 or _odd(_v) or "sk-" in _v and _sk(_v) or "pat-" in _v or "xox" in _v:'
    " _v = _escape(_clean_text(_v, _where))"
)
_LABEL: Final = "_v = _known(_v) or _label(_v, _where)"
_CLEANED: Final = "_v = _clean_json(_v, _where)"
_NO_TEXT: Final = "_type(_v) is not str"
_NO_ID: Final = "_type(_v) is not str or not _v"
_NO_HASH: Final = "_type(_v) is not str or not 8 <= _len(_v) <= 128 or _no_hex(_v)"


def _clean_json(value: object, where: str) -> str:
    return orjson.dumps(clean(value, where)).decode()


KINDS: Final[Mapping[str, Kind]] = {
    "Id": Kind(_NO_ID, _check_id, _TEXT, quoted=True),
    "Label": Kind(_NO_ID, _check_id, _LABEL, quoted=True),
    "Text": Kind(_NO_TEXT, _check_text, _TEXT, quoted=True),
    "Digest": Kind(_NO_HASH, _check_digest, quoted=True),
    "Address": Kind(None, check_ip, _LABEL, quoted=True),
    "Count": Kind("_type(_v) is not int or not 0 <= _v < 18446744073709551616", _check_count),
    "Number": Kind("_type(_v) is not float or not 0.0 <= _v < 1.8e19", _check_number),
    "bool": Kind("_type(_v) is not bool", _check_bool, "_v = 'true' if _v else 'false'"),
    "Instant": Kind(None, _check_instant, _CLEANED),
    "Labels": Kind(None, _check_labels, _CLEANED),
    "Changes": Kind(None, _check_changes, _CLEANED),
}
"""The kinds of fields by the name their annotations use."""

NAMES: Final[Mapping[str, object]] = {
    "_len": len,
    "_type": type,
    "_odd": ODD,
    "_sk": ISSUED_SK,
    "_known": KNOWN_CLEAN.get,
    "_label": label_json,
    "_escape": escape,
    "_clean_text": clean_text,
    "_clean_json": _clean_json,
    "_no_hex": _no_hex,
}
"""What the expressions of the kinds refer to; no field's name starts with an underscore."""
