"""The record that proves a deletion, and lets the chain verify across it.  Pure.

Invariants (tests of the same name in tests/retention/test_tombstone.py):
  complete   what auditlog reads back from the details is the segment that was deleted
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditlog.record import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retention.content import Content
    from retention.policy import Policy

__all__ = ["details"]


def details(
    log: str,
    segment: str,
    content: Content,
    *,
    cursor: Mapping[str, int],
    policy: Policy,
    by: str,
) -> dict[str, Any]:
    """The details of a ``retention.segment_deleted`` record.

    ``segment`` is the logical name; ``cursor`` how far each configured sink had acknowledged the
    log; ``by`` who ordered the run.
    """
    bounds = content.bounds
    return {
        "log": log,
        "segment": segment,
        "first_seq": bounds.first_seq,
        "last_seq": bounds.last_seq,
        "first_prev_hash": bounds.first_prev_hash,
        "last_hash": bounds.last_hash,
        "records": bounds.records,
        "bytes": content.size_bytes,
        "sha256": content.sha256,
        "last_record_at": format_timestamp(bounds.last_at),
        "cursor": dict(sorted(cursor.items())),
        "policy": policy.to_json(),
        "by": by,
    }
