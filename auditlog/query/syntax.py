"""Parse a query into a tree.  Pure: no clock, disk, network, logging.

    actor.user_id=alice and (event_type~^auth_ or details.tries>3) not outcome=success

    question  the whole text; an empty one is answered by every record
    or        alternatives                    a=1 or b=2
    and       all of them; the word may be left out, as between a=1 b=2
    not       the opposite of what follows
    test      field = != ~ !~ < <= > >= value
    word      a value alone: some text of the record contains it

A value ends at a space or a parenthesis, or stands in quotes of either kind; there only ``\\"`` and
``\\\\`` (of the quote it stands in, and of the backslash) are escapes, so that expressions keep
their own.

Invariants (tests of the same name in tests/auditlog/query/test_syntax.py):
  round_trip   a tree written as text is read as the same tree
  refused      what cannot be understood is refused with its place, never guessed
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from auditlog.errors import QueryError
from auditlog.events.members import aliases, members

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "All",
    "And",
    "Not",
    "Op",
    "Or",
    "Query",
    "Test",
    "WordTest",
    "conjuncts",
    "parse",
    "resolve_name",
]

Op = Literal["=", "!=", "~", "!~", "<", "<=", ">", ">="]

_SYNTAX: Final = "See auditctl search --help, or docs/investigate.md."
_MAX_DEPTH: Final = 100
_OPS: Final[tuple[Op, ...]] = ("!=", "!~", "<=", ">=", "=", "~", "<", ">")
_NAME: Final = re.compile(r"[^\s()\"'=!~<>]+")
_BARE: Final = re.compile(r"[^\s()\"'][^\s()]*")
_SPACE: Final = re.compile(r"\s*")

FIELDS: Final = tuple(member.path for member in members())
"""Fields that a query may name, besides those below ``details``, which are the caller's own."""

ALIASES: Final = {
    # Short names for the fields that are searched most.
    "actor": "actor.user_id",
    "resource": "resource.resource_id",
    "timestamp": "@timestamp",
    # The names of the Elastic Common Schema, as the index has them.
    **{name: member.path for name, member in aliases().items()},
}


@dataclass(frozen=True, slots=True)
class Test:
    """A field compared with a value; ``quoted`` means that the value is text, whatever it says."""

    __test__ = False  # not one of pytest's

    field: str
    op: Op
    value: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class WordTest:
    """Some text or whole number in the record contains it."""

    text: str


@dataclass(frozen=True, slots=True)
class Not:
    part: Query


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Every record."""


Query = Test | WordTest | Not | And | Or | All


def parse(text: str) -> Query:
    """The tree of a question.  Raises QueryError, naming the character.

    >>> parse("actor=alice seq>7")
    And(parts=(Test(field='actor.user_id', op='=', value='alice', quoted=False), \
Test(field='seq', op='>', value='7', quoted=False)))
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _wrong("it is not valid UTF-8", error.start) from None
    reader = _Parser(text)
    if reader.at_end():
        return All()
    query = reader.alternatives(0)
    if not reader.at_end():
        raise _wrong("a closing parenthesis has no opening one", reader.at)
    return query


def conjuncts(query: Query) -> Iterator[Test]:
    """Return the tests that every match passes."""
    if isinstance(query, Test):
        yield query
    elif isinstance(query, And):
        for part in query.parts:
            yield from conjuncts(part)


def resolve_name(name: str, at: int = 0) -> str:
    """The field that a name stands for.  Raises QueryError with the nearest one."""
    name = ALIASES.get(name, name)
    if name.split(".")[0] in FIELDS and not name.endswith("."):
        return name
    known = [*FIELDS, *ALIASES, "actor.user_id", "actor.ip", "resource.resource_id"]
    near = difflib.get_close_matches(name, known, cutoff=0.5)
    meant = f"Did you mean {near[0]}? " if near else ""
    raise QueryError(
        f"there is no field {name!r} (character {at + 1})",
        hint=f"{meant}What a service adds of its own is below details, as in details.{name}.",
    )


def _wrong(reason: str, at: int) -> QueryError:
    return QueryError(
        f"the query cannot be understood: {reason} (character {at + 1})", hint=_SYNTAX
    )


class _Parser:
    """Reads the text from left to right; ``at`` is the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def at_end(self) -> bool:
        self._skip()
        return self.at == len(self._text)

    def alternatives(self, depth: int) -> Query:
        if depth > _MAX_DEPTH:
            raise _wrong(f"more than {_MAX_DEPTH} parentheses in each other", self.at)
        parts = [self._all_of(depth)]
        while self._take_word("or"):
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all_of(self, depth: int) -> Query:
        parts = [self._negated(depth)]
        while True:
            said = self._take_word("and")
            if not said and (self.at_end() or self._peek() == ")" or self._is_word("or")):
                break
            parts.append(self._negated(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negated(self, depth: int) -> Query:
        negated = False
        while self._take_word("not"):
            negated = not negated
        part = self._single(depth)
        return Not(part) if negated else part

    def _single(self, depth: int) -> Query:
        if self.at_end():
            raise _wrong("it ends where a condition is expected", self.at)
        if self._peek() == "(":
            opened = self.at
            self.at += 1
            inner = self.alternatives(depth + 1)
            if self.at_end():
                raise _wrong("a parenthesis is not closed", opened)
            self.at += 1
            return inner
        for word in ("and", "or"):
            if self._is_word(word):
                raise _wrong(f"{word} stands where a condition is expected", self.at)
        if self._peek() in "\"'":
            return self._word(self._quoted())
        return self._test_or_word()

    def _test_or_word(self) -> Query:
        begin = self.at
        name = _NAME.match(self._text, begin)
        after = self._text[name.end() :] if name else ""
        op = next((op for op in _OPS if after.startswith(op)), None)
        if name is None or op is None:
            bare = _BARE.match(self._text, begin)
            if name is None or bare is None or bare.end() != name.end():
                raise _wrong(f"{self._text[begin]!r} stands where a condition is expected", begin)
            self.at = bare.end()
            return self._word(bare[0])
        self.at = name.end() + len(op)
        field = resolve_name(name[0], begin)
        return _checked(Test(field, op, *self._value(name[0] + op)), begin)

    def _value(self, after: str) -> tuple[str, bool]:
        if self.at < len(self._text) and self._peek() in "\"'":
            return self._quoted(), True
        bare = _BARE.match(self._text, self.at)
        if bare is None:
            raise _wrong(f'{after} needs a value; "" is the empty one', self.at)
        self.at = bare.end()
        return bare[0], False

    def _quoted(self) -> str:
        quote = self._peek()
        begin = self.at
        made: list[str] = []
        self.at += 1
        while self.at < len(self._text):
            character = self._text[self.at]
            following = self._text[self.at + 1 : self.at + 2]
            if character == quote:
                self.at += 1
                return "".join(made)
            if character == "\\" and following and following in (quote, "\\"):
                character = following
                self.at += 1
            made.append(character)
            self.at += 1
        raise _wrong("a quote is not closed", begin)

    def _word(self, text: str) -> WordTest:
        if not text:
            raise _wrong("an empty text stands in every record", self.at)
        return WordTest(text)

    def _peek(self) -> str:
        return self._text[self.at]

    def _is_word(self, word: str) -> bool:
        self._skip()
        found = _BARE.match(self._text, self.at)
        return found is not None and found[0] in (word, word.upper())

    def _take_word(self, word: str) -> bool:
        taken = self._is_word(word)
        if taken:
            self.at += len(word)
        return taken

    def _skip(self) -> None:
        skipped = _SPACE.match(self._text, self.at)
        self.at = skipped.end() if skipped else self.at


def _checked(test: Test, at: int) -> Test:
    if test.op in ("~", "!~"):
        try:
            re.compile(test.value)
        except re.error as error:
            raise _wrong(f"{test.value!r} is not a regular expression ({error.msg})", at) from None
        except RecursionError:
            raise _wrong("the regular expression is nested too deeply", at) from None
    if test.field == "@timestamp" and test.op in ("<", "<=", ">", ">="):
        # Text compares as text: what does not begin like a date would be true or false for all.
        if re.match(r"[0-9]{4}(-|$)", test.value) is None:
            raise _wrong("@timestamp needs a time such as 2026-11-23T07", at)
        return Test(test.field, test.op, test.value, quoted=True)
    return test
