from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.redaction.key_meaning import Meaning, meaning
from auditlog.redaction.secret_values import OPENING, cookie_values, hides, is_number, quoted


def _of(key: str) -> Meaning:
    found = meaning(key)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("key", "value", "hidden"),
    [
        ("password", "4", True),
        ("pass", "12", False),  # pass: 12, fail: 3
        ("pin", "471", True),
        ("pin", "47", False),
        ("pin", "4.71", False),
        ("token", "4711", True),
        ("token", "471", False),
        ("token", "47.11", False),
        ("tokens", "4711", False),
        ("prompt", "4711", False),
        ("cookie", "4711", False),
    ],
)
def test_number(key: str, value: str, hidden: bool) -> None:
    assert hides(_of(key), key, value) == hidden


def test_number_under_a_key_of_the_policy_is_always_a_secret() -> None:
    assert hides(Meaning("custom", True, False), "badge", "7")


@pytest.mark.parametrize("text", ["7", "-7", "1,000.5", "12%", "30ms", "4k"])
def test_a_number_may_have_a_sign_and_a_unit(text: str) -> None:
    assert is_number(text)
    assert not is_number(f"a{text}")
    assert not is_number(f"{text}-a")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", ""),
        ("password", "[redacted:password]"),
        ("password", "********"),
        ("oldpwd", "/home/alice"),
        ("authorization", "denied"),
    ],
)
def test_what_is_no_secret_is_not_hidden(key: str, value: str) -> None:
    assert not hides(_of(key), key, value)


def test_cookie() -> None:
    text = "Set-Cookie: a=b1; Path=/x; c=[redacted:cookie]; d=e2"
    found = [(text[start:end], rule) for start, end, rule in cookie_values(text, 12, len(text))]
    assert found == [("b1", "cookie"), ("e2", "cookie")]
    assert cookie_values("sid-4711", 0, 8) == [(0, 8, "cookie")]
    assert cookie_values("[redacted:cookie]", 0, 17) == []
    assert cookie_values("path=/x", 0, 7) == []


@given(st.text(st.sampled_from('a\\"'), max_size=8))
def test_quoted(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    for after in ('" b="c"', '"', ""):
        text = f'"{escaped}{after}'
        opened = OPENING.match(text)
        assert opened is not None
        assert quoted(text, opened) == (1, 1 + len(escaped))
