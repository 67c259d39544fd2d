r"""Escape deceptive characters visibly, and decode the escapes.  Pure.

Control characters (line breaks and tabs excepted), ANSI sequences through their escape character,
bidirectional controls, zero-width and tag characters become ``\u001b``, ``\u202e`` or
``\U000e0041``: text that no terminal obeys.  A backslash that begins such an escape already
becomes ``\u005c``, so that the original can always be told.  A joiner between letters of a script
that needs it, or in an emoji, stays.

Invariants (tests of the same name in tests/auditlog/redaction/test_visible.py):
  harmless     no escaped text has a character in it that a terminal obeys or nobody sees
  reversible   reveal gives back every text that was escaped
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from typing import Any, Final

__all__ = ["DECEIVES", "Bare", "bare", "escaped", "reveal", "reveal_all", "sequences"]

_RANGES: Final = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f"
)
_JOINER: Final = (
    r"(?<![\u0600-\u1fff\u2100-\ufefe\U00010000-\U000dffff])[\u200c\u200d]"
    r"|[\u200c\u200d](?![\u0600-\u1fff\u2100-\ufefe\U00010000-\U000dffff])"
)
DECEIVES: Final = f"[{_RANGES}]|{_JOINER}"
"""Pattern of one character that is escaped."""

_UNSEEN: Final = re.compile(f"[{_RANGES}\u200c\u200d]")
_ESCAPE: Final = re.compile(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
_ANSI: Final = (
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"  # OSC, DCS, SOS, PM, APC, with their strings
    r"[^\x07\x1b\x90\x98\x9c-\x9f]{0,512}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{0,8}[0-~]"  # two-character sequences
)
_SKIPPED: Final = re.compile(f"(?:{_ANSI}|[{_RANGES}\u200c\u200d])+")


class _Table(dict[int, int | str]):
    """Table for str.translate, filled as characters are first seen."""

    def __missing__(self, code: int) -> int | str:
        shown: int | str = code
        if code not in (0x200C, 0x200D) and _UNSEEN.match(chr(code)) is not None:
            shown = f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        if len(self) < 4096:
            self[code] = shown
        return shown


_VISIBLE: Final = _Table()


@cache
def _joiners() -> re.Pattern[str]:
    """Return the compiled pattern of joiners; compiling takes milliseconds, and few texts need it."""
    return re.compile(_JOINER)


def escaped(text: str) -> str:
    """Return the text with deceiving characters written as visible escapes."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    if "\\" in text:
        text = _ESCAPE.sub(_keep_literal, text)
    text = text.translate(_VISIBLE)
    return _joiners().sub(_visible, text) if "\u200c" in text or "\u200d" in text else text


def reveal(text: str) -> str:
    """Return the text as it was before ``escaped``."""
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def reveal_all(value: Any) -> Any:
    """A JSON value with every text and key in it as it was before ``escaped``."""
    if isinstance(value, str):
        return reveal(value)
    if isinstance(value, dict):
        return {reveal(key): reveal_all(item) for key, item in value.items()}
    return [reveal_all(item) for item in value] if isinstance(value, list) else value


def _visible(joiner: re.Match[str]) -> str:
    return f"\\u{ord(joiner[0]):04x}"


def _keep_literal(match: re.Match[str]) -> str:
    character = _character(match)
    return "\\u005c" + match[0][1:] if character != match[0] else match[0]


def _character(match: re.Match[str]) -> str:
    code = int(match[1] or match[2], 16)
    if code == 0x5C:
        return "\\"
    if code > 0x10FFFF:
        return match[0]
    return chr(code) if _UNSEEN.match(chr(code)) else match[0]


class Bare:
    """A text without its sequences, and where its characters stood."""

    __slots__ = ("_ends", "_shifts", "text")

    def __init__(self, original: str) -> None:
        pieces: list[str] = []
        self._ends: list[int] = []
        self._shifts: list[int] = []
        done = length = 0
        for match in _SKIPPED.finditer(original):
            pieces.append(original[done : match.start()])
            length += match.start() - done
            done = match.end()
            self._ends.append(length)
            self._shifts.append(done - length)
        self.text = "".join([*pieces, original[done:]])

    def place(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that the characters from start to end came from."""
        return self._at(start), self._at(end - 1) + 1

    def _at(self, position: int) -> int:
        before = bisect_right(self._ends, position)
        return position + (self._shifts[before - 1] if before else 0)


def bare(text: str) -> Bare:
    """The text as it looks on a terminal."""
    return Bare(text)


def sequences(text: str) -> bool:
    """Whether the text holds characters that a terminal does not show."""
    return _SKIPPED.search(text) is not None
