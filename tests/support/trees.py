"""Merkle trees, keys and policies for tests: small, and made from the definitions alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.merkle import TreeBuilder, leaf_hash
from auditlog.evidence.note import Note, Signer

__all__ = ["ORIGIN", "defined_root", "leaves_of", "policy_text", "signed", "subtrees_of", "witness"]

ORIGIN = "audit.example.com/hive1/queen-rbee@hive1"


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = defined_root(leaves[:split]), defined_root(leaves[split:])
    return sha256(b"\1" + left + right).digest()


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(b"record %d" % number) for number in range(count)]


def subtrees_of(leaves: Sequence[bytes]) -> Callable[[int, int], bytes]:
    def subtree(height: int, index: int) -> bytes:
        return defined_root(leaves[index << height : (index + 1) << height])

    return subtree


def witness(number: int) -> Signer:
    return Signer(f"witness.example/w{number}", sha256(b"witness %d" % number).digest())


def signed(
    leaves: Sequence[bytes],
    signer: Signer,
    *,
    origin: str = ORIGIN,
    witnesses: Sequence[int] = (),
    seconds: int = 1_800_000_000,
) -> Note:
    """The checkpoint of these leaves, signed by the log and cosigned by some witnesses."""
    builder = TreeBuilder()
    for leaf in leaves:
        builder.append(leaf)
    text = Checkpoint(origin, builder.size, builder.root()).to_bytes()
    note = Note(text, (signer.renamed(origin).sign(text),))
    return note.with_signatures(witness(number).cosign(text, seconds) for number in witnesses)


def policy_text(signer: Signer, *, rule: str = "2", count: int = 3, origin: str = ORIGIN) -> str:
    lines = [f"log {signer.renamed(origin).key}"]
    lines += [f"witness w{number} {witness(number).cosigner}" for number in range(1, count + 1)]
    names = " ".join(f"w{number}" for number in range(1, count + 1))
    return "\n".join([*lines, f"group all-of-them {rule} {names}", "quorum all-of-them", ""])
