"""Find secrets named by another member: name/value pairs, argument lists, tables.  Pure.

    {"name": "password", "value": "…"}      {"field": "password", "old": "…", "new": "…"}
    [["X-Api-Key", "…"]]                    ["mysql", "--password", "…"]
    {"columns": ["name", "password"], "rows": [["bob", "…"]]}

Invariants (tests of the same name in tests/auditlog/redaction/test_structures.py):
  named     a secret named by one member is found under every member for contents
  lists     a list of names is not taken for a name with its value
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from auditlog.redaction.command_lines import secret_arguments
from auditlog.redaction.key_meaning import Meaning
from auditlog.redaction.looks import guessed_password, is_fact, looks_random
from auditlog.redaction.pairs import NAMING, VALUES, Judge

__all__ = ["named_members", "paired", "secret_columns", "secret_items"]

_COLUMNS: Final = ("columns", "column_names", "header", "headers", "fields", "names", "keys")
_ROWS: Final = ("rows", "values", "data", "records", "items", "entries")
_MAX_NAME: Final = 80


def named_members(mapping: Mapping[Any, Any], meaning: Judge) -> dict[str, Meaning]:
    """The members of a mapping that hold what another member names as a secret."""
    found: Meaning | None = None
    for key, item in mapping.items():
        if isinstance(key, str) and key.lower() in NAMING and isinstance(item, str):
            found = _meaning_of_name(item, meaning)
            if found is not None:
                break
    if found is None:
        return {}
    return {key: found for key in mapping if isinstance(key, str) and key.lower() in VALUES}


def _meaning_of_name(name: str, meaning: Judge) -> Meaning | None:
    if not 2 <= len(name) <= _MAX_NAME:
        return None
    found = meaning(name.rpartition("/")[2])
    return found if found is not None and found.sure else None


def secret_columns(mapping: Mapping[Any, Any], meaning: Judge) -> dict[str, dict[int, Meaning]]:
    """Of a mapping that is a table: the member with the rows, and its secret columns."""
    for name in _COLUMNS:
        columns = mapping.get(name)
        if not isinstance(columns, (list, tuple)) or not all(isinstance(c, str) for c in columns):
            continue
        secret = {i: found for i, c in enumerate(columns) if (found := meaning(c)) is not None}
        if secret:
            return {
                rows: secret
                for rows in _ROWS
                if isinstance(mapping.get(rows), (list, tuple))
                and all(
                    isinstance(row, (list, tuple)) and len(row) == len(columns)
                    for row in mapping[rows]
                )
            }
    return {}


def paired(items: Sequence[Any]) -> bool:
    """Whether the list is one of names with their values."""
    return len(items) > 0 and all(
        isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str)
        for item in items
    )


def secret_items(items: Sequence[Any], meaning: Judge) -> list[tuple[int, int, int, str]]:
    """(index, start, end, rule) of the secrets among texts: arguments, or names and values."""
    if not any(isinstance(item, str) for item in items):
        return []
    found = secret_arguments(items, meaning)
    for index, (name, value) in enumerate(itertools.pairwise(items)):
        if not isinstance(name, str) or not isinstance(value, str) or len(name) > _MAX_NAME:
            continue
        if name.startswith("-") or meaning(value) is not None or is_fact(value):
            continue
        if guessed_password(value) or looks_random(value):
            kind = meaning(name)
            if kind is not None and kind.sure:
                found.append((index + 1, 0, len(value), kind.kind))
    return found
