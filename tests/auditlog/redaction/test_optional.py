from __future__ import annotations

import pytest

from auditlog.redaction.optional import truncated
from auditlog.redaction.policy import Policy
from auditlog.redaction.redactor import Redactor


def _with(name: str, text: str) -> str:
    return Redactor(Policy.default().on(name)).text(text, "x")


@pytest.mark.parametrize(
    ("name", "text", "cleaned"),
    [
        ("cards", "paid by 4111 1111 1111 1111 today", "paid by [redacted:card] today"),
        ("cards", "paid by 4111 1111 1111 1112 today", None),
        ("iban", "to DE89 3704 0044 0532 0130 00", "to [redacted:iban]"),
        ("iban", "to DE88 3704 0044 0532 0130 00", None),
        ("email", "by alice@example.org now", "by [redacted:email] now"),
        ("email", "by alice@example now", None),
        ("ip", "from 192.0.2.77:80", "from 192.0.2.0:80"),
        ("ip", "from 2001:db8:1:2::7 on", "from 2001:db8:1:: on"),
        ("ip", "version 1.2.3", None),
    ],
)
def test_checked(name: str, text: str, cleaned: str | None) -> None:
    assert _with(name, text) == (text if cleaned is None else cleaned)
    assert Redactor().text(text, "x") == text


def test_a_truncated_address_stays_an_address() -> None:
    assert truncated("192.0.2.77") == "192.0.2.0"
    assert truncated(truncated("2001:db8:1:2::7")) == "2001:db8:1::"
