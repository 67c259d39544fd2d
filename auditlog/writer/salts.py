"""Generate record salts in bulk, 16 random bytes each.

A hash of a guessable line can be guessed.  With its salt a record that was erased cannot be told
from what is left of it: its hash and its leaf in the tree.

Invariants (tests of the same name in tests/auditlog/writer/test_salts.py):
  distinct   no two records of a log have one salt
"""

from __future__ import annotations

import os
from binascii import b2a_base64
from typing import Final

__all__ = ["SALT_BYTES", "Salts"]

SALT_BYTES: Final = 16
_DRAWN: Final = 256  # a system call costs more than a hundred of these bytes
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class Salts:
    """The salts of one open log; called by one thread at a time."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[bytes] = []

    def member(self) -> bytes:
        """The member ``salt`` of a record, with the comma before it."""
        if not self._left:
            drawn = os.urandom(SALT_BYTES * _DRAWN)
            encoded = [
                b2a_base64(drawn[start : start + SALT_BYTES], newline=False)
                for start in range(0, len(drawn), SALT_BYTES)
            ]
            self._left = [b',"salt":"%b"' % text[:-2].translate(_URL_SAFE) for text in encoded]
        return self._left.pop()
