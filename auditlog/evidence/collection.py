"""Collect checkpoints from files, URLs, the agent's state, the logs themselves and witnesses.

Collected checkpoints are not trusted yet: a trust policy decides (see verification).  Places that
cannot be read are left out, as the others may still have a checkpoint.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditlog.errors import LogDamaged
from auditlog.evidence.checkpoint_file import read_checkpoints
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.note import MAX_NOTE_BYTES, Note
from auditlog.evidence.stamping import newest_stamp
from auditlog.evidence.witness_client import fetch_checkpoint, fetch_note
from auditlog.format.record import decode
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import home_of, scan
from auditlog.reading.reader import iter_lines, open_any_form

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditlog.evidence.policy import TrustPolicy

__all__ = [
    "CHECKPOINT_SERVICE",
    "Candidate",
    "from_file",
    "from_logs",
    "from_state",
    "from_url",
    "from_witnesses",
    "place_of_record",
    "read_up_to",
]

CHECKPOINT_EVENT: Final = "evidence.checkpoint"
CHECKPOINT_SERVICE: Final = "evidence"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A signed checkpoint, with a description of its source for messages."""

    note: Note
    source: str


def read_up_to(path: Path, most: int) -> bytes:
    """Read a file; of a longer one a byte more than ``most``, which the parsers refuse."""
    with path.open("rb") as file:
        return file.read(most + 1)


def place_of_record(directories: Sequence[Path], host: str | None) -> Path:
    """Return the directory of the log evidence@<host>."""
    return home_of(LogId(CHECKPOINT_SERVICE, host or os.uname().nodename), directories)


def from_file(path: Path) -> Candidate:
    """Read a checkpoint from a file.  Raises BadEvidence, naming the file, and OSError."""
    try:
        return Candidate(Note.parse(read_up_to(path, MAX_NOTE_BYTES)), str(path))
    except BadEvidence as error:
        raise BadEvidence(error.reason, path=path, hint=error.hint) from None


def from_url(url: str) -> Candidate:
    """Fetch a checkpoint from a URL.  Raises BadEvidence, naming the URL, and OSError."""
    try:
        return Candidate(fetch_note(url), url)
    except BadEvidence as error:
        raise BadEvidence(f"{url}: {error.reason}", hint=error.hint) from None


def from_state(state_dir: Path) -> Iterator[Candidate]:
    """Read the checkpoints in the state directory of this host's agent.

    Of those that were time-stamped, the newest of each log.
    """
    for path in sorted((state_dir / "proofs").glob("*/checkpoints")):
        try:
            found, _ = read_checkpoints(path)
        except (BadEvidence, OSError):
            continue
        for signed in found:
            yield Candidate(signed.note, str(path))
        try:
            if (stamp := newest_stamp(path.parent)) is not None:
                yield Candidate(Note.parse(stamp.checkpoint.read_bytes()), str(stamp.checkpoint))
        except (BadEvidence, OSError):
            continue


def from_logs(directory: Path) -> Iterator[Candidate]:
    """Read the checkpoints recorded in the log evidence@<host>.  Raises OSError."""
    marker = f'"event_type":"{CHECKPOINT_EVENT}"'.encode()
    for log, segments in scan(directory).logs.items():
        if log.service != CHECKPOINT_SERVICE:
            continue
        for segment in segments:
            try:
                stream, path = open_any_form(segment)
                with stream:
                    for offset, line in iter_lines(stream, path=path):
                        if marker in line:
                            record = decode(line, path=path, offset=offset)
                            note = Note.of_lines(record.fields["details"]["note"])
                            yield Candidate(note, f"record {record.seq} of {log}")
            except (BadEvidence, LogDamaged, FileNotFoundError, KeyError, TypeError):
                continue


def from_witnesses(policy: TrustPolicy) -> tuple[list[Candidate], list[str]]:
    """Fetch the logs' checkpoints from all witnesses; also return those that did not answer."""
    found, silent = [], []
    for witness in policy.witnesses.values():
        if not witness.url:
            continue
        for origin in policy.logs:
            try:
                note = fetch_checkpoint(witness.url, origin)
            except (BadEvidence, OSError, ValueError) as error:
                silent.append(f"witness {witness.name}: {error}")
                break
            if note is not None:
                found.append(Candidate(note, f"witness {witness.name}"))
    return found, silent
