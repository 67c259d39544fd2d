"""Parse records of erasure.  Pure.

An erasure is a record of type retention.record_erased in a log of the service ``retention`` in the
same directory.  It is durable before the line is replaced by its stub (auditlog.format.record), and
its details hold the SHA-256 of the stub: a stub without an erasure proves nothing.

Invariants (tests of the same name in tests/auditlog/format/test_erasures.py):
  proven     only a record whose own hash is right counts as an erasure
  complete   a record that lacks a member of an erasure is not one
  no_other   an erasure proves one stub, every byte of it
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from auditlog.format.tombstones import proven_details

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from auditlog.format.record import Header

__all__ = ["ERASURE", "Erasure", "by_stub", "parse_erasure", "stub_digest"]

ERASURE: Final = "retention.record_erased"
"""The event type of an erasure."""


@dataclass(frozen=True, slots=True, order=True)
class Erasure:
    """One erased record: where it was, its hash, and who had it erased, when and why.

    ``stub_sha256`` is the digest of the stub's line with its LF, in hex.
    """

    log: str
    seq: int
    segment: str
    hash: str
    stub_sha256: str
    reason: str
    by: str
    legal_basis: str
    erased_at: str

    def __post_init__(self) -> None:
        texts = (self.log, self.segment, self.hash, self.stub_sha256, self.reason, self.by)
        if type(self.seq) is not int or self.seq < 1:
            raise ValueError(f"{self.seq!r} is not the number of a record")
        if not all(isinstance(text, str) for text in (*texts, self.legal_basis)):
            raise ValueError("a name, a hash or a reason is not text")

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``auditctl verify --json`` lists under ``erased``."""
        return {
            "seq": self.seq,
            "erased_at": self.erased_at,
            "reason": self.reason,
            "by": self.by,
            "legal_basis": self.legal_basis or None,
        }


def parse_erasure(header: Header, line: bytes) -> Erasure | None:
    """The erasure in a line; None when it is another record, not intact or incomplete."""
    details = proven_details(header, line, ERASURE)
    if details is None:
        return None
    try:
        return Erasure(
            log=details["log"],
            seq=details["seq"],
            segment=details["segment"],
            hash=details["hash"],
            stub_sha256=details["stub_sha256"],
            reason=details["reason"],
            by=details["by"],
            legal_basis=details.get("legal_basis") or "",
            erased_at=header.timestamp,
        )
    except (KeyError, ValueError):
        return None


def stub_digest(line: bytes) -> str:
    """The ``stub_sha256`` of a stub with its LF."""
    return sha256(line).hexdigest()


def by_stub(erasures: Iterable[Erasure], log: str) -> Mapping[str, Erasure]:
    """The erasures of one log by the digest of their stubs; of two of one stub the earlier one."""
    return {
        erasure.stub_sha256: erasure
        for erasure in sorted(erasures, key=lambda each: each.erased_at, reverse=True)
        if erasure.log == log
    }
