"""Update, sign and cosign the Merkle trees of all logs in given directories.

A checkpoint is signed when a log has grown and its last one is ``checkpoint_every`` old; at once
after a critical event, at the end of a segment, and when the service stops.  A log that does not
grow is cosigned again every ``unchanged_every``: a host that falls silent is noticed elsewhere.

Each checkpoint is also an ``evidence.checkpoint`` record in the log ``evidence@<host>``, so that it
reaches every sink; only that log's own checkpoints are not, which would never end.

Invariants (tests of the same name in tests/auditlog/evidence/test_service.py):
  signs        what is written is signed in time, and everything when the service stops
  recorded     every checkpoint of another log is a record of evidence@<host>
  conflict     a witness that contradicts the log stops its signing for good, and no other log's
  damaged      a log that cannot be read on is signed as far as it can, and says so
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditlog.errors import AuditLogError, LogDamaged
from auditlog.evidence.checkpoint_log import CheckpointLog
from auditlog.evidence.collection import CHECKPOINT_SERVICE
from auditlog.evidence.cosigning import Cosigned, Cosigning
from auditlog.evidence.errors import EvidenceError
from auditlog.evidence.leaf_retention import drop_leaves
from auditlog.evidence.policy import NONE
from auditlog.evidence.signer import LogSigner
from auditlog.evidence.tree_appender import TreeAppender, segment_label
from auditlog.format.tombstones import by_log
from auditlog.reading.inventory import Inventory, scan
from auditlog.reading.tombstone_scan import tombstones_in

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from auditlog.evidence.checkpoint_file import Signed
    from auditlog.evidence.note import Signer
    from auditlog.evidence.policy import TrustPolicy
    from auditlog.evidence.proof_state import ProofState
    from auditlog.evidence.stamping import Stamping
    from auditlog.format.segment_names import LogId
    from auditlog.format.tombstones import Tombstone
    from auditlog.reading.inventory import SegmentFile

__all__ = ["EVIDENCE_SERVICE", "EvidenceOptions", "EvidenceService", "LogEvidence"]

_logger = logging.getLogger("auditlog.evidence")

EVIDENCE_SERVICE: Final = CHECKPOINT_SERVICE
Witnessed = tuple[int, dt.datetime | None, tuple[str, ...]]
"""The size of a checkpoint that a quorum cosigned, when the newest did, and which witnesses."""

_SETTLED_NS: Final = 2_000_000_000
"""A directory that changed this short a time before it was listed may have changed again since."""

_STEP_BYTES: Final = 8 << 20
_LONGEST_TICK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class EvidenceOptions:
    """Intervals between checkpoints, and how long leaves of deleted segments are kept.

    ``leaves_kept_for`` None: for ever.
    """

    checkpoint_every: dt.timedelta = dt.timedelta(seconds=60)
    unchanged_every: dt.timedelta = dt.timedelta(minutes=10)
    leaves_kept_for: dt.timedelta | None = None

    @property
    def tick_seconds(self) -> float:
        return min(_LONGEST_TICK_SECONDS, self.checkpoint_every.total_seconds() / 4)


@dataclass(frozen=True, slots=True)
class LogEvidence:
    """How far a log is read into its tree, signed and witnessed.

    ``witnesses`` are those that cosigned the checkpoint of ``witnessed_seq``; ``quorum`` whether
    they are enough.  ``trouble`` says why it does not go on, "" when it does.
    """

    log: str
    origin: str
    read_seq: int
    signed_seq: int
    signed_at: dt.datetime | None
    witnessed_seq: int
    witnessed_at: dt.datetime | None
    witnesses: tuple[str, ...]
    trouble: str


class _SignedLog:
    """One log that is signed."""

    def __init__(self, signer: LogSigner, appender: TreeAppender) -> None:
        self.signer = signer
        self.appender = appender
        self.trouble = ""
        self.refusals: dict[str, str] = {}
        self.offered_at: dt.datetime | None = None
        self.labels: frozenset[str] | None = None  # of the segments when leaves were dropped last
        self.witnessed: Witnessed = 0, None, ()


class EvidenceService:
    """Runs in one thread; ``status`` may be called from any."""

    def __init__(
        self,
        directories: Sequence[Path],
        state: ProofState,
        key: Signer,
        options: EvidenceOptions,
        *,
        policy: TrustPolicy | None = None,
        host: str | None = None,
        stamping: Stamping | None = None,
        retention_hosts: Collection[str] | None = None,
        previous_key: Signer | None = None,
    ) -> None:
        self._directories = tuple(directories)
        self._state = state
        self._key = key
        self._previous_key = previous_key
        self._options = options
        self._policy = policy
        self._retention_hosts = retention_hosts
        self._entries: dict[str, _SignedLog] = {}
        self._stopped: dict[str, str] = {}
        self._seen: dict[Path, tuple[int, Inventory]] = {}
        self._cosigning = Cosigning(list(policy.witnesses.values()) if policy else [])
        self._stamping = stamping
        self._own_log = CheckpointLog(self._directories, host)
        self._status: tuple[LogEvidence, ...] = ()

    def status(self) -> tuple[LogEvidence, ...]:
        return self._status

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set.  Raises SigningStopped on a clone, Locked, OSError."""
        with self._state.locked():
            self._cosigning.start()
            try:
                while not stop.is_set():
                    more = self._round(stop)
                    stop.wait(0 if more else self._options.tick_seconds)
                self._finish()
            finally:
                self._close()

    def run_once(self, patience: dt.timedelta = dt.timedelta(0)) -> tuple[LogEvidence, ...]:
        """Read, sign and record everything that there is now, and wait for the witnesses."""
        deadline = time.monotonic() + patience.total_seconds()
        with self._state.locked():
            self._cosigning.start()
            try:
                while self._round(threading.Event()):
                    pass
                self._finish()
                while self._cosigning.unanswered and time.monotonic() < deadline:
                    time.sleep(0.02)
                    self._take_answers()
                if self._stamping is not None:
                    self._stamping.join(max(0.0, deadline - time.monotonic()))
                    self._take_answers()
            finally:
                self._close()
        return self._status

    def _finish(self) -> None:
        """Sign everything, and in the end the log that holds the other logs' checkpoints."""
        self._round(threading.Event(), last=True)
        self._own_log.close()
        self._seen.clear()
        self._round(threading.Event(), last=True)

    def _close(self) -> None:
        self._cosigning.stop()
        self._own_log.close()
        for entry in self._entries.values():
            entry.appender.close()
            entry.signer.close()
        self._entries.clear()

    def _round(self, stop: threading.Event, *, last: bool = False) -> bool:
        """Process every log once; return true when there is more to read at once."""
        more = False
        # The log of checkpoints comes last: signed with what this round wrote to it.
        for log, segments in sorted(self._logs(), key=lambda found: _is_own(str(found[0]))):
            if stop.is_set() and not last:
                break
            if str(log) in self._stopped:
                continue
            try:
                more |= self._visit(str(log), segments, last=last)
            except EvidenceError as error:
                self._give_up(str(log), error)
            except (AuditLogError, OSError) as error:
                self._say(self._entries.get(str(log)), str(log), str(error))
        self._take_answers()
        return more

    def _take_answers(self) -> None:
        for cosigned in self._cosigning.results():
            self._take(cosigned)
        self._status = tuple(self._describe())

    def _logs(self) -> list[tuple[LogId, tuple[SegmentFile, ...]]]:
        found: list[tuple[LogId, tuple[SegmentFile, ...]]] = []
        for directory in self._directories:
            try:
                seen = self._seen.get(directory)
                changed, now = directory.stat().st_mtime_ns, time.time_ns()
                if seen is None or seen[0] != changed or now - changed < _SETTLED_NS:
                    seen = self._seen[directory] = changed, scan(directory)
            except OSError:
                self._seen.pop(directory, None)  # continuous verification raises the alarm
                continue
            found += seen[1].logs.items()
        return found

    def _visit(self, log: str, segments: tuple[SegmentFile, ...], *, last: bool) -> bool:
        entry = self._entries.get(log) or self._begin(log)
        appender, more = entry.appender, False
        try:
            more = appender.advance(segments, _STEP_BYTES)
        except LogDamaged as error:
            self._say(entry, log, str(error))
            if appender.shrunk:
                appender.close()
                entry.signer.reopen()
                entry.appender = self._appender(log, entry.signer)
                return False
        else:
            self._say(entry, log, "")
        if not more:
            self._sign_if_due(log, entry, last=last)
            self._drop_leaves(log, entry, segments)
        return more

    def _drop_leaves(self, log: str, entry: _SignedLog, segments: tuple[SegmentFile, ...]) -> None:
        """Drop what is not kept of deleted segments, whenever the segments have become others."""
        kept_for, newest = self._options.leaves_kept_for, entry.signer.newest
        labels = frozenset(segment_label(segment.name) for segment in segments)
        if kept_for is None or newest is None or labels == entry.labels:
            return
        # A witness proves from the last size that it knows: what no quorum has seen is kept.
        has_witnesses = self._policy is not None and self._policy.quorum != NONE
        limit = entry.witnessed[0] if has_witnesses else newest.checkpoint.size
        until = (dt.datetime.now(dt.UTC) - kept_for).date() + dt.timedelta(days=not kept_for)
        drop_leaves(self._state.directory(log), labels, limit, until)
        entry.labels = labels

    def _begin(self, log: str) -> _SignedLog:
        signer = LogSigner(self._state, log, self._key, self._previous_key)
        entry = self._entries[log] = _SignedLog(signer, self._appender(log, signer))
        entry.witnessed = witnessed(signer.signed, self._policy)
        return entry

    def _appender(self, log: str, signer: LogSigner) -> TreeAppender:
        return TreeAppender(log, signer.tree, lambda: self._tombstones().get(log, ()))

    def _tombstones(self) -> Mapping[str, tuple[Tombstone, ...]]:
        found = [
            each
            for directory in self._directories
            if directory.is_dir()
            for each in tombstones_in(scan(directory).logs, self._retention_hosts)
        ]
        return by_log(found)

    def _sign_if_due(self, log: str, entry: _SignedLog, *, last: bool) -> None:
        signer, appender, now = entry.signer, entry.appender, dt.datetime.now(dt.UTC)
        newest = signer.newest
        age = None if newest is None else abs(now - newest.at)
        urgent = last or appender.sealed or appender.critical
        if signer.grown and (age is None or urgent or age >= self._options.checkpoint_every):
            signed = signer.sign(now)
            appender.sealed = appender.critical = False
            if signed is not None:
                if not _is_own(log):
                    self._own_log.record(log, signed)
                self._offer(log, entry, signed, now)
        elif newest is not None and (
            entry.offered_at is None or now - entry.offered_at >= self._options.unchanged_every
        ):
            self._offer(log, entry, newest, now)

    def _offer(self, log: str, entry: _SignedLog, signed: Signed, now: dt.datetime) -> None:
        entry.offered_at = now
        self._cosigning.offer(log, signed, self._state.directory(log))
        if self._stamping is not None and _is_own(log):
            self._stamping.offer(signed, self._state.directory(log), now)

    def _take(self, cosigned: Cosigned) -> None:
        """Store the answer of a witness."""
        entry = self._entries.get(cosigned.log)
        if entry is None:
            return
        answer, name = cosigned.answer, cosigned.witness
        if answer.outcome == "cosigned" and answer.signature is not None:
            entry.refusals.pop(name, None)
            entry.signer.add(cosigned.signed, [answer.signature], cosigned.at)
            entry.witnessed = witnessed(entry.signer.signed, self._policy)
        elif answer.outcome == "conflict":
            self._give_up(cosigned.log, entry.signer.stop(answer.reason))
        elif entry.refusals.get(name) != answer.reason:
            entry.refusals[name] = answer.reason
            _logger.warning("witness %s does not cosign %s: %s", name, cosigned.log, answer.reason)

    def _give_up(self, log: str, error: EvidenceError) -> None:
        _logger.error("ALARM %s", error)
        self._stopped[log] = str(error)
        entry = self._entries.pop(log, None)
        if entry is not None:
            entry.appender.close()
            entry.signer.close()

    def _say(self, entry: _SignedLog | None, log: str, trouble: str) -> None:
        if entry is not None:
            if trouble and entry.trouble != trouble:
                _logger.error("%s: %s", log, trouble)
            entry.trouble = trouble
        elif trouble:
            _logger.error("%s: %s", log, trouble)

    def _describe(self) -> list[LogEvidence]:
        described = [
            LogEvidence(log, "", 0, 0, None, 0, None, (), reason)
            for log, reason in self._stopped.items()
        ]
        for log, entry in self._entries.items():
            signer, newest = entry.signer, entry.signer.newest
            witnessed_seq, witnessed_at, names = entry.witnessed
            refusals = [f"witness {name}: {text}" for name, text in entry.refusals.items()]
            if self._stamping is not None and _is_own(log):
                refusals.append(self._stamping.trouble)
            described.append(
                LogEvidence(
                    log=log,
                    origin=signer.origin,
                    read_seq=signer.tree.size,
                    signed_seq=newest.checkpoint.size if newest is not None else 0,
                    signed_at=newest.at if newest is not None else None,
                    witnessed_seq=witnessed_seq,
                    witnessed_at=witnessed_at,
                    witnesses=names,
                    trouble="; ".join(filter(None, [entry.trouble, *refusals])),
                )
            )
        return sorted(described, key=lambda each: each.log)


def witnessed(signed: Sequence[Signed], policy: TrustPolicy | None) -> Witnessed:
    """Of the checkpoints that a quorum cosigned, the newest."""
    if policy is None or not policy.witnesses:
        return 0, None, ()
    for each in reversed(signed):
        try:
            # A policy names the logs that an auditor looks at; the signer knows its own.
            seen = policy.cosigned(each.note)
        except EvidenceError:
            continue
        if seen and policy.satisfied(frozenset(seen)):
            return each.checkpoint.size, max(seen.values()), tuple(sorted(seen))
    return 0, None, ()


def _is_own(log: str) -> bool:
    return log.startswith(f"{EVIDENCE_SERVICE}@")
