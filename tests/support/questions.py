"""Records and questions for hypothesis, and the answer of somebody who reads every line.

draw(queries)        a tree of auditlog.query.syntax
as_text(tree)        how a person would write it
naive(tree, line)    whether the record answers it: json.loads and a plain walk, nothing of ours
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from hypothesis import strategies as st

from auditlog.query.syntax import All, And, Not, Or, Query, Test, WordTest

__all__ = ["as_text", "bodies", "naive", "queries", "values"]

WORDS: Final = (
    "alice",
    "bob",
    "auth",
    "7",
    "42",
    "4.5",
    "1e2",
    "true",
    "null",
    "a b",
    'q"\\',
    "é/x",
    "x\ny",
)
# Drawn so, and not filtered: with many texts in an example nearly none would pass.
_printable = st.characters(exclude_categories=["C", "Z"]) | st.just(" ")
texts = st.sampled_from(WORDS) | st.text(_printable, max_size=6)
numbers = st.sampled_from([7, 42, 4.5, 100.0, -1, 2**53 + 1]) | st.integers(-(2**40), 2**40)
leaves = texts | numbers | st.booleans() | st.none()
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "a.b", "tries"]), inner, max_size=3)
    ),
    max_leaves=6,
)

bodies = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(["auth_failure", "auth_success", "pool.drained"]),
        "actor": st.fixed_dictionaries({"user_id": texts}) | st.none(),
        "outcome": st.sampled_from(["success", "failure"]),
        "details": st.dictionaries(st.sampled_from(["a", "b", "a.b", "tries"]), values, max_size=3),
    }
)
"""Arguments of make_line besides the log and the number."""

_fields = st.sampled_from(
    ["event_type", "actor.user_id", "outcome", "seq", "log", "details.a", "details.a.b",
     "details.tries", "details.b", "severity", "@timestamp"]
)  # fmt: skip
_patterns = st.sampled_from(
    ["^auth_", "failure$", "a|b", "[0-9]+", "alice", "^$", ".", "l{1}", "a b"]
)
_written = (
    texts
    | numbers.map(json.dumps)
    | st.sampled_from(["auth_failure", "queen-rbee@hive1", "failure"])
)


@st.composite
def _tests(draw: st.DrawFn) -> Test:
    field = draw(_fields)
    op = draw(st.sampled_from(["=", "!=", "~", "!~", "<", "<=", ">", ">="]))
    if op in ("~", "!~"):
        return Test(field, op, draw(_patterns), quoted=draw(st.booleans()))
    if field == "@timestamp" and op not in ("=", "!="):
        return Test(field, op, "2026-11-23T07:12:03", quoted=True)
    return Test(field, op, draw(_written), quoted=draw(st.booleans()))


queries: st.SearchStrategy[Query] = st.recursive(
    _tests() | (st.sampled_from(WORDS) | st.text(_printable, min_size=1, max_size=6)).map(WordTest),
    lambda inner: (
        inner.map(Not)
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: And(tuple(parts)))
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts)))
    ),
    max_leaves=5,
)


def as_text(query: Query) -> str:
    match query:
        case All():
            return ""
        case WordTest(text):
            return _quote(text)
        case Not(part):
            return f"not ({as_text(part)})"
        case And(parts):
            return " ".join(f"({as_text(part)})" for part in parts)
        case Or(parts):
            return " or ".join(f"({as_text(part)})" for part in parts)
        case Test(field, op, value, quoted):
            bare = not quoted and re.fullmatch(r"[^\s()\"'][^\s()]*", value)
            return f"{field}{op}{value if bare else _quote(value)}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def naive(query: Query, line: bytes) -> bool:
    record = json.loads(line)
    return _holds(query, record)


def _holds(query: Query, record: dict[str, Any]) -> bool:  # noqa: PLR0911  (one for each kind)
    match query:
        case All():
            return True
        case WordTest(text):
            return any(text in (_text(leaf) or "") for leaf in _leaves(record))
        case Not(part):
            return not _holds(part, record)
        case And(parts):
            return all(_holds(part, record) for part in parts)
        case Or(parts):
            return any(_holds(part, record) for part in parts)
        case Test(field, op, value, quoted):
            if op.startswith("!"):
                return not _holds(Test(field, op[1:] or "=", value, quoted), record)  # type: ignore[arg-type]  # "=" or "~"
            return any(_passes(op, value, quoted, leaf) for leaf in _at(record, field.split(".")))


def _passes(op: str, value: str, quoted: bool, leaf: Any) -> bool:
    said = value if quoted else _parsed(value)
    if op == "~":
        text = _text(leaf)
        return text is not None and re.search(value, text) is not None
    if op == "=":
        return leaf == value or (type(leaf) is bool, leaf) == (type(said) is bool, said)
    other: Any = said if _numeric(said) else value
    if isinstance(leaf, bool) or not isinstance(leaf, (str, int, float)):
        return False
    if _numeric(other) != _numeric(leaf):
        return False
    return {"<": leaf < other, "<=": leaf <= other, ">": leaf > other, ">=": leaf >= other}[op]


def _parsed(value: str) -> Any:
    """The number, true, false or null that a bare value is; else the text itself."""
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return value if isinstance(parsed, (str, list, dict)) else parsed


def _numeric(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(leaf: Any) -> str | None:
    if isinstance(leaf, (bool, int)):
        return json.dumps(leaf)
    return leaf if isinstance(leaf, str) else None


def _at(value: Any, path: list[str]) -> list[Any]:
    """Every way to take the path apart; a list stands for each of its elements."""
    if isinstance(value, list):
        return [leaf for element in value for leaf in _at(element, path)]
    if not path:
        return [value]
    found = []
    if isinstance(value, dict):
        for count in range(1, len(path) + 1):
            key = ".".join(path[:count])
            if key in value:
                found += _at(value[key], path[count:])
    return found


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]
