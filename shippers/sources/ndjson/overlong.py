"""Hash an overlong line while reading it, keeping only its beginning.

Invariants (tests of the same name in tests/shippers/sources/ndjson/test_overlong.py):
  same_hash  fed in any pieces, it has the hash and the size of the whole line
"""

from __future__ import annotations

from hashlib import sha256

__all__ = ["Overlong"]


class Overlong:
    """``content`` is the beginning that is kept; it is fed as well, as every byte of the line."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.scanned_bytes = 0
        self._digest = sha256()
        self._held = b""  # an end of line, when nothing follows: line_hash does not cover that

    @property
    def size_bytes(self) -> int:
        """Without the end of line."""
        return self.scanned_bytes - len(self._held)

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the line; its LF is not one of them."""
        self.scanned_bytes += len(chunk)
        if body := chunk.rstrip(b"\r"):
            self._digest.update(self._held)
            self._digest.update(body)
            self._held = b""
        self._held += chunk[len(body) :]

    def line_hash(self) -> str:
        """Return foreign_files.line_hash of the line fed so far."""
        return self._digest.hexdigest()
