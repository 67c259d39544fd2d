from __future__ import annotations

import pytest
from hypothesis import given

from auditlog.redaction.key_meaning import meaning
from auditlog.redaction.rules import DEFAULT_CLASSES
from auditlog.redaction.text_search import TextSearch
from tests.support.secrets import HIDDEN

_SEARCH = TextSearch(meaning, DEFAULT_CLASSES, {})


def _without_hits(text: str) -> str:
    left = list(text)
    for start, end, _ in _SEARCH.find(text):
        left[start:end] = "*" * (end - start)
    return "".join(left)


@given(HIDDEN)
def test_found(hidden: tuple[str, str]) -> None:
    secret, text = hidden
    assert secret not in _without_hits(text)


@pytest.mark.parametrize(
    "text",
    [
        *("invalid token: expired", "password: changed by admin", "Basic authentication failed"),
        *("token_count=12 max=3", "session_id=abc", "token:a3f2c1", "pass: 12, fail: 3"),
        *(
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "password=",
            "password=''",
        ),
        *("http://[::1]:8080/a@b", "mailto://a:b@c", "std::token::read", "a=b", "pwd=/home/alice"),
    ],
)
def test_kept(text: str) -> None:
    assert _SEARCH.find(text) == []


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("postgres://a:hunter33y@db", {"url_password"}),
        ("password=hunter33y", {"password"}),
        ("Cookie: a=b; c=d", {"cookie"}),
        ("curl -u a:hunter33y x", {"command_line"}),
        ("pin: 4711", {"pin"}),
        ("/x?key=Zk3jQ9wLxP2vR7tY", {"url_parameter"}),
    ],
)
def test_a_hit_names_its_rule(text: str, rules: set[str]) -> None:
    assert {rule for _, _, rule in _SEARCH.find(text)} == rules


def test_only_the_secret_part_of_a_text_is_found() -> None:
    for text in (
        "see postgres://bob:{}@db:5432/x for more",
        "Authorization: Bearer {}",
        '{{"Authorization": "Bearer {}", "path": "/x"}}',
        "GET /v1?access_token={}&x=1",
        "run --password {} now",
        "api_key='{}', x=1",
        "got bearer {} from 10.0.0.7",
        "<password>{}</password>",
    ):
        secret = "hunter2-and-more"
        assert _without_hits(text.format(secret)) == text.format("*" * len(secret))


_PIECES = [
    "eyJ", "-eyJ", "://a:b", "://u:p@", "@://", "a.", "\x9d", "-----BEGIN PRIVATE KEY-----", "password ",
    "a=", "--a ", "sk-", "authorization:", "Authorization: ", "Cookie: ", "bearer ", "basic ", "AKIA", "aA1",
    "'", "cookie='", "a: ", "ghp_", "password: ", "pass:", "pass=a&", "?key=", "pwd=/", 'name="password" ',
    "curl -u a:b ", "mysql -p", "insert into t (a) values (", "identified by ", "<a>", "{", "[", '\\"', "=",
    "x" * 64 + " " * 900,
]  # fmt: skip


@pytest.mark.parametrize("piece", _PIECES)
def test_linear(piece: str) -> None:
    """A pattern that looked at it once for every character would take minutes."""
    text = (piece * 65_535)[:65_000] + "\n@=:-- bearer basic eyJ authorization\npassword=hunter9xyz"
    assert "hunter9xyz" not in _without_hits(text)
