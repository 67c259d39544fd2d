"""Find each log's newest known record, from head notes and all cursors.

The hash chain proves the order of the records that are left.  It cannot prove that they are all:
when the newest segments, or every file of a log, are deleted, nothing in what is left is wrong.
The registry holds what other places remember, so that verification can name what is missing:

    <dir>/.auditlog/<log>.head                  the newest segment that had a durable record
    <state_dir>/cursors/<sink>/<log>.cursor     the last record that the sink acknowledged

Whoever can delete the segments can often delete these as well; a sink under another
administration, or a witness, is the stronger proof (docs/threat-model.md).

Invariants (tests of the same name in tests/auditlog/reading/test_registry.py):
  union       a log is known when any of the sources knows it
  forgotten   a log that was forgotten on record is expected by nobody
  place       a cursor's known record names the exact record: its number, hash and place
  reads_only  nothing is created or changed, and what cannot be read hides no other known record
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditlog.cursors import CursorStore
from auditlog.errors import CursorDamaged, InvalidName
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import LOG_FORGOTTEN, parse_forgotten_log
from auditlog.reading.head_note import known_logs
from auditlog.reading.inventory import STATE_DIRECTORY, scan
from auditlog.reading.tombstone_scan import retention_lines

if TYPE_CHECKING:
    import os
    from collections.abc import Container, Iterable, Iterator, Sequence

__all__ = ["KnownRecord", "forgotten_logs", "known_records", "known_records_by_directory"]


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """The newest record of a log that one source knows: its number, hash and place.

    ``source`` names the source for people.  ``seq`` is 0 and ``segment`` empty where the source
    only knows that the log had records.  ``offset`` is the byte after the record's LF in the
    uncompressed segment.
    """

    log: str
    source: str
    seq: int = 0
    hash: str = ""
    segment: str = ""
    offset: int = 0


def known_records(directory: str | os.PathLike[str]) -> tuple[KnownRecord, ...]:
    """Return what ``<directory>/.auditlog`` knows: head notes, and cursors of an agent there.

    Logs that were forgotten on purpose are left out.  Raises OSError.
    """
    place = Path(directory)
    present = set(map(str, scan(place).logs)) if place.is_dir() else set()
    return _expected(tuple(_of_directory(place)), present, [place])


def forgotten_logs(directories: Iterable[Path]) -> dict[str, int]:
    """Return the logs that `auditctl forget` retired, each with the last seq that was known then.

    The records of it are in the logs of retention in these directories.  Raises OSError.
    """
    found: dict[str, int] = {}
    for directory in directories:
        for header, line in retention_lines(scan(directory).logs, LOG_FORGOTTEN):
            if (one := parse_forgotten_log(header, line)) is not None:
                found[one.log] = max(one.through_seq, found.get(one.log, 0))
    return found


def _expected(
    found: Sequence[KnownRecord], present: Container[str], directories: Sequence[Path]
) -> tuple[KnownRecord, ...]:
    """Leave out what was forgotten; the records of that are read only where a log is absent."""
    if all(expected.log in present for expected in found):
        return tuple(found)
    forgotten = forgotten_logs(directories)
    return tuple(one for one in found if one.seq > forgotten.get(one.log, -1))


def _of_directory(directory: Path) -> Iterator[KnownRecord]:
    own = directory / STATE_DIRECTORY
    for log in known_logs(directory):
        yield KnownRecord(str(log), f"{own / f'{log}.head'}")
    yield from _of_cursors(own)


def known_records_by_directory(
    directories: Sequence[Path], state_dir: Path | None
) -> dict[Path, tuple[KnownRecord, ...]]:
    """Return the same for several directories that share a ``state_dir`` (if any), by directory.

    A cursor does not say in which directory its log lies.  It counts for the directory that has
    the log; when none has it, for the first one.  Directories that do not exist are left out.
    Raises OSError.
    """
    present = [directory for directory in directories if directory.is_dir()]
    found = {directory: list(_of_directory(directory)) for directory in present}
    logs = {directory: set(map(str, scan(directory).logs)) for directory in present}
    homes = {
        log: directory
        for directory in reversed(present)
        for log in (*logs[directory], *(one.log for one in found[directory]))
    }
    for expected in _of_cursors(state_dir) if present and state_dir is not None else ():
        home = found[homes.get(expected.log, present[0])]
        if expected not in home:
            home.append(expected)
    anywhere = frozenset().union(*logs.values())
    return {place: _expected(known, anywhere, present) for place, known in found.items()}


def _of_cursors(state_dir: Path) -> Iterator[KnownRecord]:
    store = CursorStore(state_dir)
    for sink in store.sinks():
        for log in store.logs(sink):
            try:
                LogId.parse(log)
                cursor = store.load(sink, log)
            except InvalidName:
                continue  # not a cursor of ours
            except CursorDamaged:
                yield KnownRecord(log, f"the damaged cursor of sink {sink}")
                continue
            if cursor is not None:
                yield KnownRecord(
                    log,
                    f"the cursor of sink {sink}",
                    cursor.seq,
                    cursor.hash,
                    cursor.segment,
                    cursor.offset,
                )
