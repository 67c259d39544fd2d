from __future__ import annotations

import pytest

from auditlog.redaction.key_meaning import meaning
from auditlog.redaction.pairs import find_pairs
from auditlog.redaction.secret_values import Hit


def _found(text: str) -> list[str]:
    hits: list[Hit] = []
    find_pairs(text, meaning, hits)
    return [text[start:end] for start, end, _ in sorted(hits)]


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("password=hunter33y", ["hunter33y"]),
        ("password: hunter33y, x=1", ["hunter33y"]),
        ('{"password": "hunter33y", "x": 1}', ["hunter33y"]),
        ("password => 'hunter33y'", ["hunter33y"]),
        ("password := hunter33y", ["hunter33y"]),
        ("x?password%3Dhunter33y", ["hunter33y"]),
        ("the db password: hunter33y", ["hunter33y"]),
        ("password: |\n  hunter33y", ["hunter33y"]),
        ('passwords=["hunter33y", "hunter44z"]', ["hunter33y", "hunter44z"]),
        ('name="password" value="hunter33y"', ["hunter33y"]),
        ("Authorization: Bearer hunter33y", ["hunter33y"]),
        ("Authorization: Digest a=b, c=d", ["Digest a=b, c=d"]),
        ("Cookie: a=b1; c=d2", ["b1", "d2"]),
        ("/x?key=Zk3jQ9wLxP2vR7tY&y=1", ["Zk3jQ9wLxP2vR7tY"]),
        ("card_number: 4111 1111 1111 1111 x", ["4111 1111 1111 1111"]),
        ("iban: DE89 3704 0044 0532 0130 00 of alice", ["DE89 3704 0044 0532 0130 00"]),
        ("iban=DE89370400440532013000", ["DE89370400440532013000"]),
    ],
)
def test_found(text: str, secrets: list[str]) -> None:
    assert _found(text) == secrets


@pytest.mark.parametrize(
    "text",
    [
        "token: expired",
        "password: changed by admin",
        "credentials: none were given",
        "scope:token:read",
        "pwd=/home/alice",
        "password=",
        "token_count=12",
        "?key=name",
        'name="pool" value="a"',
    ],
)
def test_kept(text: str) -> None:
    assert _found(text) == []
