"""Replace the secrets of one text, and escape its deceptive characters.

Each secret becomes ``hmac-sha256:<12 hex>`` where it is strong enough that its keyed fingerprint
tells nothing, else ``[redacted:<rule>]``.  Without a key, as in a message about an event, it is
always the latter.

Invariants (tests of the same name in tests/auditlog/redaction/test_text_redactor.py):
  one_fingerprint   a token has the same fingerprint wherever it stands
  whole             hits that overlap are replaced as one, by the rule that tells less
  counted           each secret is counted by its rule, in JSON inside of a text too
"""

from __future__ import annotations

import hmac
import re
import threading
from collections.abc import Callable
from typing import Final

from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.format.record import MAX_RECORD_BYTES
from auditlog.redaction.looks import is_redacted, strong
from auditlog.redaction.optional import find_optional, truncated
from auditlog.redaction.pairs import Judge
from auditlog.redaction.policy import Policy
from auditlog.redaction.rules import DRAWN_AT_RANDOM, NO_DERIVATIVE, OPTIONAL_CLASSES
from auditlog.redaction.secret_values import Hit
from auditlog.redaction.text_search import TextSearch
from auditlog.redaction.visible import bare, escaped, sequences

__all__ = ["Replaced", "TextRedactor"]

_MAX_NESTED_JSON: Final = 4
_JSON_STARTS: Final = ("{", "[", '"', " ", "\n", "\t", "\r")
_JSON_ENDS: Final = ("}", "]", '"')

Replaced = tuple[int, int, str, str]
"""Start and end in the given text, the rule, and what stands there instead."""


class TextRedactor:
    """The rules of one policy for texts; every method may be called from any thread.

    ``within_json`` redacts a text that may be JSON by its structure, given the redactor of the text
    around it; ``around`` is that redactor, where this one is for texts inside of JSON.
    """

    __slots__ = (
        "_known_key",
        "_lock",
        "_optional",
        "_search",
        "_show",
        "_within_json",
        "counts",
        "key",
        "most_bytes",
        "nested",
        "policy",
    )

    def __init__(
        self,
        policy: Policy,
        meaning: Judge,
        key: Callable[[], bytes | None],
        within_json: Callable[[str, TextRedactor], str],
        *,
        visible: bool,
        most_bytes: int,
        around: TextRedactor | None,
    ) -> None:
        self.policy = policy
        self.key = key
        self._known_key: bytes | None = None
        self._optional = policy.classes & OPTIONAL_CLASSES
        patterns = {name: re.compile(pattern) for name, pattern in policy.patterns}
        self._search = TextSearch(meaning, policy.classes, patterns)
        self._show = escaped if visible else _unchanged
        self.most_bytes = most_bytes
        self.nested: int = 0 if around is None else around.nested + 1
        looks_within = "json" in policy.classes and self.nested < _MAX_NESTED_JSON
        self._within_json = within_json if looks_within else None
        self._lock: threading.Lock = threading.Lock() if around is None else around._lock  # noqa: SLF001  (its own kind)
        self.counts: dict[str, int] = {} if around is None else around.counts

    def counted(self) -> dict[str, int]:
        """How often each rule fired until now."""
        with self._lock:
            return dict(self.counts)

    def full(self, text: str, where: str) -> str:
        """Return the text after every rule was applied; ``where`` names it in an error.

        Raises RecordTooLarge before anything is looked at, InvalidEvent for a lone surrogate.
        """
        if len(text) > self.most_bytes:
            raise RecordTooLarge(
                f"{where} alone has {len(text)} characters, a record {MAX_RECORD_BYTES} bytes",
                hint="Log its length and a hash instead.",
            )
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InvalidEvent(
                    f"{where} has a lone surrogate at character {error.start}",
                    hint="Decode the bytes with errors='replace'.",
                ) from None
        return self.redacted(text)

    def redacted(self, text: str) -> str:
        """As full, for a text that has been checked."""
        replacements = self.replacements(text)
        text = self.replaced(text, replacements) if replacements else self._show(text)
        if (
            self._within_json is not None
            and text[:1] in _JSON_STARTS
            and text.rstrip()[-1:] in _JSON_ENDS
        ):
            return self._within_json(text, self)
        return text

    def replacements(self, text: str) -> list[Replaced]:
        """List what is replaced in a text, and by which rule."""
        hits = self._find(text)
        if sequences(text):
            shown = bare(text)
            for start, end, rule in self._find(shown.text):
                hits.append((*shown.place(start, end), rule))
        return self.resolved(text, hits)

    def _find(self, text: str) -> list[Hit]:
        hits = self._search.find(text)
        if self._optional:
            find_optional(text, self._optional, hits)
        return hits

    def resolved(self, text: str, hits: list[Hit]) -> list[Replaced]:
        """The hits without overlaps, in order, each with what stands for it."""
        if not hits:
            return []
        hits.sort()
        merged: list[Hit] = [hits[0]]
        for start, end, rule in hits[1:]:
            before = merged[-1]
            if start < before[1]:
                longer = end - start > before[1] - before[0]
                weak = before[2] in NO_DERIVATIVE or (longer and rule not in NO_DERIVATIVE)
                kept = before[2] if before[2] in NO_DERIVATIVE or not longer else rule
                if not weak and rule in NO_DERIVATIVE:
                    kept = rule
                merged[-1] = (before[0], max(end, before[1]), kept)
            else:
                merged.append((start, end, rule))
        return [
            (start, end, rule, self.hidden(rule, _shown(text[start:end])))
            for start, end, rule in merged
            if not is_redacted(text[start:end])
        ]

    def replaced(self, text: str, replacements: list[Replaced]) -> str:
        """The text with the replacements, and all else made visible."""
        pieces: list[str] = []
        done = 0
        for start, end, _, instead in replacements:
            pieces += self._show(text[done:start]), instead
            done = end
        return "".join([*pieces, self._show(text[done:])])

    def hidden(self, rule: str, secret: str) -> str:
        """Count the secret and return what stands for it."""
        with self._lock:
            self.counts[rule] = self.counts.get(rule, 0) + 1
        if rule == "ip":
            return truncated(secret)
        if rule not in NO_DERIVATIVE and (rule in DRAWN_AT_RANDOM or strong(secret)):
            if self._known_key is None:
                self._known_key = self.key()
            if self._known_key is not None:
                digest = hmac.digest(
                    self._known_key, secret.encode("utf-8", "surrogatepass"), "sha256"
                )
                return f"hmac-sha256:{digest.hex()[:12]}"
        return f"[redacted:{rule}]"


def _unchanged(text: str) -> str:
    return text


def _shown(text: str) -> str:
    return bare(text).text if sequences(text) else text
