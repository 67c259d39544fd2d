"""Parse and format a log's tree head (c2sp.org/tlog-checkpoint).  Pure.

Three lines: the origin (which log), the number of records, the root in base64.  Extension lines
are refused, since we write none and witnesses do not vouch for them.

The origin of a log is ``<prefix>/<log id>`` with ``+`` written as ``/``; after a declared restart
``~e2`` follows, ``~e3`` after the next.  No log id contains a tilde, so no two logs share one.

Invariants (tests of the same name in tests/auditlog/evidence/test_checkpoint.py):
  round_trip   parse gives back what was written, and accepts no second spelling of it
  own_origin   every log and epoch has an origin of its own, from which its log id is read back
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.merkle import HASH_BYTES
from auditlog.evidence.note import decode_base64, encode_base64

__all__ = ["Checkpoint", "log_of_origin", "origin_of"]

_EPOCH: Final = re.compile(r"~e([2-9]|[1-9][0-9]{1,5})")


def origin_of(prefix: str, log: str, epoch: int = 1) -> str:
    suffix = f"~e{epoch}" if epoch > 1 else ""
    return f"{prefix}/{log.replace('+', '/')}{suffix}"


def log_of_origin(origin: str) -> tuple[str, int]:
    """Return the log id and epoch of an origin; ("", 1) for one that is not ours."""
    rest, tilde, epoch = origin.partition("~")
    found = _EPOCH.fullmatch(tilde + epoch)
    if tilde and found is None:
        return "", 1
    head, at, host = rest.rpartition("@")
    service = head.rpartition("/")[2]
    if not at or not service or not host or host.count("/") > 1:
        return "", 1
    return f"{service}@{host.replace('/', '+')}", int(found[1]) if found else 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log named by ``origin`` has ``size`` records and that root."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or not self.origin.isprintable():
            raise BadEvidence("a checkpoint without an origin")
        if self.size < 0 or len(self.root) != HASH_BYTES:
            raise BadEvidence("a checkpoint with an impossible size or root")

    def to_bytes(self) -> bytes:
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> Checkpoint:
        """Read a note's text.  Raises BadEvidence."""
        lines = text.decode("utf-8", "replace").split("\n")
        if len(lines) != 4 or lines[3]:
            raise BadEvidence("a checkpoint has three lines: origin, size, root")
        origin, size, root = lines[:3]
        if re.fullmatch(r"0|[1-9][0-9]{0,18}", size, re.ASCII) is None:
            raise BadEvidence("the size of a checkpoint is not a decimal number")
        return cls(origin, int(size), decode_base64(root))
