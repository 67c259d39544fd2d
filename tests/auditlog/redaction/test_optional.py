from __future__ import annotations

import pytest

from auditlog.redaction.optional import find_optional, truncated
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
        ("iban", "to AZ21 NABZ 0000 0000 1370 1000 1944", "to [redacted:iban]"),
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


ALL = frozenset({"cards", "iban", "email", "ip"})


def _found(text: str, classes: frozenset[str] = ALL) -> list[tuple[int, int, str]]:
    hits: list[tuple[int, int, str]] = []
    find_optional(text, classes, hits)
    return hits


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("400000000010", ""),  # the check digits of all these are right; twelve digits
        ("4000000000014", "card"),
        ("4000000000000000014", "card"),
        ("40000000000000000010", ""),
        ("3782 822463 10005", "card"),
        ("4" * 17, ""),  # no card has one digit alone
        ("DE410000000007", ""),  # fourteen characters
        ("DE4100000000007", "iban"),
        ("DE41000000000000000000000000000007", "iban"),
        ("DE410000000000000000000000000000007", ""),
    ],
)
def test_a_number_has_the_length_of_its_kind(text: str, rule: str) -> None:
    assert [found for *_, found in _found(f"a {text} b")] == ([rule] if rule else [])


def test_only_the_classes_that_are_on_are_looked_for() -> None:
    text = "4111 1111 1111 1111, DE89 3704 0044 0532 0130 00, a@example.org, 192.0.2.77"
    assert {rule for *_, rule in _found(text)} == {"card", "iban", "email", "ip"}
    for name in ALL:
        (hit,) = _found(text, frozenset({name}))
        assert name.startswith(hit[2])
    assert _found(text, frozenset()) == []


@pytest.mark.parametrize("address", ["192.0.2.0", "2001:db8:1::", "192.0.2.300", "1:2:3"])
def test_an_address_of_a_network_and_what_is_none_are_left_alone(address: str) -> None:
    assert _found(f"from {address} on") == []


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.3.200", "192.0.3.0"),
        ("2001:db8:1:8000::7", "2001:db8:1::"),
        ("fe80:1:2:3::1%eth0", "fe80:1:2::"),
        ("::ffff:192.0.2.77", "::"),
        ("64:ff9b::192.0.2.77", "64:ff9b::"),
    ],
)
def test_an_address_keeps_24_bits_or_48(address: str, network: str) -> None:
    assert truncated(address) == network
