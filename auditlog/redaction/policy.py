"""Define a redaction policy: the rules that are on, and the keys and patterns added.  Pure.

    policy = Policy.default().with_keys(secret=["badge"], harmless=["token_colour"])
    auditlog.open(directory, service="queen-rbee", redaction=policy)

Invariants (tests of the same name in tests/auditlog/redaction/test_policy.py):
  frozen    every method returns a new policy; the old one stays as it is
  own       a key that the policy names is judged by the policy, however it is spelled
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from auditlog.errors import InvalidOption
from auditlog.redaction.key_meaning import Meaning, meaning, words
from auditlog.redaction.rules import CLASSES, DEFAULT_CLASSES

__all__ = ["Policy"]

_RULE_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Policy:
    """``classes`` are the classes of rules that are on; the keys are kept by their words."""

    classes: frozenset[str] = DEFAULT_CLASSES
    secret_keys: frozenset[str] = frozenset()
    harmless_keys: frozenset[str] = frozenset()
    patterns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        _check_classes(self.classes)
        for name, pattern in self.patterns:
            if _RULE_NAME.fullmatch(name) is None:
                raise InvalidOption(f"{name!r} is not a rule's name: use a-z, 0-9 and _")
            try:
                compiled = re.compile(pattern)
            except re.error as error:
                raise InvalidOption(f"the pattern {name} is not valid: {error}") from None
            if compiled.match("") is not None:
                raise InvalidOption(f"the pattern {name} matches the empty text")

    @classmethod
    def default(cls) -> Self:
        """All rules but the optional ones."""
        return cls()

    def with_keys(self, *, secret: Iterable[str] = (), harmless: Iterable[str] = ()) -> Self:
        """Keys whose values are secrets, or are not, whatever their words say."""
        return replace(
            self,
            secret_keys=self.secret_keys | {_joined(key) for key in secret},
            harmless_keys=self.harmless_keys | {_joined(key) for key in harmless},
        )

    def with_patterns(self, patterns: Mapping[str, str]) -> Self:
        """Regular expressions by the rule's name; with a group, only the group is hidden.

        Their cost is the caller's to bound: avoid a repetition inside a repetition.
        """
        return replace(self, patterns=(*self.patterns, *patterns.items()))

    def on(self, *classes: str) -> Self:
        """With these classes of rules, such as the optional ones: cards, iban, email, ip."""
        return replace(self, classes=self.classes | _check_classes(classes))

    def off(self, *classes: str) -> Self:
        """Without these classes of rules."""
        return replace(self, classes=self.classes - _check_classes(classes))

    def meaning(self, key: str) -> Meaning | None:
        """Return the kind of secret that a key names under this policy, None for no secret."""
        if self.secret_keys or self.harmless_keys:
            joined = _joined(key)
            if joined in self.harmless_keys:
                return None
            if joined in self.secret_keys:
                return Meaning("custom", True, False)
        return meaning(key)


def _joined(key: str) -> str:
    return "".join(words(key))


def _check_classes(classes: Iterable[str]) -> frozenset[str]:
    given = frozenset(classes)
    if unknown := sorted(given - frozenset(CLASSES)):
        raise InvalidOption(
            f"unknown class of rules: {', '.join(unknown)}; known are {', '.join(CLASSES)}"
        )
    return given
