"""What must not reach a record's bytes: secrets, and characters that fool a reader.  Pure.

  by key      whatever stands under a key whose words say it is a secret (see secret_keys)
  by looks    in any string, keys and ids included (see secret_text)

Both become ``sha256:<12 hex>``.  Characters: an ANSI sequence, a C0 or C1 control, DEL, a bidi
control and U+2028/9 become U+FFFD; a run of tabs and line breaks becomes one space.

Strings that were found clean are remembered (a bounded set), as most recur; nobody can see that
from outside.

Invariants (tests of the same name in tests/auditlog/redaction/test_cleaning.py):
  no_secret    a secret placed anywhere in a value is not in what clean returns
  one_line     nothing clean returns has a control, bidi control or line separator in it
  fast_path    a text that is not suspicious is what the full look returns
  json_only    what clean returns is JSON, and everything else is refused by name
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final
from uuid import UUID

import orjson

from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.format.record import MAX_RECORD_BYTES
from auditlog.redaction.secret_keys import is_secret_key
from auditlog.redaction.secret_text import fingerprint, fingerprint_credentials, redact, suspicious

__all__ = [
    "KNOWN_CLEAN",
    "MAX_DEPTH",
    "clean",
    "clean_text",
    "escape",
    "full_look",
    "label_json",
]

MAX_DEPTH: Final = 32
"""How deep mappings and lists may nest in each other."""

_CONTROLS: Final = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_UNSAFE: Final = re.compile(f"[{_CONTROLS}]")
_BLANKS: Final = re.compile(r"[\t\n\r]+")
_ANSI: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"  # OSC, DCS, SOS, PM, APC, with their strings
    r"[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"  # two-character sequences
)

_MAX_REMEMBERED: Final = 4096
_MAX_REMEMBERED_LENGTH: Final = 256
KNOWN_CLEAN: Final[dict[str, str]] = {}
"""Strings found clean, with their JSON less its quotes.  Read it to spare a call of label_json."""
_known_keys: Final[set[str]] = set()
"""Keys found clean and no secret's, whatever stands under them."""


def clean_text(text: str, where: str) -> str:
    """The text without secrets and without characters that fool a reader.

    ``where`` names the field in an error.  Raises InvalidEvent for a lone surrogate.
    """
    return full_look(text, where) if suspicious(text) else text


def label_json(text: str, where: str) -> str:
    """The cleaned text as JSON less its quotes, for a string that is likely to come again."""
    known = KNOWN_CLEAN.get(text)
    if known is not None:
        return known
    cleaned = clean_text(text, where)
    escaped = escape(cleaned)
    if cleaned == text and len(text) <= _MAX_REMEMBERED_LENGTH:
        _make_room(KNOWN_CLEAN)
        KNOWN_CLEAN[text] = escaped
    return escaped


def escape(text: str) -> str:
    """The text as JSON, less its quotes."""
    return orjson.dumps(text)[1:-1].decode()


def clean(value: Any, where: str, depth: int = 0) -> Any:  # noqa: PLR0911  (one a type)
    """A JSON value of what the caller gave: checked, redacted, sanitised.

    Takes None, bool, int of 64 bits, finite float, str, aware datetime, date, UUID, Enum, and
    mappings, lists, tuples, sets of these.  ``where`` names the value in an error, as in
    ``details.model.size``.  Raises InvalidEvent for anything else.
    """
    kind = type(value)
    if kind is str:
        return clean_text(value, where)
    if value is None or kind is bool:
        return value
    if kind is int:
        if -(2**63) <= value < 2**64:
            return value
        raise InvalidEvent(f"{where} is an integer beyond 64 bits", hint="Give it as a string.")
    if kind is float:
        if value - value == 0.0:
            return value
        raise InvalidEvent(f"{where} is not a finite number", hint="Leave it out, or use None.")
    if depth >= MAX_DEPTH:
        raise InvalidEvent(f"{where} is nested deeper than {MAX_DEPTH} levels or contains itself")
    if kind is dict or isinstance(value, Mapping):
        return _clean_mapping(value, where, depth)
    if isinstance(value, (list, tuple)):
        return [clean(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted((clean(item, where, depth + 1) for item in value), key=orjson.dumps)
    return _clean_scalar(value, where, depth)


def _clean_mapping(value: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    for key, item in value.items():
        if key.__class__ is str and key in _known_keys and key not in cleaned:
            kind = item.__class__  # what most values are is spared the call and its path
            if (kind is str and not suspicious(item)) or (kind is int and 0 <= item < 2**63):
                cleaned[key] = item
            else:
                cleaned[key] = clean(item, f"{where}.{key}", depth + 1)
        else:
            name, kept = _clean_member(key, item, where, depth)
            number = 1
            while name in cleaned:  # two keys that only differ in what was cleaned away
                number += 1
                name = f"{name.partition('~')[0]}~{number}"
            cleaned[name] = kept
    return cleaned


def _clean_member(key: object, item: object, where: str, depth: int) -> tuple[str, Any]:
    if not isinstance(key, str):
        raise InvalidEvent(
            f"{where} has a key that is not a string but {type(key).__name__}",
            hint="JSON has string keys only.",
        )
    name = clean_text(str.__str__(key), f"a key of {where}")
    kept = clean(item, f"{where}.{name}", depth + 1)
    if is_secret_key(key, numeric=kept.__class__ in (int, float)):
        kept = _hide(item, kept)
    elif (
        name == key and len(key) <= _MAX_REMEMBERED_LENGTH and not is_secret_key(key, numeric=False)
    ):
        _make_room(_known_keys)
        _known_keys.add(key)
    return name, kept


def _make_room(known: set[str] | dict[str, str]) -> None:
    if len(known) >= _MAX_REMEMBERED:
        known.clear()


def _clean_scalar(value: Any, where: str, depth: int) -> Any:  # noqa: PLR0911  (one a type)
    """The types that are looked for last: subclasses, and what JSON writes as a string."""
    if isinstance(value, Enum):
        return clean(value.value, where, depth + 1)
    if isinstance(value, str):
        return clean_text(str.__str__(value), where)
    if isinstance(value, int):
        return clean(int(value), where, depth + 1)
    if isinstance(value, float):
        return clean(float(value), where, depth + 1)
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise InvalidEvent(
                f"{where} is a datetime without a time zone", hint="Use datetime.now(UTC)."
            )
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise InvalidEvent(
        f"{where} is {type(value).__name__}, which has no place in a record",
        hint="Give strings, numbers, booleans, datetimes, lists or mappings.",
    )


def _hide(given: Any, kept: Any) -> Any:
    """What stands under a secret key; ``kept`` is the same value, already checked and cleaned."""
    if kept is None or isinstance(kept, bool):
        return kept
    if isinstance(kept, list) and isinstance(given, (list, tuple)):
        return [_hide(*pair) for pair in zip(given, kept, strict=True)]
    if isinstance(given, str):
        return fingerprint_credentials(given)
    if isinstance(kept, (int, float, str)):
        return fingerprint(str(kept))
    return fingerprint(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode())


def full_look(text: str, where: str) -> str:
    """As clean_text, without asking first whether a look is needed."""
    if len(text) > MAX_RECORD_BYTES:
        raise RecordTooLarge(
            f"{where} alone has {len(text)} characters, a record {MAX_RECORD_BYTES} bytes",
            hint="Log its length and a hash instead.",
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidEvent(
                f"{where} has a lone surrogate at character {error.start}",
                hint="Decode the bytes with errors='replace'.",
            ) from None
    redacted = redact(text)
    if redacted.isascii() and redacted.isprintable():
        return redacted
    redacted = _BLANKS.sub(" ", _ANSI.sub("\ufffd", redacted))
    return _UNSAFE.sub("\ufffd", redacted)
