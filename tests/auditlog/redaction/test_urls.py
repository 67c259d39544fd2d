from __future__ import annotations

import pytest

from auditlog.redaction.secret_values import Hit
from auditlog.redaction.urls import find_urls


def _found(text: str) -> list[tuple[str, str]]:
    hits: list[Hit] = []
    find_urls(text, hits)
    return [(text[start:end], rule) for start, end, rule in sorted(hits)]


@pytest.mark.parametrize("password", ["hunter33y", "a:b", "p@ss", "a/b?c#d", "%2Fa%2F", "q7", "q"])
def test_found(password: str) -> None:
    for text in (f"x://bob:{password}@db:5432/x", f"see x://bob:{password}@db and x://other/"):
        assert _found(text) == [(password, "url_password")]


def test_found_as_a_token_in_place_of_the_user() -> None:
    assert _found("https://ghp9aPxQ2LmZ7tRkV4b@host/x") == [("ghp9aPxQ2LmZ7tRkV4b", "url_token")]
    assert _found("https://aPxQ2LmZ7tRkV4b9@host/x") == [("aPxQ2LmZ7tRkV4b9", "url_token")]
    assert _found(f"https://{'0123abcd' * 4}@host/x") == [("0123abcd" * 4, "url_token")]


@pytest.mark.parametrize(
    "before",
    [
        *("", "x://", "mailto://a:b@c ", "http://host/x ", "http://host:80/ "),
        *("http://user@host/ ", "https://aPxQ2LmZ7tRkV4b9@host/x ", "http://[::1]:8080/ "),
    ],
)
def test_found_behind_another_url(before: str) -> None:
    assert _found(f"{before}://bob:hunter33y@db")[-1] == ("hunter33y", "url_password")


def test_found_with_blanks_in_it() -> None:
    assert _found("x://bob:my pass word@db1/x") == [("my pass word", "url_password")]


def test_found_in_the_path_of_a_web_hook() -> None:
    path = "T0000/B0000/XXXXXXXXXXXXXXXX1"
    for hook in (
        *("hooks.slack.com/services", "example.org/hooks", "maker.ifttt.com/trigger"),
        "events.pagerduty.com/integration",
    ):
        assert _found(f"https://{hook}/{path}") == [(path, "webhook")]
    bot = "bot123456:ABCDEFGHIJKLMNOP"
    assert _found(f"https://api.telegram.org/{bot}") == [(bot, "webhook")]


@pytest.mark.parametrize(
    "text",
    [
        "http://[::1]:8080/a@b",
        "http://host:8080/a@b",
        "http://host:8/a@b",
        "x://u:@h",
        "https://averylongusernamehere@host",
        "https://deadbeefdeadbeef@host",
        "https://deadbeefdeadbeefdeadbeefdeadbee@host",
        "https://discord.com/api/v10/webhooks/abcdefghijklmnop",
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
