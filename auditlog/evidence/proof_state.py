"""Define the signer's state directory, and bind it to one machine and process.

    <state_dir>/proofs/machine-id       the host that it belongs to (machine-id(5), hashed)
    <state_dir>/proofs/signer.lock      one signer at a time
    <state_dir>/proofs/<log>/           see tree_files and checkpoint_file
    <state_dir>/proofs/<log>/epoch      how often the log was restarted on record, plus one
    <state_dir>/proofs/<log>/stopped    why it is not signed any more
    <state_dir>/proofs/<log>~e<n>/      an earlier epoch of it, kept as it was

Two machines that sign the same log with the same key would sign different roots at one size, and no
witness would ever accept the log again.  So a copy of the state on another machine signs nothing.

Invariants (tests of the same name in tests/auditlog/evidence/test_proof_state.py):
  one_signer   a second process is refused while the first one holds the lock
  one_machine  the state of another machine is refused, with the hint to restart the logs
  restarts     after a restart both epochs are there, and the new one begins empty
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import InvalidName
from auditlog.evidence.errors import SigningStopped
from auditlog.format.segment_names import LogId

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ProofState", "machine_id"]

_MACHINE_ID: Final = Path("/etc/machine-id")


def machine_id() -> str:
    """Return a hash of the machine id, "" where there is none (machine-id(5))."""
    try:
        text = _MACHINE_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    # Not the id itself, which machine-id(5) wants to be kept from others.
    return sha256(b"auditlog evidence\0" + text.encode()).hexdigest() if text else ""


class ProofState:
    """The directory ``<state_dir>/proofs``.  Raises OSError."""

    def __init__(self, state_dir: Path, machine: str | None = None) -> None:
        self.path = state_dir / "proofs"
        self._machine = machine_id() if machine is None else machine

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the signer's lock.  Raises durable_fs.Locked, SigningStopped on a clone."""
        durable_fs.make_directory(self.path)
        lock = durable_fs.FileLock(self.path / "signer.lock", f"pid {os.getpid()}")
        try:
            self._bind()
            yield
        finally:
            lock.release()

    def directory(self, log: str) -> Path:
        return self.path / log

    def logs(self) -> list[str]:
        """The logs that have a tree here."""
        try:
            names = sorted(os.listdir(self.path))  # noqa: PTH208  (names, no paths)
        except FileNotFoundError:
            return []
        return [name for name in names if _is_log(name) and self.directory(name).is_dir()]

    def epoch(self, log: str) -> int:
        try:
            return int((self.directory(log) / "epoch").read_text("ascii"))
        except (FileNotFoundError, NotADirectoryError):
            return 1

    def stopped(self, log: str) -> str:
        """Return why the log is not signed any more, "" when it is."""
        try:
            return (self.directory(log) / "stopped").read_text("utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def stop(self, log: str, reason: str) -> None:
        """Never sign the log again, until it is restarted on record."""
        durable_fs.replace_durably(self.directory(log) / "stopped", f"{reason}\n".encode())

    def restart(self, log: str) -> int:
        """Begin a new epoch of the log, with an empty tree; the caller holds the lock."""
        epoch, old = self.epoch(log), self.directory(log)
        kept = self.path / f"{log}~e{epoch}"
        if old.exists():
            durable_fs.rename(old, kept)
        durable_fs.make_directory(old)
        durable_fs.replace_durably(old / "epoch", f"{epoch + 1}\n".encode())
        durable_fs.fsync_directory(self.path)
        return epoch + 1

    def adopt(self) -> None:
        """Bind the state to this machine, after every log of it was restarted."""
        durable_fs.replace_durably(self.path / "machine-id", f"{self._machine}\n".encode())

    def _bind(self) -> None:
        path = self.path / "machine-id"
        try:
            bound = path.read_text("ascii").strip()
        except FileNotFoundError:
            self.adopt()
            return
        if bound != self._machine:
            raise SigningStopped(
                "these trees were signed on another machine; two machines must not sign one log",
                path=path,
                hint="On the machine that replaces it: auditctl evidence restart --all --reason …",
            )


def _is_log(name: str) -> bool:
    try:
        LogId.parse(name)
    except InvalidName:
        return False
    return True
