r"""Find the secrets in a text: keys with their values, headers, URLs, SQL, markup, tokens.  Pure.

Every rule adds spans of the text to one list; none changes it, so their order does not matter.
Each rule goes through the text once, guarded by a look for the character it cannot do without, and
no pattern is tried twice on the same characters: the cost is linear in the length.

Invariants (tests of the same name in tests/auditlog/redaction/test_text_search.py):
  found     each kind of secret is found, wherever in a text it stands
  kept      what only resembles one is not
  linear    a hostile text costs no more than a small multiple of a plain one
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from auditlog.redaction.command_lines import find_in_command_line
from auditlog.redaction.formats import find_formats
from auditlog.redaction.looks import basic_credentials, is_fact, is_masked, is_redacted
from auditlog.redaction.pairs import Judge, find_pairs
from auditlog.redaction.secret_values import Hit, hides
from auditlog.redaction.sql import find_sql
from auditlog.redaction.urls import find_urls

__all__ = ["TextSearch"]

_OTP_SENTENCE: Final = re.compile(
    r"(?<![A-Za-z])(?:code|otp|pin|passcode|password|passwort|token|secret)"
    r"(?:\s(?:for|to)\s[\w .-]{1,40}?)?"
    r"\s(?:is|was|lautet|ist)(?:\snow)?:?\s{1,2}[\"'`]?([^\s\"'`<>]{3,128})",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(
    r"(?<![A-Za-z])bearer(?:\s{1,4}|%20|\+|:\s{0,2})[\"']?([^\s\"'<>]{4,8192})", re.IGNORECASE
)
_BASIC: Final = re.compile(
    r"(?<![A-Za-z])basic(?:\s{1,4}|%20)([A-Za-z0-9+/=_-]{4,1024})", re.IGNORECASE
)
_PEM: Final = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_PEM_END: Final = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_BASE64_PEM: Final = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]{40,}+")
_TAG: Final = re.compile(r"<(?:[\w.-]{1,40}:)?([\w.-]{2,64})(?:\s[^<>]{0,300})?>\s{0,8}")


class TextSearch:
    """The rules for texts that a policy has switched on.

    ``meaning`` judges a key; ``classes`` are those of rules.CLASSES; ``patterns`` the policy's own.
    """

    __slots__ = ("_classes", "_meaning", "_patterns")

    def __init__(
        self,
        meaning: Judge,
        classes: frozenset[str],
        patterns: Mapping[str, re.Pattern[str]],
    ) -> None:
        self._meaning = meaning
        self._classes = classes
        self._patterns = tuple(patterns.items())

    def find(self, text: str) -> list[Hit]:
        """Every secret of the text; spans may overlap and are in no order."""
        hits: list[Hit] = []
        on = self._classes
        if "formats" in on and len(text) >= 16:
            find_formats(text, hits)
        colon = ":" in text
        if "pairs" in on and (colon or "=" in text or "%3" in text):
            find_pairs(text, self._meaning, hits)
        if colon and "urls" in on and "://" in text:
            find_urls(text, hits)
        if "private_keys" in on and ("PRIVATE" in text or "Private-" in text or "LS0t" in text):
            _find_private_keys(text, hits)
        if " " in text or "\t" in text or "\n" in text:
            self._find_among_words(text, hits)
        if "markup" in on and "<" in text and ">" in text:
            self._find_elements(text, hits)
        for name, pattern in self._patterns:
            for match in pattern.finditer(text):
                start, end = match.span(1 if pattern.groups and match[1] is not None else 0)
                if start < end:
                    hits.append((start, end, name))
        return hits

    def _find_among_words(self, text: str, hits: list[Hit]) -> None:
        """Rules that need at least two words."""
        on = self._classes
        lowered = text.lower()
        if "headers" in on and ("bearer" in lowered or "basic" in lowered):
            _find_credentials(text, hits)
        if "pairs" in on and (" is" in lowered or " was" in lowered or " lautet" in lowered):
            for match in _OTP_SENTENCE.finditer(text):
                value = match[1].rstrip(".,;!?)")
                if any(c.isdigit() for c in value) and not is_redacted(value) and len(value) >= 4:
                    hits.append((match.start(1), match.start(1) + len(value), "spoken"))
        if "sql" in on and ("'" in text or '"' in text or "identified" in lowered):
            find_sql(text, lowered, self._meaning, hits)
        if "commands" in on:
            find_in_command_line(text, lowered, self._meaning, hits)

    def _find_elements(self, text: str, hits: list[Hit]) -> None:
        for tag in _TAG.finditer(text):
            found = self._meaning(tag[1])
            if found is None:
                continue
            start = tag.end()
            if text.startswith("<![CDATA[", start):
                start += 9
                end = text.find("]]>", start)
            else:
                end = text.find("<", start)
            end = len(text) if end < 0 else end
            if hides(found, tag[1], text[start:end].strip()):
                hits.append((start, end, found.kind))


def _find_credentials(text: str, hits: list[Hit]) -> None:
    """Bearer and Basic with what follows, outside a header too."""
    for match in _BEARER.finditer(text):
        word = match[1].rstrip(".,;:)")
        plain = word.isalpha() and (len(word) < 16 or word.islower() or word.istitle())
        if not (
            (plain and len(word) < 24) or is_redacted(word) or is_masked(word) or is_fact(word)
        ):
            hits.append((match.start(1), match.start(1) + len(word), "bearer"))
    hits += [
        (*match.span(1), "basic")
        for match in _BASIC.finditer(text)
        if basic_credentials(match[1], after_scheme=True)
    ]


def _find_private_keys(text: str, hits: list[Hit]) -> None:
    position = 0
    while (begin := _PEM.search(text, position)) is not None:
        end = _PEM_END.search(text, begin.end())
        position = len(text) if end is None else end.end()
        hits.append((begin.start(), position, "private_key"))
    lines = text.find("Private-Lines:")
    if lines >= 0:
        until = text.find("Private-MAC:", lines)
        hits.append((lines + 14, len(text) if until < 0 else until, "private_key"))
    if "LS0tLS1CRUdJTi" in text:
        hits += [
            (*match.span(), "private_key")
            for match in _BASE64_PEM.finditer(text)
            if "UFJJVkFUR" in match[0] or "QUklWQVRF" in match[0] or "BSSVZBVE" in match[0]
        ]
