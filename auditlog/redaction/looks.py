"""Decide by a text's characters whether it looks random, masked or secret.  Pure.

Invariants (tests of the same name in tests/auditlog/redaction/test_looks.py):
  names     a name, path, digest, UUID or version never looks random
  random    a random text of letters and digits nearly always does
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

__all__ = [
    "basic_credentials",
    "guessed_password",
    "is_fact",
    "is_masked",
    "is_redacted",
    "looks_random",
    "strong",
]

_REDACTED: Final = re.compile(
    r"(?:hmac-)?sha256:[0-9a-f]{12}|\[redacted(?::[a-z0-9_.-]{1,64})?\]", re.IGNORECASE
)
_MASKED: Final = re.compile(
    r"[*x\u2022.#_-]+|\*\*\*.{0,4}|.{0,4}\*{3,}.{0,4}|[\[<(]?(?:redacted|filtered|hidden|masked|removed|omitted"
    r"|sensitive|none|null|nil|undefined|empty|true|false|yes|no|unset)[\])>]?|\$\{\w{1,64}\}|\$\([a-z_ -]{1,64}\)|\{\{.{0,80}\}\}|%\w{0,3}",
    re.IGNORECASE,
)
_VARIABLE: Final = re.compile(r"\$[A-Z_]{3,64}")
_CLASSES: Final = str.maketrans(
    {chr(c): "d" for c in range(48, 58)}
    | {chr(c): "u" for c in range(65, 91)}
    | {chr(c): "l" for c in range(97, 123)}
)
_DIGIT: Final = re.compile(r"[0-9]")
_LETTER: Final = re.compile(r"[^\W\d_]")
_BLANK: Final = re.compile(r"\s")
_SIGN: Final = re.compile(r"[\W_]")
_CHANGES: Final = re.compile(r"(?<=d)(?=[ul])|(?<=u)(?=[dl])|(?<=l)(?=[du])")
_HEX: Final = re.compile(r"[0-9a-f-]+|[0-9A-F-]+")
_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d")
_DECISION: Final = re.compile(
    r"(?:(?:was|not|is|has|been|by|the|successfully|still)\s)*"
    r"(?:absent|accepted|allow(?:ed)?|approved|cached|changed|checked|configured|confirmed|created|"
    r"deleted|denied|deny|disabled|empty|enabled|error|exists?|expired|failed|failure|forbidden|found|"
    r"generated|granted|grant|incorrect|invalid|issued|locked|loaded|mismatch|missing|none|null|ok|"
    r"ok(?:ay)|optional|pending|permit(?:ted)?|present|protected|provided|refreshed|refused|"
    r"rejected|renewed|required|reset|revoked|rotated|set|skipped|stored|success(?:ful)?|"
    r"succeeded|unauthorized|unchanged|unknown|unset|updated|used|valid|validated|verified|wrong)"
    r"(?:$|[\s.,:;!?()])",
    re.IGNORECASE,
)
_CREDENTIALS: Final = re.compile(r"([\w.%+@$-]{1,64}):([\x21-\x7e]{4,256})", re.ASCII)


def is_redacted(text: str) -> bool:
    """Whether the text is a marker of redaction, of this or an earlier version."""
    return _REDACTED.fullmatch(text) is not None


def is_masked(text: str) -> bool:
    """Whether the text stands for a secret without being one: ``***``, ``null``, ``${VAR}``."""
    return len(text) <= 100 and (_MASKED.fullmatch(text) or _VARIABLE.fullmatch(text)) is not None


def is_fact(text: str) -> bool:
    """Whether the text is a statement about a secret: ``denied``, ``changed by admin``."""
    return _DECISION.match(text, 0, 80) is not None


def changes(text: str) -> int:
    """Count the changes between lower case, upper case and digits."""
    return len(_CHANGES.findall(text[:512].translate(_CLASSES)))


def looks_random(text: str, least: int = 16) -> bool:
    """Whether the text is long and mixed enough to be a token; hex digits alone are a digest."""
    if len(text) < least or _DIGIT.search(text, 0, 512) is None:
        return False
    if _HEX.fullmatch(text) or _DATED.search(text, 0, 64) or " " in text or "://" in text:
        return False
    letters = min(len(text), 512) - len(_SIGN.findall(text, 0, 512))
    return letters * 4 >= min(len(text), 512) * 3 and changes(text) * 10 >= letters * 3


def strong(text: str) -> bool:
    """Whether the text is too random to be guessed, so that a keyed fingerprint is safe."""
    if len(text) < 20 or " " in text:
        return False
    if len(set(text[:256])) < 10:
        return False
    if _HEX.fullmatch(text):
        return len(text) >= 32
    return any(c.isdigit() for c in text[:256]) and changes(text) >= 4


def guessed_password(text: str) -> bool:
    """Whether a short text under a key of unsure meaning looks like a password."""
    if len(text) < 6 or _DIGIT.search(text, 0, 64) is None or text[0] in "/~" or "://" in text:
        return False
    if _HEX.fullmatch(text) or _DATED.search(text, 0, 64):
        return False
    return _LETTER.search(text, 0, 64) is not None and _BLANK.search(text, 0, 64) is None


def basic_credentials(encoded: str, *, after_scheme: bool) -> bool:
    """Whether the text is ``user:password`` in base64.

    Bare, without ``Basic`` before it, it must not be an identifier such as ``User:12345``.
    """
    if len(encoded) > 1024:
        return False
    text = encoded.rstrip("=").translate({0x2D: "+", 0x5F: "/"})
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    if after_scheme:
        return b":" in decoded
    try:
        found = _CREDENTIALS.fullmatch(decoded.decode("ascii"))
    except UnicodeDecodeError:
        return False
    if found is None or len(found[2]) < 6 or not found[1][0].islower():
        return False
    return any(not c.isalnum() for c in found[2]) or guessed_password(found[2])
