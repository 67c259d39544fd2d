"""The proof of one record: for that line, under that policy, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.merkle import inclusion_proof
from auditlog.evidence.note import Signer, encode_base64
from auditlog.evidence.policy import TrustPolicy
from auditlog.evidence.proof import RecordProof
from tests.auditlog.evidence.test_note import flipped
from tests.support.trees import ORIGIN, leaves_of, policy_text, signed, subtrees_of

SIGNER = Signer(ORIGIN, bytes(range(32)))
POLICY = TrustPolicy.parse(policy_text(SIGNER).encode())


def proof_of(index: int, size: int, witnesses: tuple[int, ...] = (1, 2)) -> RecordProof:
    leaves = leaves_of(size)
    hashes = inclusion_proof(index, size, subtrees_of(leaves))
    return RecordProof(index, tuple(hashes), signed(leaves, SIGNER, witnesses=witnesses))


@given(st.integers(1, 70), st.data())
def test_round_trip(size: int, draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, size - 1))
    proof = proof_of(index, size)
    again = RecordProof.parse(proof.to_bytes())
    assert again == proof
    assert again.verify(b"record %d\n" % index, POLICY).checkpoint.size == size
    with pytest.raises(BadEvidence, match="is not record"):
        again.verify(b"record %d" % (index + 1), POLICY)


@pytest.mark.parametrize(("index", "size"), [(0, 1), (4, 7)])
def test_every_bit(index: int, size: int) -> None:
    line = b"record %d" % index
    for changed in flipped(proof_of(index, size).to_bytes()):
        with pytest.raises(BadEvidence):
            RecordProof.parse(changed).verify(line, POLICY)
    for other in flipped(line):
        with pytest.raises(BadEvidence):
            proof_of(index, size).verify(other, POLICY)


def test_a_proof_that_too_few_witnesses_cosigned_is_refused() -> None:
    with pytest.raises(BadEvidence, match="cosigned by w1, which the quorum"):
        proof_of(1, 3, witnesses=(1,)).verify(b"record 1", POLICY)


HASH = f"{encode_base64(bytes(32))}\n"
NOTE = signed(leaves_of(3), SIGNER, witnesses=(1, 2)).to_bytes()


@pytest.mark.parametrize("count", [0, 1, 63])
def test_a_proof_has_as_many_hashes_as_a_tree_can_be_high(count: int) -> None:
    data = f"c2sp.org/tlog-proof@v1\nindex 5\n{HASH * count}\n".encode() + NOTE
    proof = RecordProof.parse(data)
    assert (proof.index, len(proof.hashes), proof.to_bytes()) == (5, count, data)


@pytest.mark.parametrize(
    "head",
    [
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v2\nindex 5\n",
        f"c2sp.org/tlog-proof@v1\nindex 5\n{HASH * 64}",
        f"c2sp.org/tlog-proof@v1\nindex 05\n{HASH}",
        f"c2sp.org/tlog-proof@v1\nindex -1\n{HASH}",
        f"c2sp.org/tlog-proof@v1\n{HASH}",
        "c2sp.org/tlog-proof@v1\nindex 5\nAAAA\n",
        "c2sp.org/tlog-proof@v1\nindex 5\né\n",
    ],
)
def test_what_is_not_a_proof_is_refused(head: str) -> None:
    with pytest.raises(BadEvidence, match=r"not a proof|malformed"):
        RecordProof.parse(f"{head}\n".encode() + NOTE)
