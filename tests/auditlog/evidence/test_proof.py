"""The proof of one record: for that line, under that policy, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.merkle import inclusion_proof
from auditlog.evidence.note import Signer
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
