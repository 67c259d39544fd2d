"""Turn the lines of a log into the leaves of its tree.  Pure.

Record ``seq`` is leaf ``seq - 1``, and its line without the LF is what is hashed.  The stub of an
erased record states the leaf that the record had.  A record that
retention deleted before the tree had come to it has the leaf of an empty line, so that every other
record keeps its place.

Invariants (tests of the same name in tests/auditlog/evidence/test_leaves.py):
  in_order   leaves come for exactly the lines that carry the next numbers of the log
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditlog.evidence.merkle import leaf_hash, leaf_hashes
from auditlog.format.record import stub_leaf

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DELETED_LEAF", "STUB_MARK", "leaf_of", "leaves_in_order"]

DELETED_LEAF: Final = leaf_hash(b"")
STUB_MARK: Final = b'"event_type":"log.record_erased"'
"""Every stub of an erased record has it, and perhaps another line."""


def leaf_of(line: bytes) -> bytes:
    """The leaf of a line without its LF."""
    return stub_leaf(line + b"\n") or leaf_hash(line)


def leaves_in_order(
    lines: Sequence[bytes], prefix: bytes, seq: int, *, has_stubs: bool = True
) -> list[bytes]:
    """The leaves of the first lines (without LF), as far as they are records ``seq``, ``seq`` + 1…

    ``prefix`` is that of format.record.log_prefix.  Only the beginning of a line is looked at:
    whether the record is intact is for verification to say, and the tree commits to it as it is.
    ``has_stubs`` False says that none of the lines has STUB_MARK, which saves a look at each.
    """
    count = _in_order(lines, prefix, seq)
    if count < len(lines):
        lines = lines[:count]
    return [leaf_of(line) for line in lines] if has_stubs else leaf_hashes(lines)


def _in_order(lines: Sequence[bytes], prefix: bytes, seq: int) -> int:
    """How many of the first lines are the records from ``seq`` on."""
    digits = len(str(seq))
    if len(str(seq + len(lines))) == digits:
        # All at once, three times as fast: slices that are each at most so wide, and together as
        # long as is expected, are each as wide.
        width, text = len(prefix) + digits + 1, prefix.decode("ascii")
        numbers = f",{text}".join(map(str, range(seq, seq + len(lines))))
        if b"".join([line[:width] for line in lines]) == f"{text}{numbers},".encode("ascii"):
            return len(lines)
    for count, line in enumerate(lines):
        if not line.startswith(b"%b%d," % (prefix, seq + count)):
            return count
    return len(lines)
