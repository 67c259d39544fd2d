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
    assert hides(_of(key), key, value) is False


@pytest.mark.parametrize(
    ("kind", "value", "hidden"),
    [
        ("password", "hunter33y", True),
        ("password", "proxy", False),
        ("password", "Zk3jQ9wLxP2vR7tYq1Ws", True),
        ("credentials", "hunter33y", False),
        ("credentials", "Zk3jQ9wLxP2vR7tYq1Ws", True),
    ],
)
def test_a_key_that_may_mean_something_else_needs_a_value_that_looks_secret(
    kind: str, value: str, hidden: bool
) -> None:
    assert hides(Meaning(kind, False, False), "pass_through", value) == hidden


def test_cookie() -> None:
    text = "Set-Cookie: a=b1; Path=/x; c=[redacted:cookie]; d=e2"
    found = [(text[start:end], rule) for start, end, rule in cookie_values(text, 12, len(text))]
    assert found == [("b1", "cookie"), ("e2", "cookie")]
    assert cookie_values("sid-4711", 0, 8) == [(0, 8, "cookie")]
    assert cookie_values("[redacted:cookie]", 0, 17) == []
    assert cookie_values("path=/x", 0, 7) == []
    assert cookie_values("=x", 0, 2) == []


@given(st.text(st.sampled_from('a\\"'), max_size=8))
def test_quoted(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    for after in ('" b="c"', '"', ""):
        text = f'"{escaped}{after}'
        opened = OPENING.match(text)
        assert opened is not None
        assert quoted(text, opened) == (1, 1 + len(escaped))


def test_quoted_behind_a_prefix_of_the_language() -> None:
    opened = OPENING.match("b'abc' + x")
    assert opened is not None
    assert quoted("b'abc' + x", opened) == (2, 5)
