"""The record that proves a deletion, and lets the chain verify across it.  Pure.

Invariants (tests of the same name in tests/retention/test_tombstone.py):
  complete   what auditlog reads back from the details is the segment that was deleted
  foreign    those of a foreign file tell which bytes they were, how old, and who let them go
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditlog.format.record import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retention.content import Content
    from retention.facts import AdoptedFile, ForeignContent
    from retention.policy import Policy

__all__ = ["FOREIGN_DELETED", "details", "foreign_details"]

FOREIGN_DELETED: Final = "retention.foreign_deleted"
"""The event type of a tombstone for a file that was no segment."""


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


def foreign_details(file: AdoptedFile, content: ForeignContent, *, by: str) -> dict[str, Any]:
    """The details of a ``retention.foreign_deleted`` record; ``bytes`` are uncompressed."""
    first, last = content.first_at, content.last_at
    return {
        "file": file.path.name,
        "forms": [file.form_path(form).name for form in file.forms],
        "bytes": content.size_bytes,
        "sha256": content.sha256,
        "lines": content.lines,
        "untimed_lines": content.untimed,
        "first_timestamp": None if first is None else format_timestamp(first),
        "last_timestamp": None if last is None else format_timestamp(last),
        "modified_at": format_timestamp(file.modified_at),
        "shipped": [{"source": each.source, "sink": each.sink} for each in file.placings],
        "policy": file.foreign.to_json(),
        "by": by,
    }
