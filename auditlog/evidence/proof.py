"""Read, write and verify the proof that a record is in a log: c2sp.org/tlog-proof@v1.  Pure.

    c2sp.org/tlog-proof@v1
    index 41999
    <base64 of a hash>…

    <the signed checkpoint>

Invariants (tests of the same name in tests/auditlog/evidence/test_proof.py):
  round_trip   a proof is read back as it was written, and verifies for its line
  every_bit    a proof with any bit changed, or of another line, is refused
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from auditlog.evidence.note import Note, decode_base64, encode_base64

if TYPE_CHECKING:
    from auditlog.evidence.policy import Trusted, TrustPolicy

__all__ = ["RecordProof"]

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_MAX_HASHES: Final = 63


@dataclass(frozen=True, slots=True)
class RecordProof:
    """The record with number ``index + 1`` is in the tree of the checkpoint."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Note

    def to_bytes(self) -> bytes:
        hashes = "".join(f"{encode_base64(each)}\n" for each in self.hashes)
        return f"{_HEADER}\nindex {self.index}\n{hashes}\n".encode() + self.checkpoint.to_bytes()

    @classmethod
    def parse(cls, data: bytes) -> RecordProof:
        """Raises BadEvidence; nothing is verified yet.  Extra data is refused: we write none."""
        head, empty, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            lines = []
        if not empty or lines[:1] != [_HEADER] or not 2 <= len(lines) <= _MAX_HASHES + 2:
            raise BadEvidence("this is not a proof", hint=f"Its first line is {_HEADER}.")
        found = re.fullmatch(r"index (0|[1-9][0-9]{0,18})", lines[1], re.ASCII)
        hashes = tuple(map(decode_base64, lines[2:]))
        if found is None or any(len(each) != HASH_BYTES for each in hashes):
            raise BadEvidence("the proof is malformed")
        return cls(int(found[1]), hashes, Note.parse(checkpoint))

    def verify(self, line: bytes, policy: TrustPolicy) -> Trusted:
        """Raises BadEvidence unless the policy proves the line (with or without its LF)."""
        trusted = policy.trust(self.checkpoint)
        if not trusted.quorum:
            raise BadEvidence(
                f"the checkpoint was cosigned by {', '.join(sorted(trusted.seen)) or 'nobody'}, "
                "which the quorum of the trust policy does not accept"
            )
        head = trusted.checkpoint
        leaf = leaf_hash(line.removesuffix(b"\n"))
        if not verify_inclusion(leaf, self.index, head.size, self.hashes, head.root):
            raise BadEvidence(
                f"the line is not record {self.index + 1} of {head.origin}", seq=self.index + 1
            )
        return trusted
