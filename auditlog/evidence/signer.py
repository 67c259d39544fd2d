"""Sign a log's tree, unless it contradicts an earlier checkpoint.

Before each signature: the tree is not smaller than the last one signed, its root comes out the same
in memory and from the files, and the last signed tree is its beginning.  Whatever fails there stops
the signing of the log for good; a person restarts it on record (see proof_state).

Invariants (tests of the same name in tests/auditlog/evidence/test_signer.py):
  consistent   every two checkpoints of a log are consistent, over restarts and lost files
  one_root     whatever happens, no two roots are signed at one size
  synced       a checkpoint and all that it names are durable before it is given out
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditlog import durable_fs
from auditlog.evidence.checkpoint import Checkpoint, origin_of
from auditlog.evidence.checkpoint_file import CheckpointFile, Signed
from auditlog.evidence.errors import BadEvidence, SigningStopped
from auditlog.evidence.merkle import verify_consistency
from auditlog.evidence.note import Note
from auditlog.evidence.tree_store import TreeStore, set_aside

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from auditlog.evidence.note import Signature, Signer
    from auditlog.evidence.proof_state import ProofState

__all__ = ["LogSigner"]


class LogSigner:
    """The signer of one log; whoever makes it holds the state's lock.

    ``key`` is the host's key under its prefix; ``previous`` is the key before it, which signs too
    until its rotation is finished.  Raises SigningStopped when the log must not be
    signed, BadEvidence when its checkpoints cannot be read, OSError.
    """

    def __init__(
        self, state: ProofState, log: str, key: Signer, previous: Signer | None = None
    ) -> None:
        if reason := state.stopped(log):
            raise SigningStopped(
                f"{log} is not signed any more: {reason}",
                hint="Find out why; then auditctl evidence restart LOG --reason … .",
            )
        self.log = log
        self._state = state
        self.origin = origin_of(key.name, log, state.epoch(log))
        self._keys = [each.renamed(self.origin) for each in (key, previous) if each is not None]
        directory = state.directory(log)
        durable_fs.make_directory(directory)
        self._file = CheckpointFile(directory / "checkpoints")
        newest = self.newest
        if newest is not None and newest.checkpoint.origin != self.origin:
            raise SigningStopped(
                f"{log} was signed as {newest.checkpoint.origin}, and would now be {self.origin}",
                path=directory,
                hint="Put the old prefix back, or restart the log on record.",
            )
        self.tree = self._open_store()

    @property
    def newest(self) -> Signed | None:
        return self._file.newest

    @property
    def signed(self) -> list[Signed]:
        return self._file.signed

    @property
    def grown(self) -> bool:
        """Whether the tree has grown since it was signed."""
        size = self.newest.checkpoint.size if self.newest is not None else 0
        return self.tree.size > size

    def reopen(self) -> None:
        """Cut the tree back to its last signed size."""
        self.tree.close()
        self.tree = self._open_store()

    def sign(self, at: dt.datetime) -> Signed | None:
        """Sign the tree as it is; None while a tree that is built again is still too small."""
        last = self.newest.checkpoint if self.newest is not None else None
        size = self.tree.size
        if last is not None and size < last.size:
            return None
        self.tree.sync()
        root, files = self.tree.root(), self.tree.files()
        if files.root(size) != root:
            raise self.stop(f"the files of its tree do not have the root of {size} records")
        if last is not None:
            proof = files.consistency(last.size, size)
            if not verify_consistency(last.size, size, proof, last.root, root):
                raise self.stop(
                    f"its first {last.size} records are not those that were signed; "
                    "a checkpoint of them was given out"
                )
        text = Checkpoint(self.origin, size, root).to_bytes()
        note = Note(text, tuple(key.sign(text) for key in self._keys))
        note.verified([key.key for key in self._keys])
        return self._file.append(note, at)

    def add(self, signed: Signed, cosignatures: Iterable[Signature], at: dt.datetime) -> Signed:
        """Keep cosignatures of a checkpoint."""
        latest = next(
            (each for each in reversed(self.signed) if each.checkpoint == signed.checkpoint), signed
        )
        return self._file.append(latest.note.with_signatures(cosignatures), at)

    def close(self) -> None:
        self.tree.close()

    def stop(self, reason: str) -> SigningStopped:
        """Stop signing this log for good; return the error to raise."""
        self._state.stop(self.log, reason)
        return SigningStopped(
            f"{self.log} is not signed any more: {reason}",
            path=self._state.directory(self.log),
            hint="Run auditctl verify; nothing but a restart on record begins anew.",
        )

    def _open_store(self) -> TreeStore:
        """The tree as it was last signed; an empty one where its files do not have that."""
        directory = self._state.directory(self.log)
        newest = self.newest
        if newest is None:
            return TreeStore(directory, 0)
        try:
            store = TreeStore(directory, newest.checkpoint.size)
            if store.root() == newest.checkpoint.root:
                return store
            store.close()
        except BadEvidence:
            pass  # the files are damaged or lost; the segments have what retention left
        set_aside(directory)
        return TreeStore(directory, 0)
