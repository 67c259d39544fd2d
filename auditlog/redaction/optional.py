"""Find card numbers, IBANs, e-mail and IP addresses, if the policy asks.  Pure.

They are off by default: an address is what an audit log is about, and most long numbers are no
cards.

Invariants (tests of the same name in tests/auditlog/redaction/test_optional.py):
  checked    a number with a wrong check digit is not found
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Final

__all__ = ["find_optional", "truncated"]

_CARD: Final = re.compile(
    r"(?<![\w.-])[3-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\w-])|(?<![\w.-])3[47]\d\d[ -]?\d{6}[ -]?\d{5}(?![\w-])"
)
_IBAN: Final = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])"
)
_EMAIL: Final = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"
)
_IPV4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_IPV6: Final = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f:]{0,40}:[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,39}(?:%\w{1,16})?(?![\w:])"
)


def find_optional(text: str, classes: frozenset[str], hits: list[tuple[int, int, str]]) -> None:
    """Add what the classes that are switched on find."""
    if "cards" in classes:
        hits += [(*m.span(), "card") for m in _CARD.finditer(text) if _luhn(m[0])]
    if "iban" in classes:
        hits += [(*m.span(), "iban") for m in _IBAN.finditer(text) if _mod97(m[0])]
    if "email" in classes and "@" in text:
        hits += [(*m.span(), "email") for m in _EMAIL.finditer(text)]
    if "ip" in classes:
        for pattern in (_IPV4, _IPV6):
            hits += [(*m.span(), "ip") for m in pattern.finditer(text) if _is_address(m[0])]


def truncated(address: str) -> str:
    """The address of its network: 24 bits of an IPv4 address, 48 of an IPv6 address.

    >>> truncated("192.0.2.77"), truncated("2001:db8:1:2::7")
    ('192.0.2.0', '2001:db8:1::')
    """
    bits = 24 if "." in address and ":" not in address else 48
    return str(ip_network(f"{address.partition('%')[0]}/{bits}", strict=False).network_address)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return truncated(text) != text


def _luhn(number: str) -> bool:
    digits = [int(c) for c in number if c.isdigit()]
    doubled = (sum(divmod(2 * d, 10)) for d in digits[-2::-2])
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _mod97(iban: str) -> bool:
    plain = iban.replace(" ", "")
    number = "".join(str(int(c, 36)) for c in plain[4:] + plain[:4])
    return 15 <= len(plain) <= 34 and int(number) % 97 == 1
