from __future__ import annotations

import pytest

from auditlog.redaction.key_meaning import meaning
from auditlog.redaction.secret_values import Hit
from auditlog.redaction.sql import find_sql


def _found(text: str) -> list[str]:
    hits: list[Hit] = []
    find_sql(text, text.lower(), meaning, hits)
    return [text[start:end] for start, end, _ in sorted(hits)]


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("ALTER ROLE bob PASSWORD 'hunter33y'", ["hunter33y"]),
        ("SET PASSWORD = PASSWORD('hunter33y')", ["hunter33y"]),
        ("SET NAME 'bob' PASSWORD 'hunter33y' TOKEN 'a3F2c1zz9'", ["hunter33y", "a3F2c1zz9"]),
        ("PASSWORD = N'hunter33y'", ["hunter33y"]),
        ("PASSWORD 'swordfish'", ["swordfish"]),
        ("CREATE USER bob IDENTIFIED BY 'hunter33y'", ["hunter33y"]),
        ('CREATE USER bob IDENTIFIED WITH mysql_native BY "hunter33y"', ["hunter33y"]),
        ("CREATE USER bob IDENTIFIED BY hunter33y;", ["hunter33y"]),
        (
            "INSERT INTO u (name, password, n) VALUES ('bob', 'hunter33y', 1), ('al', 'x44y', 2)",
            ["'hunter33y'", "'x44y'"],
        ),
        ("insert into u (password) values (N'hunter33y')", ["N'hunter33y'"]),
    ],
)
def test_found(text: str, secrets: list[str]) -> None:
    assert _found(text) == secrets


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO u (name, n) VALUES ('hunter33y', 1)",
        "SELECT 'password' FROM t WHERE name = 'bob'",
        "IDENTIFIED BY '[redacted:password]'",
        "INSERT INTO u (name, password) VALUES ('bob', '')",
        "SELECT * FROM t",
        "TOKEN 'expired'",
        "PASSWORD '[redacted:password]'",
        "PWD '/home/alice'",
        "PROMPT 'hunter33y'",
        "INSERT INTO u (name, password) VALUES ('bob') on conflict do nothing",
        "INSERT INTO password (name) VALUES ('hunter33y')",
    ],
)
def test_kept(text: str) -> None:
    assert _found(text) == []
