"""Remove erased records from quarantines, acknowledged entries included.

Invariant (test of the same name in tests/shippers/quarantine/test_erasure.py):
  taken_out   no entry holds the line of an erased record, or a server's words about it
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from auditlog import durable_fs
from auditlog.format.record import parse_header
from shippers.quarantine.store import changing, read_entries, take_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shippers.quarantine.entry import StoredEntry
    from shippers.sinks.erasure import ErasedRecord

__all__ = ["erase_from_quarantines"]


def erase_from_quarantines(state_dir: Path, records: Iterable[ErasedRecord]) -> int:
    """Take them out durably; returns how many entries that were.

    Raises QuarantineDamaged, Locked, OSError.
    """
    wanted = {(each.log, each.seq) for each in records}
    taken = 0
    for path in _files(state_dir / "quarantine"):
        with changing(path):
            with suppress(FileNotFoundError):  # a run that was killed left it
                durable_fs.unlink(path.with_name(f".{path.name}.release"))
            ids = {entry.id for entry in read_entries(path) if _is_of(entry, wanted)}
            if ids:
                take_out(path, ids)
                taken += len(ids)
    return taken


def _files(place: Path) -> Iterator[Path]:
    for directory in (place, place / "acknowledged"):
        yield from sorted(directory.glob("*.ndjson"))


def _is_of(entry: StoredEntry, wanted: set[tuple[str, int]]) -> bool:
    line = entry.line
    if line is None:  # an alarm about the log says nothing of the record
        return False
    header = parse_header(line)
    named = {(entry.fields["log"], entry.fields.get("seq"))}
    if header is not None:
        named.add((header.log, header.seq))
    return bool(named & wanted)
