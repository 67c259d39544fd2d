"""Remember each log's newest checkpoint, and cosign its consistent successors.

    <state>/witness.key       the private key
    <state>/witness.sqlite    the newest checkpoint of each log, and whose key it belongs to

The witness's side of c2sp.org/tlog-witness.  A cosignature says: this is the largest consistent
tree of the log that I have seen.  A witness that forgot what it saw would cosign a log that was
written anew; so key and memory are made together, and neither is used without the other.

Invariants (tests of the same name in tests/auditlog/evidence/test_witness.py):
  answers      every request gets the status that the specification has for it
  never_back   whatever requests come, together or not, no log gets smaller or another history
  remembers    a cosignature is given after its checkpoint is durable, and survives a restart
  together     a key without its memory, and a memory without its key, are refused
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
import threading
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.errors import BadEvidence, EvidenceError
from auditlog.evidence.merkle import EMPTY_ROOT, verify_consistency
from auditlog.evidence.note import ED25519, Key, Note, Signer, decode_base64

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Reply", "Witness", "WitnessState", "WitnessedLogs", "open_state"]

MAX_REQUEST_BYTES: Final = 1 << 16
_MAX_HASHES: Final = 63
_SIZE_TYPE: Final = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; ``grown`` is the checkpoint that was accepted and is larger than before."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    grown: Checkpoint | None = None


class WitnessedLogs:
    """The keys of the logs: a vkey a line; the name of a key is the log's origin.

    A log may have several, of which one has to have signed.  A name that ends in ``/*`` is a
    host's: its key may sign every log below the prefix.  Keys of ``revoked`` lines may not sign.
    """

    def __init__(self, text: str) -> None:
        """Raises BadEvidence, naming the line."""
        keys: list[Key] = []
        revoked: set[bytes] = set()
        for number, line in enumerate(text.splitlines(), 1):
            ends = line.startswith("revoked ")
            vkey = (
                "".join(line.split()[1:2]) or "?"
                if ends
                else line.strip().removeprefix("log ").strip()
            )
            if not vkey or vkey.startswith(("#", "quorum ", "witness ", "group ")):
                continue
            try:
                key = Key.parse(vkey)
            except BadEvidence as error:
                raise BadEvidence(f"line {number} of the list of logs: {error.reason}") from None
            if key.kind != ED25519:
                raise BadEvidence(f"line {number} of the list of logs: it is not a log's key")
            if ends:
                revoked.add(key.public)
            else:
                keys.append(key)
        self._keys: dict[str, tuple[Key, ...]] = {}
        for key in keys:
            if key.public not in revoked:
                self._keys[key.name] = (*self._keys.get(key.name, ()), key)

    def keys_of(self, origin: str) -> tuple[Key, ...]:
        """Return the keys that may sign the log; none where it is not known."""
        if origin in self._keys:
            return self._keys[origin]
        place = origin
        while "/" in place:
            place = place.rpartition("/")[0]
            if (host := self._keys.get(f"{place}/*")) is not None:
                return tuple(key.renamed(origin) for key in host)
        return ()


class WitnessState:
    """Cosigned checkpoints in an SQLite file; one transaction a request.  Thread-safe."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Committed durably when the ``with`` ends, undone when it raises."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    def newest(self) -> list[tuple[str, int, int]]:
        """Origin, size and time (seconds since the epoch) of each log."""
        with self.transaction() as connection:
            rows = connection.execute("SELECT origin, size, at FROM checkpoints ORDER BY origin")
            return [(str(origin), int(size), int(at)) for origin, size, at in rows]

    def note(self, digest: str) -> bytes | None:
        """The newest checkpoint of the log whose origin has this SHA-256."""
        with self.transaction() as connection:
            row = connection.execute(
                "SELECT note FROM checkpoints WHERE digest = ?", (digest,)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def open_state(directory: Path, name: str) -> tuple[Signer, WitnessState]:
    """Open the key and the database of a witness; create both where neither exists.

    Raises EvidenceError where only one of them is there, or they belong to different witnesses.
    """
    durable_fs.make_directory(directory)
    key_path, path = directory / "witness.key", directory / "witness.sqlite"
    new = not key_path.exists() and not path.exists()
    if not new and not (key_path.exists() and path.exists()):
        raise EvidenceError(
            "a witness's key and memory are only used together, and one of them is missing",
            path=key_path if path.exists() else path,
            hint="Restore both from one copy, or make a new witness in an empty directory.",
        )
    if new:
        signer = Signer(name, secrets.token_bytes(32))
        _make(path, signer)
        fd = durable_fs.create_exclusive(key_path)
        try:
            durable_fs.write_all(fd, signer.secret_text().encode())
            durable_fs.fsync(fd)
        finally:
            os.close(fd)
        durable_fs.fsync_directory(directory)
    signer = Signer.parse(key_path.read_text("utf-8"))
    connection = _connect(path)
    try:
        row = connection.execute("SELECT vkey FROM witness").fetchone()
    except sqlite3.DatabaseError:
        row = None
    if row is None or row[0] != str(signer.cosigner):
        connection.close()
        raise EvidenceError(
            "the memory is not that of the witness's key",
            path=path,
            hint="Restore both from one copy, or make a new witness in an empty directory.",
        )
    return signer, WitnessState(connection)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = EXTRA")
    return connection


def _make(path: Path, signer: Signer) -> None:
    with contextlib.closing(_connect(path)) as connection:
        connection.executescript(
            "BEGIN;"
            "CREATE TABLE witness (vkey TEXT NOT NULL);"
            "CREATE TABLE checkpoints (origin TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE,"
            " size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, at INTEGER NOT NULL);"
            "COMMIT;"
        )
        connection.execute("INSERT INTO witness VALUES (?)", (str(signer.cosigner),))


class Witness:
    """Answers add-checkpoint.  Thread-safe."""

    def __init__(self, signer: Signer, state: WitnessState, logs: WitnessedLogs) -> None:
        self._signer = signer
        self.state = state
        self.logs = logs

    def add_checkpoint(self, body: bytes, seconds: int) -> Reply:
        """The answer to a request that came at this time."""
        try:
            request = _parse(body)
        except BadEvidence as error:
            return Reply(400, f"{error.reason}\n".encode())
        keys = self.logs.keys_of(request.checkpoint.origin)
        if not keys:
            return Reply(404, b"this witness does not know the log\n")
        try:
            signed = bool(request.note.verified(keys))
        except BadEvidence:
            signed = False
        if not signed:
            return Reply(403, b"the checkpoint is not signed by the log's key\n")
        if request.old > request.checkpoint.size:
            return Reply(400, b"the old size is larger than the checkpoint\n")
        with self.state.transaction() as connection:
            return self._judge(connection, request, seconds)

    def _judge(self, connection: sqlite3.Connection, request: _Request, seconds: int) -> Reply:
        old, checkpoint, note = request.old, request.checkpoint, request.note
        row = connection.execute(
            "SELECT size, root FROM checkpoints WHERE origin = ?", (checkpoint.origin,)
        ).fetchone()
        size, root = (0, EMPTY_ROOT) if row is None else (int(row[0]), bytes(row[1]))
        conflict = Reply(409, b"%d\n" % size, _SIZE_TYPE)
        if old != size:
            return conflict
        if old == checkpoint.size and root != checkpoint.root:
            return conflict
        if not verify_consistency(old, checkpoint.size, request.proof, root, checkpoint.root):
            return Reply(422, b"the consistency proof does not verify\n")
        signature = self._signer.cosign(note.text, seconds)
        digest = sha256(checkpoint.origin.encode()).hexdigest()
        kept = note.with_signatures([signature]).to_bytes()
        connection.execute(
            "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)",
            (checkpoint.origin, digest, checkpoint.size, checkpoint.root, kept, seconds),
        )
        grown = checkpoint if checkpoint.size > size or row is None else None
        return Reply(200, str(signature).encode(), grown=grown)


@dataclass(frozen=True, slots=True)
class _Request:
    old: int
    proof: list[bytes]
    note: Note
    checkpoint: Checkpoint


def _parse(body: bytes) -> _Request:
    """Raises BadEvidence."""
    if len(body) > MAX_REQUEST_BYTES:
        raise BadEvidence("the request is too long")
    head, empty, rest = body.partition(b"\n\n")
    lines = head.split(b"\n")
    found = re.fullmatch(rb"old (0|[1-9][0-9]{0,18})", lines[0])
    if found is None or not empty or len(lines) > _MAX_HASHES + 1:
        raise BadEvidence("this is not an add-checkpoint request")
    try:
        proof = [decode_base64(line.decode("ascii")) for line in lines[1:]]
    except UnicodeDecodeError:
        raise BadEvidence("a hash is not base64") from None
    note = Note.parse(rest)
    return _Request(int(found[1]), proof, note, Checkpoint.parse(note.text))
