from __future__ import annotations

import re

import pytest
from hypothesis import given

from auditlog.redaction.redactor import Redactor
from tests.support.secrets import STANDING_ALONE, WORDS

_KEYED = Redactor(key=lambda: b"k" * 32)


@given(STANDING_ALONE, WORDS, WORDS)
def test_one_fingerprint(secret: str, before: str, after: str) -> None:
    print_of_it = _KEYED.text(secret, "x")
    assert re.fullmatch(r"hmac-sha256:[0-9a-f]{12}", print_of_it)
    assert _KEYED.text(f"{before} {secret} {after}", "x") == f"{before} {print_of_it} {after}"


def test_another_key_gives_another_fingerprint_and_a_password_none() -> None:
    token = "ghp_9aPxQ2LmZ7tRkV4bNsW8cJ1dHf6gY3uEoT5i"
    assert _KEYED.text(token, "x") != Redactor(key=lambda: b"j" * 32).text(token, "x")
    assert _KEYED.clean({"password": token}, "x") == {"password": "[redacted:password]"}
    assert _KEYED.clean({"pin": "4711"}, "x") == {"pin": "[redacted:pin]"}


def test_a_sequence_inside_of_a_token_does_not_change_its_fingerprint() -> None:
    token = "ghp_9aPxQ2LmZ7tRkV4bNsW8cJ1dHf6gY3uEoT5i"
    for inside in ("\x1b[0m", "\u200b", "\x00"):
        assert _KEYED.text(token[:20] + inside + token[20:], "x") == _KEYED.text(token, "x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x://u:password=hunter33y@h", "x://u:[redacted:url_password]"),
        (
            "password=hunter33y and pin: 4711",
            "password=[redacted:password] and pin: [redacted:pin]",
        ),
    ],
)
def test_whole(text: str, shown: str) -> None:
    assert _KEYED.text(text, "x") == shown


def test_counted() -> None:
    redactor = Redactor()
    redactor.clean({"password": "a1", "note": "pin: 4711", "x": ["pin=4712"]}, "d")
    assert redactor.counts == {"password": 1, "pin": 2}
    redactor.clean({"inside": '{"password": "hunter33y"}'}, "d")
    assert redactor.counted() == {"password": 2, "pin": 2}
