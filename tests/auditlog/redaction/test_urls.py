from __future__ import annotations

import pytest

from auditlog.redaction.secret_values import Hit
from auditlog.redaction.urls import find_urls


def _found(text: str) -> list[tuple[str, str]]:
    hits: list[Hit] = []
    find_urls(text, hits)
    return [(text[start:end], rule) for start, end, rule in sorted(hits)]


@pytest.mark.parametrize("password", ["hunter33y", "a:b", "p@ss", "a/b?c#d", "%2Fa%2F", "q7"])
def test_found(password: str) -> None:
    for text in (f"x://bob:{password}@db:5432/x", f"see x://bob:{password}@db and x://other/"):
        assert _found(text) == [(password, "url_password")]


def test_found_as_a_token_in_place_of_the_user() -> None:
    assert _found("https://ghp9aPxQ2LmZ7tRkV4b@host/x") == [("ghp9aPxQ2LmZ7tRkV4b", "url_token")]
    assert _found(f"https://{'0123abcd' * 4}@host/x") == [("0123abcd" * 4, "url_token")]


def test_found_in_the_path_of_a_web_hook() -> None:
    path = "T0000/B0000/XXXXXXXXXXXXXXXX1"
    assert _found(f"https://hooks.slack.com/services/{path}") == [(path, "webhook")]


@pytest.mark.parametrize(
    "text",
    [
        "http://[::1]:8080/a@b",
        "http://host:8080/a@b",
        "http://alice@host/x",
        "mailto://a:b@c",
        "http://host/x:y@z",
        "x://u:[redacted:url_password]@h",
        "x://u:****@h",
        "https://hooks.slack.com/services/abcdefghijklmnopqrst",
    ],
)
def test_kept(text: str) -> None:
    assert _found(text) == []
