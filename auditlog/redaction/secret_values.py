"""Decide which values under the key of a secret are secrets, and where a quoted one ends.  Pure.

Invariants (tests of the same name in tests/auditlog/redaction/test_secret_values.py):
  number    a number is a secret only where the key asks for one
  cookie    the names and attributes of a cookie are no secrets, its values are
  quoted    a quoted value ends at the first quote that is not escaped
"""

from __future__ import annotations

import re
from typing import Final

from auditlog.redaction.key_meaning import Meaning
from auditlog.redaction.looks import (
    guessed_password,
    is_fact,
    is_masked,
    is_redacted,
    looks_random,
)

__all__ = ["LETTERS", "OPENING", "PATH", "Hit", "cookie_values", "hides", "is_number", "quoted"]

Hit = tuple[int, int, str]
"""Where a secret starts and ends, and the rule that found it."""

OPENING: Final = re.compile(r"(?:[bBrRuUfFnNeE]{1,2}(?=[\"']))?(\\{0,7}[\"'`])")
LETTERS: Final = re.compile(r"[^\W\d_]{1,24}[.,:;!?)]{0,2}")
PATH: Final = re.compile(r"[/~.]|[A-Za-z]:[\\/]")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)*%?(?:ms|us|ns|s|m|h|d|k|K|M|x)?")
_ENTRY: Final = re.compile(r"([^=;,\s]{1,128})=([^;\s]{1,8192})")
_COOKIE_ATTRIBUTES: Final = frozenset(
    ["path", "domain", "expires", "max-age", "samesite", "priority", "version"]
)


def is_number(text: str) -> bool:
    """Whether the text is a number, perhaps with a unit."""
    return _NUMBER.fullmatch(text) is not None


def hides(found: Meaning, key: str, value: str) -> bool:
    """Whether a value under a key of this meaning must be hidden."""
    if not value or is_redacted(value) or is_masked(value):
        return False
    kind = found.kind
    if is_number(value):
        return _hides_number(found, key, value)
    if kind == "password" and key.lower().endswith("pwd") and PATH.match(value):
        return False
    if not found.sure:
        return looks_random(value) or (kind == "password" and guessed_password(value))
    return not (kind == "credentials" and is_fact(value))


def _hides_number(found: Meaning, key: str, value: str) -> bool:
    kind = found.kind
    if kind == "custom":
        return True
    if kind in ("pin", "otp", "cvv", "card", "iban", "identity_number"):
        return len(value) >= 3 and value.isdigit()
    if kind == "password":
        return key.lower() not in ("pass", "passes") and found.sure
    if found.plural or kind in ("prompt", "secret_url", "cookie"):
        return False
    return value.isdigit() and len(value) >= 4 and found.sure


def cookie_values(text: str, start: int, end: int) -> list[Hit]:
    """The values of a Cookie or Set-Cookie header; names and attributes are no secrets."""
    hits = [
        (match.start(2), match.end(2), "cookie")
        for match in _ENTRY.finditer(text, start, end)
        if match[1].lower() not in _COOKIE_ATTRIBUTES and not is_redacted(match[2])
    ]
    if not hits and not is_redacted(text[start:end]) and text.find("=", start, end) < 0:
        return [(start, end, "cookie")]
    return hits


def quoted(text: str, opened: re.Match[str]) -> tuple[int, int]:
    """The span between an opening quote and the one that closes it, or the end of the text."""
    quote = opened[1]
    start = position = opened.end()
    while True:
        end = text.find(quote, position)
        if end < 0:
            return start, len(text)
        backslashes = end
        while backslashes > start and text[backslashes - 1] == "\\":
            backslashes -= 1
        if (end - backslashes) % 2 == 0:
            return start, end
        position = end + len(quote)
