"""Move what is in quarantine on, once its cause is mended: deliver it again, then take it out.

An entry leaves the file only after its sink has acknowledged it.  Killed in between, the next run
finds it still there, and the sink answers that it has it.  The shipper may go on meanwhile: both
take the same lock to change the file.

Invariants (tests of the same name in tests/shippers/quarantine/test_retry.py):
  no_loss     an entry is in the file until the sink has it, wherever the process is killed
  no_double   what the sink has is delivered again without a second copy
  kept        alarms, what is still refused and what was entered meanwhile stay as they are
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from auditlog import durable_fs
from auditlog.format.record import parse_header
from shippers.backoff import Backoff
from shippers.batch import Shipment
from shippers.document import Document
from shippers.errors import QuarantineDamaged
from shippers.outcome import Kind, Outcome
from shippers.quarantine.store import lock_file
from shippers.sinks.protocol import Sink

__all__ = ["Kept", "Release", "changing", "kept", "release", "take_out"]

_BATCH: Final = 500
_BATCH_BYTES: Final = 2 << 20
_LOCK_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry as it stands in the file; ``id`` is made of its bytes and names it for people."""

    id: str
    fields: dict[str, Any]

    @property
    def alarm(self) -> bool:
        """Whether it says that something was changed or is strange, and not that a sink refused."""
        return bool(self.fields["kind"] != "refused")

    @property
    def line(self) -> bytes | None:
        """The record's line, or the document's body; None for an alarm."""
        if "line_base64" in self.fields:
            return base64.b64decode(self.fields["line_base64"])
        line = self.fields.get("line")
        return None if line is None else str(line).encode()

    @property
    def document(self) -> Document | None:
        named = self.fields.get("document")
        line = self.line
        if named is None or line is None:
            return None
        return Document(named["source"], named["id"], named["at"], line)

    @property
    def shipment(self) -> Shipment | None:
        """None for an alarm, a document, and for a line that is no record."""
        line = self.line
        header = None if line is None or "document" in self.fields else parse_header(line)
        return None if line is None or header is None else Shipment(line, header)


@dataclass(slots=True)
class Release:
    """What became of the entries that were to be moved on."""

    released: int = 0
    refused: list[tuple[Kept, str]] = field(default_factory=list)
    waiting: list[tuple[Kept, str]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.refused and not self.waiting


def kept(path: Path) -> Iterator[Kept]:
    """The whole entries of a quarantine file; none when there is no file.

    Raises QuarantineDamaged for a line that is no entry, OSError.
    """
    offset = 0
    for line in _lines(path):
        try:
            fields = orjson.loads(line)
            named = fields["kind"], fields["log"], fields["reason"]
            assert all(isinstance(text, str) for text in named)  # noqa: S101  (raised below)
        except (ValueError, KeyError, TypeError, AssertionError):
            raise QuarantineDamaged(
                "the line is not an entry of the quarantine",
                path=path,
                offset=offset,
                hint="Move the file away; what is quarantined again is entered again.",
            ) from None
        offset += len(line)
        yield Kept(_id(line), fields)


def release(
    path: Path,
    sink: Sink,
    wanted: Callable[[Kept], bool] = lambda _: True,
    *,
    give_up_after: dt.timedelta = dt.timedelta(seconds=60),
    rng: random.Random | None = None,
) -> Release:
    """Deliver the wanted entries again and take those out that arrived.

    Raises QuarantineDamaged, OSError; what has arrived by then is taken out by the next run.
    """
    run = _Run(sink, give_up_after.total_seconds(), rng or random.Random())  # noqa: S311  (jitter)
    batch: list[Kept] = []
    size_bytes = 0
    for entry in kept(path):
        if (entry.shipment is None and entry.document is None) or not wanted(entry):
            continue
        batch.append(entry)
        size_bytes += len(entry.line or b"")
        if len(batch) >= _BATCH or size_bytes >= _BATCH_BYTES:
            run.deliver(batch)
            batch, size_bytes = [], 0
    run.deliver(batch)
    if run.gone:
        with changing(path):
            take_out(path, run.gone)
    return run.result


class _Run:
    def __init__(self, sink: Sink, give_up_seconds: float, rng: random.Random) -> None:
        self.result = Release()
        self.gone: set[str] = set()
        self._sink = sink
        self._give_up_seconds = give_up_seconds
        self._rng = rng

    def deliver(self, entries: list[Kept]) -> None:
        """Until each has a final outcome, or the sink took nothing for too long."""
        backoff, attempt = Backoff(), 0
        progress_at = time.monotonic()
        left = entries
        while left:
            again: list[tuple[Kept, str]] = []
            for entry, outcome in self._attempt(left):
                if outcome.kind is Kind.RETRY:
                    again.append((entry, outcome.reason))
                elif outcome.kind is Kind.QUARANTINED:
                    self.result.refused.append((entry, outcome.reason))
                elif not outcome.verified and entry.fields["kind"] == "tampered":
                    reason = "this user may not read, so the alarm cannot be cleared"
                    self.result.refused.append((entry, reason))
                else:
                    self.result.released += 1
                    self.gone.add(entry.id)
            if len(again) < len(left):
                progress_at, attempt = time.monotonic(), 0
            left = [entry for entry, _ in again]
            if left and time.monotonic() - progress_at >= self._give_up_seconds:
                self.result.waiting += again
                return
            if left:
                attempt += 1
                time.sleep(backoff.delay(attempt, self._rng).total_seconds())

    def _attempt(self, entries: list[Kept]) -> Iterator[tuple[Kept, Outcome]]:
        records = [(entry, shipment) for entry in entries if (shipment := entry.shipment)]
        documents = [(entry, document) for entry in entries if (document := entry.document)]
        if records:
            outcomes = self._sink.deliver([shipment for _, shipment in records])
            yield from zip((entry for entry, _ in records), outcomes, strict=True)
        if documents:
            outcomes = self._sink.deliver_documents([document for _, document in documents])
            yield from zip((entry for entry, _ in documents), outcomes, strict=True)


def take_out(path: Path, gone: Collection[str]) -> None:
    """Replace the file by one without the entries of these ids, inside ``changing``."""
    temporary = path.with_name(f".{path.name}.release")
    if temporary.exists():
        durable_fs.unlink(temporary)  # what a killed run left
    fd = durable_fs.create_exclusive(temporary)
    try:
        for line in _lines(path):
            if _id(line) not in gone:
                durable_fs.write_all(fd, line)
        durable_fs.fsync(fd)
    finally:
        os.close(fd)
    durable_fs.rename(temporary, path)
    durable_fs.fsync_directory(path.parent)


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Nobody else adds to the quarantine file, or takes out, meanwhile.  Raises Locked, OSError."""
    lock = _lock(path)
    try:
        yield
    finally:
        lock.release()


def _lock(path: Path) -> durable_fs.FileLock:
    """The shipper holds it for one write at a time, so it is ours soon."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return lock_file(path)
        except durable_fs.Locked:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        fd = durable_fs.open_read(path)
    except FileNotFoundError:
        return
    with os.fdopen(fd, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def _id(line: bytes) -> str:
    return sha256(line).hexdigest()[:16]
