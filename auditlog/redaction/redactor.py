"""Apply a policy to input: redact secrets, and escape deceptive characters.

Values are cleaned here, member by member; the texts in them by text_redactor.

Texts that were found clean are remembered (a bounded set), as most recur; nobody can see that from
outside.

Invariants (tests of the same name in tests/auditlog/redaction/test_redactor.py):
  no_secret    a secret placed anywhere in a value is not in what clean returns
  kept         a harmless value is returned as it is
  one_line     nothing clean returns has a character in it that a terminal obeys or nobody sees
  fast_path    a text that is plain is what the full look returns
  once         what stands for a secret is not taken for a secret again
  json_only    what clean returns is JSON, and everything else is refused by name
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final
from uuid import UUID

import orjson

from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.format.record import MAX_RECORD_BYTES
from auditlog.redaction.key_meaning import Meaning, meaning
from auditlog.redaction.looks import is_fact, is_redacted
from auditlog.redaction.number_spelling import with_numbers_of
from auditlog.redaction.pairs import NAMING
from auditlog.redaction.policy import Policy
from auditlog.redaction.rules import NO_DERIVATIVE, OPTIONAL_CLASSES
from auditlog.redaction.secret_values import Hit, cookie_values, hides
from auditlog.redaction.structures import named_members, paired, secret_columns, secret_items
from auditlog.redaction.text_redactor import Replaced, TextRedactor

__all__ = [
    "CHECKER",
    "KEYLESS",
    "MAX_DEPTH",
    "PLAIN_LENGTH",
    "UNCUT",
    "Redactor",
    "escape",
]

MAX_DEPTH: Final = 32
"""Maximum depth of nested mappings and lists."""

PLAIN_LENGTH: Final = 20
"""Shorter texts without unusual characters hold no known secret and are not searched."""
_ODD: Final = re.compile(r"[^A-Za-z0-9_./+~#*!^$-]").search
_PLAIN_ID: Final = re.compile(r"[0-9a-f-]+|(?:[a-z0-9]{1,15}[-/._]){0,8}[a-z0-9]{1,15}").fullmatch
_MAX_REMEMBERED: Final = 4096
_MAX_REMEMBERED_LENGTH: Final = 256
_COUNTED_LENGTH: Final = 256
_SCHEME: Final = re.compile(r"(?:bearer|basic|token|apikey|negotiate)\s+(?=\S)", re.IGNORECASE)
_TABLES: Final = frozenset(
    {"columns", "column_names", "header", "headers", "fields", "names", "keys"}
)
_SPECIAL: Final = NAMING | _TABLES


class Redactor:
    """One policy at work; every method may be called from any thread.

    ``key`` returns the secret of the fingerprints, or None while there is none; it is asked when
    the first is needed.  ``counts`` says how often each rule fired.  Without ``visible`` deceiving
    characters stay: for a text that is cleaned again, or JSON inside of a text, which has its own.
    """

    __slots__ = (
        "_classes",
        "_full",
        "_hidden",
        "_keys",
        "_meaning",
        "_most_bytes",
        "_replaced",
        "_resolved",
        "_texts",
        "counts",
        "known",
        "odd",
        "policy",
        "searches_all",
    )

    def __init__(
        self,
        policy: Policy | None = None,
        key: Callable[[], bytes | None] = lambda: None,
        *,
        visible: bool = True,
        most_bytes: int = MAX_RECORD_BYTES,
        around: TextRedactor | None = None,
    ) -> None:
        self.policy = policy or Policy.default()
        self._classes = self.policy.classes
        own = self.policy.secret_keys or self.policy.harmless_keys
        self._meaning = self.policy.meaning if own else meaning
        self._most_bytes = most_bytes
        self._texts = texts = TextRedactor(
            self.policy,
            self._meaning,
            key,
            _redact_json,
            visible=visible,
            most_bytes=most_bytes,
            around=around,
        )
        self._full, self._hidden = texts.full, texts.hidden  # spares every text a call
        self._resolved, self._replaced = texts.resolved, texts.replaced
        self.counts = texts.counts
        self.known: dict[str, str] = {}
        """Texts found clean, with their JSON less its quotes."""
        self._keys: set[str] = set()
        """Keys found clean that name no secret."""
        self.searches_all = bool(self.policy.patterns or self._classes & OPTIONAL_CLASSES)
        """Whether no text is plain by its characters alone, as the policy has rules of its own."""
        self.odd: Callable[[str], object] = _always if self.searches_all else _ODD

    def text(self, text: str, where: str) -> str:
        """The text without secrets and with deceiving characters made visible.

        ``where`` names the field in an error.  Raises InvalidEvent for a lone surrogate,
        RecordTooLarge before anything is looked at.
        """
        if len(text) < PLAIN_LENGTH and self.odd(text) is None:
            return text
        return self._full(text, where)

    def text_json(self, text: str, where: str) -> str:
        """The cleaned text as JSON, less its quotes."""
        return escape(self.text(text, where))

    def label_json(self, text: str, where: str) -> str:
        """As text_json, for a text that is likely to come again."""
        known = self.known.get(text)
        if known is not None:
            return known
        cleaned = self.text(text, where)
        as_json = escape(cleaned)
        if cleaned == text and len(text) <= _MAX_REMEMBERED_LENGTH:
            _make_room(self.known)
            self.known[text] = as_json
        return as_json

    def clean(self, value: Any, where: str) -> Any:
        """A JSON value of what the caller gave: checked, redacted, made visible.

        Takes None, bool, int of 64 bits, finite float, str, aware datetime, date, UUID, Enum, and
        mappings, lists, tuples, sets of these.  ``where`` names the value in an error, as in
        ``details.model.size``.  Raises InvalidEvent for anything else, and RecordTooLarge as soon
        as the texts are longer than a record.
        """
        return self._clean(value, where, 0, [self._most_bytes])

    def plain_members(self, value: dict[Any, Any]) -> str | None:
        """The members of a flat mapping as JSON, where each is judged by itself alone.

        None: clean has to look.  Nearly every event's details are flat, under known keys.
        """
        value = value.copy()  # another thread may change the caller's
        if not self._keys.issuperset(value):
            return None
        known, odd = self.known, self.odd
        unknown: list[str] = []
        for key, item in value.items():
            kind = item.__class__
            if kind is str:
                if (len(item) >= PLAIN_LENGTH or odd(item) is not None) and item not in known:
                    if len(item) > _MAX_REMEMBERED_LENGTH or not item.isascii():
                        return None
                    unknown.append(key)
            elif not (
                (kind is int and -(2**63) <= item < 2**63)
                or item is None
                or kind is bool
                or (kind is float and item - item == 0.0)
            ):
                return None
        for key in unknown:  # only now, as what is replaced is counted
            value[key] = self._clean(value[key], key, 1, [self._most_bytes])
        try:
            return orjson.dumps(value)[1:-1].decode()
        except TypeError:  # a key of a class of its own
            return None

    def explain(self, text: str) -> list[Replaced]:
        """List what would be replaced in a text, and by which rule."""
        return self._texts.replacements(text)

    def counted(self) -> dict[str, int]:
        """How often each rule fired until now."""
        return self._texts.counted()

    # Values -----------------------------------------------------------------------------------

    def _clean(self, value: Any, where: str, depth: int, room: list[int]) -> Any:
        kind = type(value)
        if kind is str:
            if len(value) < PLAIN_LENGTH and self.odd(value) is None:
                return value
            if _COUNTED_LENGTH < len(value) <= self._most_bytes:
                _take(room, len(value), where)
            elif value in self.known:
                return value
            cleaned = self._full(value, where)
            if cleaned == value and len(value) <= _MAX_REMEMBERED_LENGTH:
                _make_room(self.known)
                self.known[value] = escape(value)
            return cleaned
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
            raise InvalidEvent(
                f"{where} is nested deeper than {MAX_DEPTH} levels or contains itself"
            )
        if kind is dict or isinstance(value, Mapping):
            _take(room, len(value), where)
            return self._clean_mapping(value, where, depth, room)
        if isinstance(value, (list, tuple)):
            _take(room, len(value), where)
            return self._clean_list(value, where, depth, room)
        if isinstance(value, (set, frozenset)):
            _take(room, len(value), where)
            items = (self._clean(item, where, depth + 1, room) for item in value)
            return sorted(items, key=orjson.dumps)
        return self._clean_scalar(value, where, depth, room)

    def _clean_mapping(
        self, value: Mapping[Any, Any], where: str, depth: int, room: list[int]
    ) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        special = False
        known_keys, known, odd = self._keys, self.known, self.odd
        for key, item in value.items():
            if key.__class__ is str and key in known_keys and key not in cleaned:
                kind = item.__class__  # common values need no call and no path
                if (
                    kind is str
                    and (item in known or (len(item) < PLAIN_LENGTH and odd(item) is None))
                ) or (kind is int and 0 <= item < 2**63):
                    cleaned[key] = item
                else:
                    cleaned[key] = self._clean(item, f"{where}.{key}", depth + 1, room)
            else:
                name, kept = self._clean_member(key, item, where, depth, room)
                special = special or name.lower() in _SPECIAL
                number = 1
                while name in cleaned:  # two keys that became equal by cleaning
                    number += 1
                    name = f"{name.partition('~')[0]}~{number}"
                cleaned[name] = kept
        if special and "structures" in self._classes:
            self._hide_named(value, cleaned)
        return cleaned

    def _clean_member(
        self, key: object, item: object, where: str, depth: int, room: list[int]
    ) -> tuple[str, Any]:
        if not isinstance(key, str):
            raise InvalidEvent(
                f"{where} has a key that is not a string but {type(key).__name__}",
                hint="JSON has string keys only.",
            )
        key = str.__str__(key)
        name = self.text(key, f"a key of {where}")
        kept = self._clean(item, f"{where}.{name}", depth + 1, room)
        found = self._meaning(key) if "keys" in self._classes and len(key) <= 256 else None
        if found is not None:
            return name, self._hide(found, key, item, kept)
        if name == key and len(key) <= _MAX_REMEMBERED_LENGTH and key.lower() not in _SPECIAL:
            _make_room(self._keys)
            self._keys.add(key)
        return name, kept

    def _hide(self, found: Meaning, key: str, given: Any, kept: Any) -> Any:
        """Redact the value of a secret key; ``kept`` is the same value, checked and cleaned."""
        if kept is None or isinstance(kept, bool):
            return kept
        if isinstance(kept, str):
            return self._hide_text(
                found, key, str.__str__(given) if isinstance(given, str) else kept, kept
            )
        if isinstance(kept, (int, float)):
            return self._hidden(found.kind, str(kept)) if hides(found, key, str(kept)) else kept
        if isinstance(kept, list):
            items = given if isinstance(given, (list, tuple)) else kept
            return [self._hide(found, key, *pair) for pair in zip(items, kept, strict=True)]
        shape = given if isinstance(given, Mapping) else kept
        hidden: dict[str, Any] = {}
        for (name, item), (_, own) in zip(kept.items(), shape.items(), strict=True):
            inner = self._meaning(f"secret {name}")
            hidden[name] = item if inner is None else self._hide(found, key, own, item)
        return hidden

    def _hide_text(self, found: Meaning, key: str, given: str, kept: str) -> str:
        if not hides(found, key, given):
            return kept
        if found.kind == "cookie" and "=" in given:
            hits = cookie_values(given, 0, len(given))
            if hits:
                return self._replaced(given, self._resolved(given, hits))
        if found.kind == "credentials" and (scheme := _SCHEME.match(given)) is not None:
            secret = given[scheme.end() :]
            if is_redacted(secret):
                return given
            # The scheme is one of a few known words: only its blanks may be strange.
            return f"{scheme[0].split()[0]} {self._hidden(found.kind, secret)}"
        return self._hidden(found.kind, given)

    def _hide_named(self, given: Mapping[Any, Any], cleaned: dict[str, Any]) -> None:
        for key, found in named_members(given, self._meaning).items():
            if key in cleaned:
                item = given[key]
                if isinstance(item, str) and (
                    is_fact(item) or (item.isalpha() and found.kind not in NO_DERIVATIVE)
                ):
                    continue
                cleaned[key] = self._hide(found, key, item, cleaned[key])
        for key, columns in secret_columns(given, self._meaning).items():
            for row, own in zip(cleaned[key], given[key], strict=True):
                for index, found in columns.items():
                    row[index] = self._hide(found, "", own[index], row[index])

    def _clean_list(
        self, value: list[Any] | tuple[Any, ...], where: str, depth: int, room: list[int]
    ) -> list[Any]:
        cleaned = [
            self._clean(item, f"{where}[{index}]", depth + 1, room)
            for index, item in enumerate(value)
        ]
        if "structures" not in self._classes or not value:
            return cleaned
        if paired(value):
            for item, own in zip(cleaned, value, strict=True):
                found = self._meaning(own[0])
                if found is not None and found.sure:
                    item[1] = self._hide(found, own[0], own[1], item[1])
        elif len(value) > 1:
            whole: dict[int, list[Hit]] = {}
            for index, start, end, rule in secret_items(value, self._meaning):
                whole.setdefault(index, []).append((start, end, rule))
            for index, hits in whole.items():
                cleaned[index] = self._replaced(value[index], self._resolved(value[index], hits))
        return cleaned

    def _clean_scalar(self, value: Any, where: str, depth: int, room: list[int]) -> Any:
        """The types that are looked for last: subclasses, and what JSON writes as a string."""
        if isinstance(value, Enum):
            return self._clean(value.value, where, depth + 1, room)
        if isinstance(value, str):
            return self._clean(str.__str__(value), where, depth, room)
        if isinstance(value, int):
            return self._clean(int(value), where, depth + 1, room)
        if isinstance(value, float):
            return self._clean(float(value), where, depth + 1, room)
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


def _redact_json(text: str, around: TextRedactor) -> str:
    """Redact JSON inside a text by its structure."""
    start = text.lstrip()[:1]
    if start not in ("{", "[", '"') or len(text) < 6:
        return text
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    inner = Redactor(
        around.policy, around.key, visible=False, most_bytes=around.most_bytes, around=around
    )
    if isinstance(parsed, str):
        redacted = inner._texts.redacted(parsed)  # noqa: SLF001  (its own kind)
        return text if redacted == parsed else orjson.dumps(redacted).decode()
    if not isinstance(parsed, (dict, list)):
        return text
    try:
        cleaned = inner.clean(parsed, "")
    except (InvalidEvent, RecordTooLarge):
        return text
    return text if cleaned == parsed else with_numbers_of(text, cleaned).decode()


def escape(text: str) -> str:
    """The text as JSON, less its quotes."""
    return orjson.dumps(text)[1:-1].decode()


def _always(_text: str) -> object:
    return True


def _take(room: list[int], size: int, where: str) -> None:
    room[0] -= size
    if room[0] < 0:
        raise RecordTooLarge(
            f"up to {where} the event has more than {MAX_RECORD_BYTES - room[0] - 1} bytes,"
            f" {MAX_RECORD_BYTES} are allowed",
            hint="Log a length and a hash instead.",
        )


def _make_room(known: set[str] | dict[str, str]) -> None:
    if len(known) >= _MAX_REMEMBERED:
        known.clear()


KEYLESS: Final = Redactor()
"""The default policy without a key, for messages about events."""

UNCUT: Final = Redactor(visible=False)
"""As KEYLESS, for a text that is cut short and then cleaned by its log's own redactor."""

CHECKER: Final = Redactor(Policy(classes=frozenset()), visible=False)
"""Checks and copies values that are cleaned later, and redacts nothing."""
