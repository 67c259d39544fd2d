"""Submit the newest checkpoint of every log to all witnesses, with one thread per witness.

A witness that is slow, away or wrong holds up nothing but its own cosignatures: of each log only
the newest checkpoint waits for it.

Invariants (tests of the same name in tests/auditlog/evidence/test_cosigning.py):
  newest   a witness that was away gets the newest checkpoint of each log, and none before it
  apart    a witness that does not answer delays no other one
"""

from __future__ import annotations

import datetime as dt
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditlog.errors import AuditLogError
from auditlog.evidence.tree_files import TreeFiles
from auditlog.evidence.witness_client import Answer, submit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditlog.evidence.checkpoint_file import Signed
    from auditlog.evidence.policy import TrustedWitness

__all__ = ["Cosigned", "Cosigning"]

_SHORTEST_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The answer of a witness to a checkpoint."""

    witness: str
    log: str
    signed: Signed
    answer: Answer
    at: dt.datetime


class _Worker(threading.Thread):
    def __init__(self, witness: TrustedWitness, results: queue.SimpleQueue[Cosigned]) -> None:
        super().__init__(name=f"witness-{witness.name}", daemon=True)
        self._witness = witness
        self._results = results
        self._waiting: dict[str, tuple[Signed, Path]] = {}
        self._sizes: dict[str, int] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._submitting = False

    @property
    def busy(self) -> bool:
        with self._changed:
            return bool(self._waiting) or self._submitting

    def offer(self, log: str, signed: Signed, directory: Path) -> None:
        with self._changed:
            self._waiting[log] = signed, directory
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        pause = _SHORTEST_SECONDS
        while (work := self._next()) is not None:
            log, signed, directory = work
            answer = self._submit(signed, directory)
            self._results.put(
                Cosigned(self._witness.name, log, signed, answer, dt.datetime.now(dt.UTC))
            )
            with self._changed:
                self._submitting = False
            if answer.outcome == "unavailable":
                with self._changed:
                    self._waiting.setdefault(log, (signed, directory))
                    self._changed.wait_for(lambda: self._stopped, pause)
                pause = min(_LONGEST_SECONDS, pause * 2)
            else:
                pause = _SHORTEST_SECONDS

    def _next(self) -> tuple[str, Signed, Path] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._waiting)
            if self._stopped:
                return None
            log = next(iter(self._waiting))
            self._submitting = True
            return (log, *self._waiting.pop(log))

    def _submit(self, signed: Signed, directory: Path) -> Answer:
        note, origin = signed.note, signed.checkpoint.origin
        try:
            old = self._sizes.get(origin, 0)
            answer = submit(self._witness, note, old, TreeFiles(directory).consistency)
        except (AuditLogError, OSError) as error:
            return Answer("unavailable", f"no proof can be made for it ({error})")
        if answer.outcome == "cosigned":
            self._sizes[origin] = signed.checkpoint.size
        return answer


class Cosigning:
    """The witnesses that have a URL.  All methods may be called from one thread; none blocks."""

    def __init__(self, witnesses: Sequence[TrustedWitness]) -> None:
        self._results: queue.SimpleQueue[Cosigned] = queue.SimpleQueue()
        self._workers = [_Worker(each, self._results) for each in witnesses if each.url]

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """End the threads; a request that is under way is not waited for."""
        for worker in self._workers:
            worker.stop()

    def offer(self, log: str, signed: Signed, directory: Path) -> None:
        """Have this checkpoint cosigned instead of an older one of the log that still waits."""
        for worker in self._workers:
            worker.offer(log, signed, directory)

    @property
    def unanswered(self) -> bool:
        """Whether a checkpoint that was offered has no answer yet."""
        return any(worker.busy for worker in self._workers) or not self._results.empty()

    def results(self) -> list[Cosigned]:
        """Return the answers received since the last call."""
        found = []
        while True:
            try:
                found.append(self._results.get_nowait())
            except queue.Empty:
                return found
