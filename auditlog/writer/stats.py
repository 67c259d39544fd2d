"""Report the health of an open log as plain numbers.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from auditlog.writer.disk_space import Level

__all__ = ["Stats"]


@dataclass(frozen=True, slots=True)
class Stats:
    """A log's own health at one moment.

    ``queued`` records are not durable yet.  ``written`` (taken by write(2)), ``durable`` and
    ``refused`` count since it was opened, the log's own records included, and so do
    ``durable_bytes``.  Seconds are of write plus sync of one commit, over the last thousand.
    """

    log: str
    queued: int
    queued_bytes: int
    written: int
    durable: int
    durable_bytes: int
    refused: int
    commits: int
    last_commit_seconds: float
    commit_p99_seconds: float
    last_seq: int
    durable_seq: int
    space: Level
    failed: bool
    redactions: Mapping[str, int] = field(default_factory=dict)
    """How often each rule of the redaction policy took something out."""
