"""Check many lines at once: true only if every line is the log's next record.  Pure.

Fast path: a result other than None is returned only if every line would pass parse_header and
check_link, at a third to a sixth of their cost.  None means that the lines have to be checked with
those two, which say what is wrong.

Nearly every line is the intact next record, and the bytes such a line starts and ends with are
known before it is read.  For many lines these bytes are built at once and compared at once: the
ends of all lines, each with the start of the line behind it.

Invariants (tests of the same name in tests/auditlog/verification/test_fast_path.py):
  same_verdict   lines are accepted if and only if parse_header and check_link accept every one
  every_byte     lines with any byte changed are not accepted
"""

from __future__ import annotations

import re
from hashlib import sha256
from operator import sub
from typing import TYPE_CHECKING, Final, NamedTuple

from auditlog.format.record import MAX_RECORD_BYTES, SUFFIX_BYTES, TIMESTAMP_AND_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Chained", "check_following", "follow", "following_start", "line_ends"]

_AFTER_START: Final = re.compile(TIMESTAMP_AND_TYPE)


def following_start(prefix: bytes, seq: int, prev_hash: str) -> bytes:
    """The bytes that the line of record ``seq`` behind ``prev_hash`` has to start with."""
    return prefix + f'{seq},"prev_hash":"{prev_hash}","@timestamp":"'.encode("ascii")


def check_following(line: bytes, start: bytes) -> tuple[str, re.Match[bytes]] | None:
    """Check one line, LF included; ``start`` comes from following_start.

    Returns the hash of the line and a match whose groups are its timestamp and event type.
    """
    if not line.startswith(start) or len(line) > MAX_RECORD_BYTES + 1:
        return None
    found = _AFTER_START.match(line, len(start))
    if found is None:  # it does not reach into the line's end: see follow
        return None
    digest = sha256(line[:-SUFFIX_BYTES]).hexdigest()
    if not line.endswith(f',"hash":"{digest}"}}\n'.encode("ascii")):
        return None
    if b"\0" in line or b"\r" in line or line.find(b"\n") != len(line) - 1:
        return None
    return digest, found


def line_ends(block: bytes, most: int) -> list[int]:
    """The offsets behind the first LFs of the block, at most ``most`` of them."""
    ends: list[int] = []
    end = 0
    while len(ends) < most and (end := block.find(b"\n", end) + 1):
        ends.append(end)
    return ends


class Chained(NamedTuple):
    """For each line its hash, and a match whose groups are its timestamp and event type."""

    hashes: list[str]
    found: list[re.Match[bytes]]


def follow(
    block: bytes, ends: Sequence[int], prefix: bytes, seq: int, prev_hash: str
) -> Chained | None:
    """Check many lines: the records from ``seq`` on, the first of them behind ``prev_hash``.

    ``ends`` come from line_ends; bytes behind the last of them are ignored.  ``prefix`` comes from
    record.log_prefix.
    """
    start = following_start(prefix, seq, prev_hash)
    if not ends or not block.startswith(start) or not _may_be_records(block, ends):
        return None
    if len(str(seq)) != len(str(seq + len(ends) - 1)):
        return None  # all starts have to be equally long; few blocks have more digits at their end
    begins = [0, *ends[:-1]]
    tails = [end - SUFFIX_BYTES for end in ends]
    hashes = [
        sha256(block[begin:tail]).hexdigest() for begin, tail in zip(begins, tails, strict=True)
    ]
    text = prefix.decode("ascii")
    seams = [
        f',"hash":"{digest}"}}\n{text}{number},"prev_hash":"{digest}","@timestamp":"'
        for number, digest in enumerate(hashes, seq + 1)
    ]
    seams[-1] = f',"hash":"{hashes[-1]}"}}\n'
    if _seams(block, tails, len(start)) != "".join(seams).encode("ascii"):
        return None
    # No match reaches into a line's end: a match ends with ", and a line's end holds that nowhere.
    found = []
    for begin in begins:
        match = _AFTER_START.match(block, begin + len(start))
        if match is None:
            return None
        found.append(match)
    return Chained(hashes, found)


def _may_be_records(block: bytes, ends: Sequence[int]) -> bool:
    """Whether no line is too long and none has a NUL or CR."""
    if max(map(sub, ends, (0, *ends[:-1]))) > MAX_RECORD_BYTES + 1:
        return False
    return block.find(b"\0", 0, ends[-1]) < 0 and block.find(b"\r", 0, ends[-1]) < 0


def _seams(block: bytes, tails: Sequence[int], start_bytes: int) -> bytes:
    """The end of every line with the start of the next one, and the end of the last, joined.

    No piece is longer than expected, so joined pieces that are equal are equal piece by piece.  A
    line that is shorter than one start and one end cannot have both: no end of a start is the
    start of an end.
    """
    reach = SUFFIX_BYTES + start_bytes
    pieces = [block[tail : tail + reach] for tail in tails]
    pieces[-1] = pieces[-1][:SUFFIX_BYTES]
    return b"".join(pieces)
