"""Find byte strings that every matching line contains, to avoid parsing others.  Pure.

A needle is necessary, never sufficient: the predicate decides.  JSON can write one text in several
ways; the writer's is the shortest one, and a line that escapes what need not be (``\\u0061``,
``\\/``) contains one of ESCAPES and is looked at whatever the needles say.

Invariants (tests of the same name in tests/auditlog/query/test_needles.py):
  necessary   every line that answers a question contains one of its needles or of ESCAPES
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import orjson

from auditlog.query.predicate import number_of
from auditlog.query.syntax import And, Or, Query, Test, WordTest

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ESCAPES", "Needles", "needles"]

Needles = tuple[bytes, ...]
"""Every match contains one of them; an empty tuple means that every line must be parsed."""

ESCAPES: Final = (b"\\u", b"\\/")

_MAX_ALTERNATIVES: Final = 16
_MIN_BYTES: Final = 4  # shorter ones are in nearly every line
# Members whose spelling the format fixes; see auditlog.format.record.
_FIXED: Final = frozenset({"log", "event_type", "@timestamp", "hash", "prev_hash"})
_PLAIN_PATTERN: Final = re.compile(r"\^?([\w /:@,;%&=<>!#-]+)\$?", re.ASCII)


def needles(query: Query) -> Needles:
    """Return the byte strings of which every matching line contains one.

    >>> from auditlog.query.syntax import parse
    >>> needles(parse("details.tries>3 actor=alice"))
    (b'"alice"',)
    """
    found = _needles(query)
    return found if _worth(found)[0] >= _MIN_BYTES else ()


def _needles(query: Query) -> Needles:
    match query:
        case And(parts):
            return max(map(_needles, parts), key=_worth)
        case Or(parts):
            return _any_of(map(_needles, parts))
        case WordTest(text):
            return (_inside(text),)
        case Test():
            return _of_test(query)
        case _:
            return ()


def _of_test(test: Test) -> Needles:
    if test.op in ("!=", "!~"):
        return ()
    if test.op == "=":
        return _equal(test)
    plain = _PLAIN_PATTERN.fullmatch(test.value) if test.op == "~" else None
    return (_inside(plain[1]),) if plain else _key(test.field)


def _equal(test: Test) -> Needles:
    text = orjson.dumps(test.value)
    if test.field in _FIXED:
        return (b'"%b":%b' % (test.field.encode(), text),)
    if test.quoted:
        return (text,)
    if test.field == "seq":
        whole = re.fullmatch(r"[1-9][0-9]*", test.value)
        return (b'"seq":%b,' % test.value.encode(),) if whole else ()
    if number_of(test.value) is not None or test.value in ("true", "false", "null"):
        return _key(test.field)  # a number can be written in many ways
    return (text,)


def _key(field: str) -> Needles:
    """The name of a field that the caller chose; the library's are in every line."""
    if not field.startswith("details."):
        return ()
    return (_inside(field.rpartition(".")[2]) + b'"',)


def _inside(text: str) -> bytes:
    return orjson.dumps(text)[1:-1]


def _any_of(alternatives: Iterable[Needles]) -> Needles:
    found: list[bytes] = []
    for one in alternatives:
        if not one:
            return ()
        found += one
    unique = tuple(dict.fromkeys(found))
    return unique if len(unique) <= _MAX_ALTERNATIVES else ()


def _worth(found: Needles) -> tuple[int, int]:
    return (min(map(len, found), default=0), -len(found))
