"""Find the secrets in statements of SQL: IDENTIFIED BY, PASSWORD 'x', INSERT INTO … VALUES.  Pure.

Invariants (tests of the same name in tests/auditlog/redaction/test_sql.py):
  found     the value of a secret column or clause is found in every row
  kept      the values of the other columns are kept
"""

from __future__ import annotations

import re
from typing import Final

from auditlog.redaction.looks import is_redacted
from auditlog.redaction.pairs import Judge
from auditlog.redaction.secret_values import LETTERS, OPENING, Hit, hides, quoted

__all__ = ["find_sql"]

_QUOTED_AFTER: Final = re.compile(r"(?<!\w)(\w{2,40})(?:\s{1,4}|\s?\(\s?)(?:=\s?)?[NnEe]?(?=['\"])")
_IDENTIFIED: Final = re.compile(
    r"identified\s{1,4}(?:with\s{1,4}\S{1,60}\s{1,4})?(?:by|as)(?:\s{1,4}(?:password|values))?"
    r"\s{1,4}(?:'((?:[^'\\]|''|\\.){1,512})'?|\"([^\"]{1,512})\"?|([^\s;'\"]{1,512}))",
    re.IGNORECASE | re.DOTALL,
)
_INSERT: Final = re.compile(
    r"into\s{1,4}[^\s()]{1,200}\s{0,4}\(([^()]{1,2000})\)\s{0,8}values\s{0,8}", re.IGNORECASE
)
_SQL_TUPLE: Final = re.compile(r"[\s,]{0,8}\(")
_SQL_VALUE: Final = re.compile(
    r"\s{0,8}((?:N|E|X)?'(?:[^'\\]|''|\\.){0,4096}'|[^,()']{0,512})\s{0,8}([,)])?"
)


def find_sql(text: str, lowered: str, meaning: Judge, hits: list[Hit]) -> None:
    """Add the secrets of statements; ``lowered`` is the text in lower case."""
    for match in _QUOTED_AFTER.finditer(text):
        found = meaning(match[1])
        if found is None or found.kind == "prompt":
            continue
        opened = OPENING.match(text, match.end())
        assert opened is not None  # noqa: S101  (the pattern ends before a quote)
        start, end = quoted(text, opened)
        value = text[start:end]
        if hides(found, match[1], value) and (
            found.kind == "password" or LETTERS.fullmatch(value) is None
        ):
            hits.append((start, end, found.kind))
    if "identified" in lowered:
        for match in _IDENTIFIED.finditer(text):
            group = next(number for number in (1, 2, 3) if match[number] is not None)
            if not is_redacted(match[group]):
                hits.append((*match.span(group), "password"))
    if "into" in lowered and "values" in lowered:
        for match in _INSERT.finditer(text):
            _find_inserted(text, match, meaning, hits)


def _find_inserted(text: str, match: re.Match[str], meaning: Judge, hits: list[Hit]) -> None:
    columns = [meaning(name.strip(" \t\r\n\"'`[]")) for name in match[1].split(",")]
    if not any(columns):
        return
    position = match.end()
    while (row := _SQL_TUPLE.match(text, position)) is not None:
        position = row.end()
        for found in columns:
            value = _SQL_VALUE.match(text, position)
            if value is None:
                return
            shown = value[1].strip("NEX'")
            if found is not None and hides(found, "", shown):
                hits.append((value.start(1), value.end(1), found.kind))
            position = value.end()
            if value[2] != ",":
                break
