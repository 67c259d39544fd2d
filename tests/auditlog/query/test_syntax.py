from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import QueryError
from auditlog.query import syntax
from auditlog.query.syntax import (
    All,
    And,
    Not,
    Or,
    Query,
    Test,
    WordTest,
    conjuncts,
    parse,
    resolve_name,
)
from tests.support.questions import as_text, queries


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(syntax).failed == 0


def normal(query: Query) -> Query:
    """Two negations are none, and quotes around what needs them leave no trace but themselves."""
    match query:
        case Not(part):
            inner = normal(part)
            return inner.part if isinstance(inner, Not) else Not(inner)
        case And(parts):
            return And(tuple(map(normal, parts)))
        case Or(parts):
            return Or(tuple(map(normal, parts)))
        case _:
            return query


@given(query=queries)
def test_round_trip(query: Query) -> None:
    text = as_text(query)
    again = parse(text)
    assert normal(parse(as_text(again))) == normal(again)
    assert as_text(normal(again)) == as_text(normal(query))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", All()),
        ("  ", All()),
        ("a-word", WordTest("a-word")),
        ("actor=alice", Test("actor.user_id", "=", "alice")),
        ("user.id='a b'", Test("actor.user_id", "=", "a b", quoted=True)),
        ("details.url=http://x/?a=b&c<d", Test("details.url", "=", "http://x/?a=b&c<d")),
        (r'reason~"\d+ \"times\""', Test("reason", "~", r'\d+ "times"', quoted=True)),
        ("seq>=7 and not log=x", And((Test("seq", ">=", "7"), Not(Test("log", "=", "x"))))),
        ("one or two three", Or((WordTest("one"), And((WordTest("two"), WordTest("three")))))),
        ("(one OR two) three", And((Or((WordTest("one"), WordTest("two"))), WordTest("three")))),
        ("not not x", WordTest("x")),
        ("not not not x", Not(WordTest("x"))),
        ("(one)(two)", And((WordTest("one"), WordTest("two")))),
        ('"and"', WordTest("and")),
        ('reason=""', Test("reason", "=", "", quoted=True)),
        ("@timestamp>2026-11-23", Test("@timestamp", ">", "2026-11-23", quoted=True)),
    ],
)  # fmt: skip
def test_what_a_text_means(text: str, query: Query) -> None:
    assert parse(text) == query


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v=", "v= needs a value"),
        ("v=1 and", "a condition is expected \\(character 8\\)"),
        ("or v=1", "or stands where a condition is expected \\(character 1\\)"),
        ("v=1 or or v=2", "or stands where"),
        ("(v=1", "not closed \\(character 1\\)"),
        ("v=1)", "has no opening one \\(character 4\\)"),
        ("()", "'\\)' stands where"),
        ("v='1", "a quote is not closed \\(character 3\\)"),
        ("=1", "'=' stands where a condition is expected"),
        ("not", "a condition is expected"),
        ('""', "an empty text stands in every record"),
        ("reason~[", "is not a regular expression"),
        ("evnt_type=x", "Did you mean event_type\\?"),
        ("tries=3", "as in details.tries"),
        ("details.=3", "no field"),
        ("@timestamp>yesterday", "a time such as 2026-11-23"),
        ("(" * 101 + "v=1" + ")" * 101, "more than 100 parentheses"),
        ("\udcff", "not valid UTF-8"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        parse(text)


def test_a_hundred_parentheses_are_understood() -> None:
    assert parse("(" * 100 + "v=1" + ")" * 100) == Test("v", "=", "1")


def test_a_name_by_itself_stands_at_the_first_character() -> None:
    with pytest.raises(QueryError, match="\\(character 1\\)"):
        resolve_name("evnt_type")


@given(text=st.text(alphabet="()\"'=!~<>\\ abor andnot.1é", max_size=20))
def test_refused_or_understood_and_nothing_else(text: str) -> None:
    try:
        parse(text)
    except QueryError as error:
        reason = error.reason
    else:
        reason = "(character 0)"
    assert "(character " in reason


def test_conjuncts_are_what_every_answer_passes() -> None:
    tests = [*conjuncts(parse("v=1 (log=a or log=b) not seq=3 (seq>1 outcome=success)"))]
    assert [test.field for test in tests] == ["v", "seq", "outcome"]
