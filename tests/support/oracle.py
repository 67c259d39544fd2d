"""Read and judge a log on disk without the project's own code: json, hashlib and file names.

Every test that kills, tears or breaks a writer asks here what is left, so that a mistake in the
reader cannot hide one in the writer.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Acks", "Line", "lines_of", "whole_chain"]


@dataclass(frozen=True, slots=True)
class Line:
    """One whole record of a segment."""

    segment: str
    seq: int
    hash: str
    prev_hash: str
    day: str
    fields: dict[str, Any]

    @property
    def event_type(self) -> str:
        return str(self.fields["event_type"])

    @property
    def number(self) -> int | None:
        """The mark that the test wrote into the event, to recognise it."""
        number = self.fields.get("details", {}).get("number")
        return None if number is None else int(number)


def lines_of(segment: Path, offset: int = 0) -> list[Line]:
    """The whole records of a plain segment from an offset on; each must fit its own hash."""
    content = segment.read_bytes()[offset:]
    found = []
    for raw in content.splitlines(keepends=True):
        if not raw.endswith(b"\n"):
            break
        fields = json.loads(raw)
        digest = hashlib.sha256(raw[:-76]).hexdigest()
        assert fields["hash"] == digest, f"{segment.name}: seq {fields['seq']} was changed"
        found.append(
            Line(
                segment.name,
                fields["seq"],
                digest,
                fields["prev_hash"],
                fields["@timestamp"][:10],
                fields,
            )
        )
    return found


def whole_chain(directory: Path, log: str = "queen-rbee@hive1") -> list[Line]:
    """Every record of the log, in order: no gap, no fork, every one in the segment of its day."""
    chain: list[Line] = []
    before, seq = "0" * 64, 0
    for segment in sorted(directory.glob(f"{log}.*.ndjson")):
        day = segment.name.removeprefix(f"{log}.")[:10]
        lines = lines_of(segment)
        for line in lines:
            seq += 1
            assert line.seq == seq, f"{segment.name}: seq {line.seq} where {seq} was due"
            assert line.prev_hash == before, f"{segment.name}: seq {seq} forks the chain"
            assert line.day == day, f"{segment.name}: seq {seq} is of {line.day}"
            before = line.hash
        if lines:
            assert lines[0].event_type == "log.segment_opened", segment.name
        chain += lines
    return chain


class Acks:
    """Where a child notes what it was promised: one line each, ``seq hash number``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def taken(self) -> dict[int, tuple[str, int]]:
        """seq to (hash, number) of every acknowledged event."""
        found = {}
        for line in self._lines():
            if line.startswith("ack "):
                _, seq, digest, number = line.split()
                found[int(seq)] = digest, int(number)
        return found

    def said(self, word: str) -> list[str]:
        """The rest of every other line that starts with this word."""
        return [
            line.removeprefix(word).strip() for line in self._lines() if line.split(" ")[0] == word
        ]

    def _lines(self) -> list[str]:
        """Whole ones: a child that was killed may have written the beginning of another."""
        return self.path.read_text().split("\n")[:-1]

    def missing_from(self, chain: list[Line]) -> list[int]:
        """The numbers of the acknowledged events that the chain does not hold as promised."""
        there = {line.seq: (line.hash, line.number) for line in chain}
        return [seq for seq, promised in self.taken().items() if there.get(seq) != promised]
