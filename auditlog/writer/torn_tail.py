"""Find the intact, torn and damaged parts of a segment's end after a crash.  Pure.

A commit is one write of at most MAX_COMMIT_BYTES, and the next one starts only when the last is
durable.  So a crash tears at most that much, at the very end, and leaves there a prefix of the
write, zeros where a page was not written, and whole lines behind such a hole.  What a crash cannot
leave is a whole line, with its LF and without a hole, that is not the next record: that is damage,
and cutting it would destroy evidence.

Invariants (tests of the same name in tests/auditlog/writer/test_torn_tail.py):
  every_cut      cut at any byte, the whole lines before the cut stand and the rest is torn
  zeros          a tail of NULs, or one without an LF, is torn
  evidence       a changed byte in a whole line is damage, never torn
  untouched      a clean end has nothing torn
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from auditlog.format.record import MAX_RECORD_BYTES, Header, check_link, parse_header
from auditlog.writer.flush_policy import MAX_COMMIT_BYTES

__all__ = ["WINDOW_BYTES", "Tail", "scan_tail"]

WINDOW_BYTES: Final = MAX_COMMIT_BYTES + 2 * (MAX_RECORD_BYTES + 1)
"""How much of the end to give scan_tail: one commit, one whole record before it, one cut one."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the intact records.

    ``last`` is the last of them (None: there is none in the window) and ``end`` the offset behind
    it.  What follows is torn, unless ``damage`` says what is wrong there; then nothing may be cut.
    """

    last: Header | None
    end: int
    damage: str = ""


def scan_tail(window: bytes, start: int, log: str) -> Tail:
    """Judge the last bytes of a segment; ``start`` is the window's offset in it.

    Either the window starts at 0, or its first, incomplete line is passed over.
    """
    position = 0 if start == 0 else window.find(b"\n") + 1
    if start > 0 and position == 0:
        return Tail(None, start, "no line ends within the last bytes")
    last: Header | None = None
    while line_end := window.find(b"\n", position) + 1:
        line = window[position:line_end]
        header = parse_header(line)
        if header is None:
            break
        if problem := _problem(header, line, log, last):
            return Tail(last, start + position, problem)
        last, position = header, line_end
    return Tail(last, start + position, _unreadable(window[position:], start, last))


def _problem(header: Header, line: bytes, log: str, last: Header | None) -> str:
    """Return why a line is not the next record, "" when it is."""
    if header.log != log:
        return "the line belongs to another log"
    seq, prev_hash = (header.seq, header.prev_hash) if last is None else (last.seq + 1, last.hash)
    return {
        None: "",
        "hash_mismatch": "the record's hash does not match its content",
        "chain_break": "the record does not follow the one before it",
        "seq_gap": "records are missing before this one",
        "seq_repeat": "the record repeats a number",
    }[check_link(header, line, seq=seq, prev_hash=prev_hash)]


def _unreadable(rest: bytes, start: int, last: Header | None) -> str:
    """Why a crash cannot have left the bytes behind the last record, or ""."""
    if len(rest) > MAX_COMMIT_BYTES:
        return "more than one commit is unreadable"
    line_end = rest.find(b"\n") + 1
    if line_end and b"\0" not in rest[:line_end]:
        return "a whole line is not a record"
    if last is None and start > 0:
        return "there is no intact record within the last bytes"
    return ""
