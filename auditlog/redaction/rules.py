"""Define the redaction rules: name, what it finds, and switchable class.  Pure.

A rule's name stands in ``[redacted:<rule>]``, in the counter of redactions, in what ``auditctl
redact --explain`` prints, and in the documentation, whose table is made from this one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from auditlog.redaction.formats import FORMATS

__all__ = [
    "CLASSES",
    "DEFAULT_CLASSES",
    "NO_DERIVATIVE",
    "OPTIONAL_CLASSES",
    "RULES",
    "RedactionRule",
    "table",
]

CLASSES: Final = {
    "keys": "members of mappings whose key means a secret",
    "pairs": "key=value, key: value and the like in texts",
    "formats": "tokens whose prefix, alphabet and length are known",
    "urls": "passwords and tokens in URLs, and URLs that are secrets",
    "headers": "Bearer and Basic with what follows them",
    "commands": "options and arguments of command lines",
    "sql": "passwords in SQL statements",
    "markup": "elements of XML and HTML",
    "private_keys": "private keys in PEM, PuTTY and SSH2 form",
    "structures": "name/value, field/old/new, pairs, argument lists, tables",
    "json": "JSON inside of texts",
    "cards": "card numbers with a valid check digit (off by default)",
    "iban": "IBANs with valid check digits (off by default)",
    "email": "e-mail addresses (off by default)",
    "ip": "IP addresses, cut to their network (off by default)",
}
"""Classes of rules that a policy can switch on or off as a whole."""

OPTIONAL_CLASSES: Final = frozenset({"cards", "iban", "email", "ip"})
DEFAULT_CLASSES: Final = frozenset(CLASSES) - OPTIONAL_CLASSES


class RedactionRule(NamedTuple):
    """One line of the table; ``derivative`` tells whether a fingerprint may be recorded."""

    name: str
    found_by: str
    finds: str
    derivative: bool


RULES: Final[tuple[RedactionRule, ...]] = (
    RedactionRule("password", "keys, pairs, structures, sql", "passwords and passphrases, in 30 languages", False),
    RedactionRule("pin", "keys, pairs, structures", "PINs and PUKs", False),
    RedactionRule("otp", "keys, pairs, structures", "one-time, verification, backup and recovery codes", False),
    RedactionRule("cvv", "keys, pairs, structures", "security codes of cards", False),
    RedactionRule("card", "keys, pairs, structures, cards", "card numbers", False),
    RedactionRule("iban", "keys, pairs, structures, iban", "IBANs", False),
    RedactionRule("identity_number", "keys, pairs, structures", "social security, tax, passport numbers", False),
    RedactionRule("prompt", "keys, structures", "prompts of a language model", False),
    RedactionRule("password_hash", "keys, pairs, formats", "hashes of passwords, which can be tried out", False),
    RedactionRule("pin_hash", "keys, pairs", "hashes of PINs", False),
    RedactionRule("otp_hash", "keys, pairs", "hashes of one-time codes", False),
    RedactionRule("cvv_hash", "keys, pairs", "hashes of security codes", False),
    RedactionRule("card_hash", "keys, pairs", "hashes of card numbers", False),
    RedactionRule("identity_number_hash", "keys, pairs", "hashes of identity numbers", False),
    RedactionRule("token", "keys, pairs, structures", "access, refresh, session and reset tokens", True),
    RedactionRule("secret", "keys, pairs, structures", "client and shared secrets, seeds, key tables", True),
    RedactionRule("key", "keys, pairs, structures", "API, private, signing and encryption keys", True),
    RedactionRule("credentials", "keys, pairs, structures", "Authorization headers and credentials", True),
    RedactionRule("cookie", "keys, pairs, structures", "values of cookies", True),
    RedactionRule("connection_string", "keys, pairs, structures", "connection strings and DSNs", True),
    RedactionRule("secret_url", "keys, pairs, structures", "webhooks, magic links, signed URLs", True),
    RedactionRule("custom", "keys, pairs, structures", "keys that the policy adds", True),
    RedactionRule("url_password", "urls", "scheme://user:PASSWORD@host", False),
    RedactionRule("url_token", "urls", "https://TOKEN@host", True),
    RedactionRule("url_parameter", "pairs", "?key=, ?code=, ?sig= with a random value", True),
    RedactionRule("webhook", "urls", "paths of webhooks of Slack, Teams, Discord and others", True),
    RedactionRule("bearer", "headers", "Bearer TOKEN outside of a header", True),
    RedactionRule("basic", "headers", "Basic with user:password in base64", False),
    RedactionRule("encoded_credentials", "formats", "user:password in base64, standing alone", False),
    RedactionRule("spoken", "pairs", "codes in sentences, such as \"your code is 482913\"", False),
    RedactionRule("command_line", "commands", "options such as curl -u, mysql -p, sshpass -p and those of 80 more programs", False),
    RedactionRule("private_key", "private_keys", "private keys", True),
    RedactionRule("jwt", "formats", "JSON Web Tokens", True),
    RedactionRule("random_40", "formats", "40 random characters: AWS secret keys and others", True),
    RedactionRule("email", "email", "e-mail addresses", True),
    RedactionRule("ip", "ip", "IP addresses: the last octet, or all but 48 bits, become 0", False),
)  # fmt: skip
"""Every rule but those of the table of formats."""

NO_DERIVATIVE: Final = frozenset(rule.name for rule in RULES if not rule.derivative)
"""Rules whose secrets can be guessed, so that no fingerprint of them is recorded."""


DRAWN_AT_RANDOM: Final = frozenset(row.rule for row in FORMATS) - NO_DERIVATIVE | {
    "private_key",
    "email",
}
"""Rules that always allow a fingerprint; others only for values that look random."""


def table() -> list[RedactionRule]:
    """Every rule once, the formats with the issuers they belong to."""
    known = {rule.name for rule in RULES}
    issuers: dict[str, list[str]] = {}
    for row in FORMATS:
        if row.rule not in known:
            issuers.setdefault(row.rule, []).append(row.issuer)
    return [
        *RULES,
        *(
            RedactionRule(name, "formats", ", ".join(issuer), True)
            for name, issuer in issuers.items()
        ),
    ]
