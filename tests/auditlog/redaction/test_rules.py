"""The table of redaction rules."""

from __future__ import annotations

from auditlog.redaction.formats import FORMATS
from auditlog.redaction.rules import (
    CLASSES,
    DEFAULT_CLASSES,
    DRAWN_AT_RANDOM,
    NO_DERIVATIVE,
    OPTIONAL_CLASSES,
    RULES,
    table,
)


def test_classes_that_hide_more_than_secrets_are_off_by_default() -> None:
    assert sorted(OPTIONAL_CLASSES) == ["cards", "email", "iban", "ip"]
    assert set(CLASSES) == DEFAULT_CLASSES | OPTIONAL_CLASSES
    assert not DEFAULT_CLASSES & OPTIONAL_CLASSES


def test_a_rule_is_found_by_classes_that_a_policy_can_switch() -> None:
    for rule in table():
        assert set(rule.found_by.split(", ")) <= set(CLASSES), rule


def test_nothing_derived_from_what_can_be_guessed_is_recorded() -> None:
    """A new rule has to decide it here: a fingerprint of four digits can be tried out."""
    assert {rule.name for rule in RULES} - NO_DERIVATIVE == {
        "token",
        "secret",
        "key",
        "credentials",
        "cookie",
        "connection_string",
        "secret_url",
        "custom",
        "url_token",
        "url_parameter",
        "webhook",
        "bearer",
        "private_key",
        "jwt",
        "random_40",
        "email",
    }


def test_what_was_drawn_at_random_are_tokens_of_known_formats_private_keys_and_addresses() -> None:
    assert {"private_key", "email"} < DRAWN_AT_RANDOM
    assert {"token", "key", "password", "encoded_credentials"}.isdisjoint(DRAWN_AT_RANDOM)
    known = {rule.name for rule in RULES}
    assert {row.rule for row in FORMATS} - known <= DRAWN_AT_RANDOM


def test_the_table_names_every_rule_once_and_the_formats_with_their_issuers() -> None:
    names = [rule.name for rule in table()]
    assert len(names) == len(set(names))
    assert set(names) == {rule.name for rule in RULES} | {row.rule for row in FORMATS}
    known = {rule.name for rule in RULES}
    for rule in table():
        if rule.name not in known:
            issuers = [row.issuer for row in FORMATS if row.rule == rule.name]
            assert (rule.finds, rule.derivative) == (", ".join(issuers), True)
