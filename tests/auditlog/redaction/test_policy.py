from __future__ import annotations

import dataclasses

import pytest

from auditlog.redaction import Policy
from auditlog.redaction.key_meaning import Meaning
from auditlog.redaction.redactor import Redactor


def test_frozen() -> None:
    policy = Policy.default()
    other = policy.with_keys(secret=["badge"]).off("urls").on("email").with_patterns({"x": "y+"})
    assert policy == Policy.default() != other
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.classes = frozenset()  # type: ignore[misc]  # wrong on purpose


def test_own() -> None:
    policy = Policy.default().with_keys(secret=["badge_number"], harmless=["token-colour"])
    redactor = Redactor(policy)
    value = {"badgeNumber": "b7", "token_colour": "Zk3jQ9wLxP2vR7tY", "password": "hunter33y"}
    assert redactor.clean(value, "x") == {
        "badgeNumber": "[redacted:custom]",
        "token_colour": "Zk3jQ9wLxP2vR7tY",
        "password": "[redacted:password]",
    }
    assert redactor.text("badge-number=b7 a=1", "x") == "badge-number=[redacted:custom] a=1"


def test_a_pattern_of_its_own_hides_its_group() -> None:
    redactor = Redactor(Policy.default().with_patterns({"badge": r"B-(\d{4})"}))
    assert redactor.text("B-1234 in", "x") == "B-[redacted:badge] in"
    assert redactor.counts == {"badge": 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("urls", "postgres://a:hunter33y@db"), ("pairs", "password=hunter33y")),
        *(
            ("commands", "mysql -phunter33y"),
            ("formats", "ghp_9aPxQ2LmZ7tRkV4bNsW8cJ1dHf6gY3uEoT5i"),
        ),
        *(("sql", "IDENTIFIED BY 'hunter33y'"), ("markup", "<pin>hunter33y</pin>")),
    ],
)
def test_a_class_can_be_switched_off(name: str, text: str) -> None:
    assert Redactor().text(text, "x") != text
    assert Redactor(Policy.default().off(name)).text(text, "x") == text


def test_what_makes_no_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown class of rules: nonsense"):
        Policy.default().off("nonsense")
    with pytest.raises(ValueError, match="is not a rule's name"):
        Policy.default().with_patterns({"A b": "x"})
    with pytest.raises(ValueError, match="is not valid"):
        Policy.default().with_patterns({"a": "("})
    with pytest.raises(ValueError, match="matches the empty text"):
        Policy.default().with_patterns({"a": "x*"})


def test_a_class_that_is_switched_on_comes_to_the_others() -> None:
    policy = Policy.default().on("cards", "ip")
    assert policy.classes == Policy.default().classes | {"cards", "ip"}


def test_own_keys_may_be_secret_or_harmless_alone() -> None:
    secret = Policy.default().with_keys(secret=["badge"])
    assert secret.meaning("badge") == Meaning("custom", True, False)
    assert secret.meaning("password") == Policy.default().meaning("password")
    harmless = Policy.default().with_keys(harmless=["password"])
    assert harmless.meaning("password") is None
