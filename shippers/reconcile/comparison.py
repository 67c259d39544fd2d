"""Compare one log's records of one day in the files and in a sink.  Pure.

Both sides come in order of their sequence numbers.  Records are equal if their lines are, byte by
byte, or, for a sink that does not keep the bytes, value by value in the same order; and if the sink
has the record under the day, time, type and hash of its line.  A segment that retention deleted
here is proven in the sink by its chain, from its tombstone's first hash to its last.  A
record that was erased is not expected in the sink, and is a difference if it is still there.

Invariants (tests of the same name in tests/shippers/reconcile/test_comparison.py):
  every_one   every record removed, changed or added on one side is found, and no other
  erased      an erased record is right where it is missing, and found where it is still there
  proven      a deleted segment is whole in the sink only when its chain is, from end to end
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from auditlog.format.json_text import encoded
from auditlog.format.record import is_intact, parse_header, stub_leaf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from auditlog.format.erasures import Erasure
    from auditlog.format.record import Header
    from auditlog.format.tombstones import Tombstone
    from shippers.sinks.read_back import Stored

__all__ = ["Difference", "Side", "TombstoneCheck", "alike", "compare", "intact", "same"]


@dataclass(slots=True)
class Side:
    """Records of one log and day on one side.

    ``digest`` is the SHA-256 of their hashes in order, each followed by LF: what
    ``jq -r .hash | sha256sum`` prints.
    """

    records: int = 0
    first_seq: int | None = None
    last_seq: int | None = None
    head_hash: str = ""
    _digest: Any = field(default_factory=sha256)  # hashlib names no type for it

    def add(self, seq: int, stated_hash: str) -> None:
        self.records += 1
        self.first_seq = seq if self.first_seq is None else self.first_seq
        self.last_seq = seq
        self.head_hash = stated_hash
        self._digest.update(f"{stated_hash}\n".encode("ascii", "replace"))

    @property
    def digest(self) -> str:
        return str(self._digest.hexdigest())


class Difference(NamedTuple):
    """missing: only in the files; extra: only in the sink; different: in both, and not equal;
    erased: erased in the files, and still in the sink.
    """

    kind: Literal["missing", "extra", "different", "erased"]
    seq: int
    record: tuple[Header, bytes] | None
    stored: Stored | None


def compare(
    records: Iterable[tuple[Header, bytes]], stored: Iterable[Stored], files: Side, sink: Side
) -> Iterator[Difference]:
    """The differences, in order of sequence numbers; counts both sides on the way.

    Both have to be in that order, and ``records`` has each number once.
    """
    theirs = iter(stored)
    current = next(theirs, None)
    for header, line in records:
        erased = stub_leaf(line) is not None
        if not erased:
            files.add(header.seq, header.hash)
        while current is not None and current.seq < header.seq:
            yield _extra(current, sink)
            current = next(theirs, None)
        met = False
        while current is not None and current.seq == header.seq:
            if met or current.id != f"{header.log}:{header.seq}":
                yield _extra(current, sink)
            else:
                met = True
                _count(current, sink)
                if erased:
                    yield Difference("erased", header.seq, (header, line), current)
                elif not alike(line, current):
                    yield Difference("different", header.seq, (header, line), current)
            current = next(theirs, None)
        if not met and not erased:
            yield Difference("missing", header.seq, (header, line), None)
    while current is not None:
        yield _extra(current, sink)
        current = next(theirs, None)


def _extra(stored: Stored, sink: Side) -> Difference:
    _count(stored, sink)
    return Difference("extra", stored.seq, None, stored)


def _count(stored: Stored, sink: Side) -> None:
    header = parse_header(stored.line)
    sink.add(stored.seq, "" if header is None else header.hash)


def alike(line: bytes, stored: Stored) -> bool:
    """Whether the sink has the line unchanged and searchable."""
    if stored.misfiled or (stored.verbatim and line != stored.line):
        return False
    return same(line, stored.line)


def same(line: bytes, stored: bytes) -> bool:
    """Whether a sink's copy has the same members and values as the line."""
    if line == stored:
        return True
    try:
        return encoded(orjson.loads(line)) == encoded(orjson.loads(stored))
    except orjson.JSONDecodeError:
        return False


def intact(line: bytes) -> bool:
    """Whether the line is a record that fits its own hash."""
    header = parse_header(line)
    return header is not None and is_intact(header, line)


class TombstoneCheck:
    """Whether a sink still has the whole of a segment that was deleted here.

    ``erased`` are the erasures of its records, by number: these are not expected.
    """

    def __init__(self, tombstone: Tombstone, erased: Mapping[int, Erasure] | None = None) -> None:
        self.tombstone = tombstone
        self._erased = erased or {}
        self.records = 0
        self.problem = ""
        self._next_seq = tombstone.first_seq
        self._hash = tombstone.first_prev_hash

    def covers(self, seq: int) -> bool:
        return self.tombstone.first_seq <= seq <= self.tombstone.last_seq

    def add(self, stored: Stored) -> None:
        """The segment's next record, by number."""
        self.records += 1
        header = parse_header(stored.line)
        self._pass_erased(stored.seq)
        expected = self._next_seq
        self._next_seq = stored.seq + 1
        if stored.seq in self._erased:
            self._found(f"record {stored.seq} was erased and is still in the sink")
            self._hash = self._erased[stored.seq].hash
            return
        if header is None or stored.misfiled or not intact(stored.line):
            self._found(f"record {stored.seq} was changed in the sink")
            self._hash = ""
            return
        if stored.seq > expected:
            self._found(f"records {expected} to {stored.seq - 1} are missing in the sink")
        elif stored.seq < expected or stored.id != f"{header.log}:{header.seq}":
            self._found(f"record {stored.seq} is there twice")
        elif self._hash and header.prev_hash != self._hash:
            self._found(f"record {stored.seq} does not follow the one before it")
        self._hash = header.hash

    def _pass_erased(self, until_seq: int) -> None:
        while self._next_seq < until_seq and self._next_seq in self._erased:
            self._hash = self._erased[self._next_seq].hash
            self._next_seq += 1

    def finish(self) -> None:
        """Finish the check after the last record."""
        last = self.tombstone.last_seq
        self._pass_erased(last + 1)
        if self.records and self._next_seq <= last:
            self._found(f"records {self._next_seq} to {last} are missing in the sink")
        elif self.records and self._hash not in ("", self.tombstone.last_hash):
            self._found(f"record {last} is not the one that was deleted here")

    @property
    def ok(self) -> bool:
        """Whether the sink has all of it, or none of it (deleted by the cluster's own policy)."""
        return not self.problem

    def _found(self, problem: str) -> None:
        self.problem = self.problem or problem
