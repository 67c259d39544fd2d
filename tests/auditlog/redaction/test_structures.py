from __future__ import annotations

from auditlog.redaction.key_meaning import meaning
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
