"""Decide whether a record matches a query.  Pure: no clock, disk, network, logging.

    field=value     some value at the field is that text; a bare 42, true or null is also the number
    field~regex     some text there has a match (Python's re, anywhere in it), found within a second
    field<value     a bare number compares with numbers, everything else with texts by code point
    !=  !~          the opposite, so true also where there is no such field
    word            some text or whole number anywhere in the record contains it

A field is a path: ``details.gpu.id`` finds {"gpu":{"id":1}}, {"gpu.id":1} and, in lists, each of
their elements.

Invariants (tests of the same name in tests/auditlog/query/test_predicate.py):
  opposite   != is true exactly where = is not, !~ exactly where ~ is not
  naive      every answer is that of a plain walk over the parsed record
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from auditlog.query.pattern_time import searcher
from auditlog.query.syntax import All, And, Not, Or, Query, Test, WordTest

if TYPE_CHECKING:
    from auditlog.format.record import Record

__all__ = ["Predicate", "number_of", "predicate", "text_of", "values_at"]

Predicate = Callable[["Record"], bool]
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# Read off the line without parsing its JSON.
_IN_HEADER: Final[dict[str, Callable[[Record], Any]]] = {
    "log": lambda record: record.log,
    "seq": lambda record: record.seq,
    "@timestamp": lambda record: record.header.timestamp,
    "event_type": lambda record: record.event_type,
    "hash": lambda record: record.hash,
    "prev_hash": lambda record: record.prev_hash,
}


def predicate(query: Query) -> Predicate:
    """Compile a query to a function of a record.  It raises LogDamaged for invalid JSON."""
    match query:
        case All():
            return lambda _record: True
        case WordTest(text):
            return lambda record: any(text in leaf for leaf in _texts(record.fields))
        case Not(part):
            inner = predicate(part)
            return lambda record: not inner(record)
        case And(parts):
            wanted = [predicate(part) for part in parts]
            return lambda record: all(holds(record) for holds in wanted)
        case Or(parts):
            alternatives = [predicate(part) for part in parts]
            return lambda record: any(holds(record) for holds in alternatives)
        case Test():
            return _test(query)


def _test(test: Test) -> Predicate:
    if test.op in ("!=", "!~"):
        positive = _test(Test(test.field, "=" if test.op == "!=" else "~", test.value, test.quoted))
        return lambda record: not positive(record)
    holds = _comparison(test)
    if (read := _IN_HEADER.get(test.field)) is not None:
        return lambda record: holds(read(record))
    path = test.field
    return lambda record: any(holds(value) for value in values_at(record.fields, path))


def _comparison(test: Test) -> Callable[[Any], bool]:
    value = test.value
    number = None if test.quoted else number_of(value)
    if test.op == "~":
        search = searcher(value)
        return lambda found: (text := text_of(found)) is not None and search(text)
    if test.op == "=":
        word = _WORDS.get(value, _WORDS) if not test.quoted else _WORDS
        return lambda found: (
            found == value
            if isinstance(found, str)
            else found is word or (number is not None and _is_number(found) and found == number)
        )
    order = _ORDERS[test.op]
    if number is not None:
        return lambda found: _is_number(found) and order(found, number)
    return lambda found: isinstance(found, str) and order(found, value)


def number_of(text: str) -> int | float | None:
    """The number that a text is in JSON, or None."""
    if _NUMBER.fullmatch(text) is None or len(text) > 400:
        return None
    number: int | float = json.loads(text)
    return number


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def text_of(value: Any) -> str | None:
    """Return the text that ``~`` and words search: a string, true or false, or a whole number.

    None for anything else; fractions have several spellings (1e2, 100.0).
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


def values_at(value: Any, path: str) -> Iterator[Any]:
    """Every value that the path leads to; see the module's header."""
    if isinstance(value, list):
        for element in _elements(value):
            yield from values_at(element, path)
    elif isinstance(value, dict):
        if path in value:
            yield from _elements(value[path])
        end = path.find(".")
        while end > 0:
            if (head := path[:end]) in value:
                yield from values_at(value[head], path[end + 1 :])
            end = path.find(".", end + 1)


# A record that somebody else has put into a sink is nested deeper than Python can recurse.
def _elements(value: Any) -> Iterator[Any]:
    rest = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, list):
            rest += reversed(each)
        else:
            yield each


def _texts(value: Any) -> Iterator[str]:
    rest = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, dict):
            rest += each.values()
        elif isinstance(each, list):
            rest += each
        elif (text := text_of(each)) is not None:
            yield text
