from __future__ import annotations

from typing import Any

import pytest

from auditlog.redaction.key_meaning import Meaning, meaning
from auditlog.redaction.structures import named_members, paired, secret_columns, secret_items


def test_named() -> None:
    found = named_members({"field": "password", "old": 1, "new": 2, "by": 3}, meaning)
    assert sorted(found) == ["new", "old"]
    assert named_members({"field": "password_policy", "old": 1}, meaning) == {}
    assert list(named_members({"path": "/a/password", "value": 1}, meaning)) == ["value"]


def test_lists() -> None:
    assert secret_items(["token", "password"], meaning) == []
    assert secret_items(["token", "read"], meaning) == []
    assert secret_items(["X-Api-Key", "hunter33y"], meaning) == [(1, 0, 9, "key")]
    assert secret_items([1, 2], meaning) == []


def test_pairs_are_told_from_other_lists() -> None:
    assert paired([["a", 1], ("b", 2)])
    assert not paired([["a", 1], ["b"]])
    assert not paired([])


def test_the_columns_of_a_table_name_its_secrets() -> None:
    table = {"columns": ["name", "pin"], "rows": [["bob", 4711]]}
    assert {key: list(found) for key, found in secret_columns(table, meaning).items()} == {
        "rows": [1]
    }
    assert secret_columns({"columns": ["name", "pin"], "rows": [["bob"]]}, meaning) == {}


@pytest.mark.parametrize(
    ("mapping", "found"),
    [
        ({"field": "password", "name": "color", "value": 1}, ["value"]),
        ({"field": "color", "name": "password", "value": 1}, ["value"]),
        ({"Field": "password", "VALUE": 1}, ["VALUE"]),
        ({7: "password", "value": 1}, []),
        ({"field": ["password"], "value": 1}, []),
        ({"field": "password", 7: 1, "value": 2}, ["value"]),
        ({"title of it": "password", "value": 1}, []),
        ({"field": "token_blue", "value": 1}, []),  # of unsure meaning
        ({"field": "pw", "value": 1}, ["value"]),
    ],
)
def test_the_first_member_that_names_a_secret_for_sure_decides(
    mapping: dict[Any, Any], found: list[str]
) -> None:
    assert list(named_members(mapping, meaning)) == found


def _any_name(name: str) -> Meaning:
    del name
    return Meaning("key", True, False)


@pytest.mark.parametrize(("length", "is_name"), [(1, False), (2, True), (80, True), (81, False)])
def test_a_name_has_between_two_and_eighty_characters(length: int, *, is_name: bool) -> None:
    assert bool(named_members({"field": "a" * length, "value": 1}, _any_name)) == is_name


@pytest.mark.parametrize(("length", "is_name"), [(80, True), (81, False)])
def test_a_name_before_its_value_has_at_most_eighty_characters(
    length: int, *, is_name: bool
) -> None:
    def judge(text: str) -> Meaning | None:
        return Meaning("key", True, False) if text.startswith("aa") else None

    assert bool(secret_items(["a" * length, "hunter33y"], judge)) == is_name


@pytest.mark.parametrize(
    ("items", "found"),
    [
        (["a", "X-Api-Key", "hunter33y"], [(2, 0, 9, "key")]),
        ([1, "X-Api-Key", "hunter33y"], [(2, 0, 9, "key")]),
        (["color", 7, "X-Api-Key", "hunter33y"], [(3, 0, 9, "key")]),
        (["-x", "b", "X-Api-Key", "hunter33y"], [(3, 0, 9, "key")]),
        (["X-Api-Key", "plain"], []),  # the value is a word
        (["X-Api-Key", "denied by rule 7"], []),  # a fact about the key
        (["X-Api-Key", "denied:rule7"], []),  # a fact that looks like a password
        (["--token", "hunter33y"], [(1, 0, 9, "token")]),  # once, as an argument
        (["token_blue", "hunter33y"], []),  # of unsure meaning
        (["color", "hunter33y"], []),
        (["password", 12345678], []),
        (["X-Api-Key", "k7Qz2mVx9LpTw4Rb"], [(1, 0, 16, "key")]),
    ],
)
def test_a_value_behind_a_name_is_found_by_the_looks_of_both(
    items: list[Any], found: list[tuple[int, int, int, str]]
) -> None:
    assert secret_items(items, meaning) == found


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([["a", 1, 2]], False),
        ([[1, "a"]], False),
        (["ab"], False),
        ([("a", "b")], True),
        ([["a", 1], 7], False),
    ],
)
def test_a_pair_is_a_name_and_one_value(items: list[Any], *, expected: bool) -> None:
    assert paired(items) is expected


def _columns(table: dict[str, Any]) -> dict[str, list[int]]:
    return {key: list(found) for key, found in secret_columns(table, meaning).items()}


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ({"columns": 7, "headers": ["pin"], "rows": [["4711"]]}, {"rows": [0]}),
        ({"columns": [7], "headers": ["pin"], "rows": [["4711"]]}, {"rows": [0]}),
        ({"columns": ["color"], "headers": ["pin"], "rows": [["4711"]]}, {"rows": [0]}),
        ({"columns": ("pin",), "rows": (("4711",),)}, {"rows": [0]}),
        ({"columns": ["pin"], "rows": [["4711"]], "data": [["1"]]}, {"rows": [0], "data": [0]}),
        ({"columns": ["pin"], "rows": ["4711"], "data": [["1"]]}, {"data": [0]}),
        ({"columns": ["pin"], "rows": "4"}, {}),
        ({"columns": ["color"], "rows": [["red"]]}, {}),
        ({"columns": "pin", "rows": [["4711"]]}, {}),
    ],
)
def test_a_table_is_a_list_of_names_and_rows_of_as_many(
    table: dict[str, Any], found: dict[str, list[int]]
) -> None:
    assert _columns(table) == found
