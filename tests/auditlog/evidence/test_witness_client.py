"""Translating each answer of a witness into an outcome."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from auditlog.evidence.merkle import consistency_proof
from auditlog.evidence.note import Note, Signer
from auditlog.evidence.policy import TrustedWitness
from auditlog.evidence.witness_client import Answer, submit
from tests.support.trees import ORIGIN, leaves_of, signed, subtrees_of, witness
from tests.support.witnesses import answering, go_witness, our_witness

SIGNER = Signer(ORIGIN, bytes(range(32)))
LEAVES = leaves_of(20)


def prove(old: int, size: int) -> list[bytes]:
    return consistency_proof(old, size, subtrees_of(LEAVES))


def submitted(url: str, note: Note, old: int = 0) -> Answer:
    return submit(TrustedWitness("w1", witness(1).cosigner, url), note, old, prove)


def cosigning(body: bytes) -> tuple[int, bytes]:
    text = body.partition(b"\n\n")[2].partition(b"\n\n")[0] + b"\n"
    return 200, str(witness(1).cosign(text, 1_800_000_000)).encode()


@pytest.mark.parametrize(
    ("status", "content", "outcome", "says"),
    [
        (200, b"rubbish", "refused", "does not verify"),
        (200, b"", "refused", "does not verify"),
        (200, str(witness(2).cosign(b"x", 1)).encode(), "refused", "another key"),
        (200, str(witness(1).cosign(b"x", 1)).encode(), "refused", "does not verify"),
        (409, b"21\n", "conflict", "has a checkpoint of 21 records; here are 20"),
        (409, b"0\n", "conflict", "another root at 0 records"),
        (409, b"", "refused", "without the size"),
        (409, b"-1\n", "refused", "without the size"),
        (422, b"", "conflict", "written anew"),
        (403, b"", "refused", "vkey"),
        (404, b"", "refused", "vkey"),
        (400, b"", "refused", "400"),
        (301, b"", "refused", "301"),
        (429, b"", "unavailable", "429"),
        (500, b"", "unavailable", "500"),
        (503, b"", "unavailable", "503"),
    ],
)
def test_answers(status: int, content: bytes, outcome: str, says: str) -> None:
    with answering(lambda _: (status, content)) as told:
        answer = submitted(told.url, signed(LEAVES, SIGNER))
    assert answer.outcome == outcome
    assert says in answer.reason


def test_answers_to_a_size_that_was_forgotten() -> None:
    """A smaller size says from where to prove; that it has our size already, too."""
    for remembered in (7, 20):
        sizes = iter([(409, b"%d\n" % remembered)])
        with answering(lambda body, s=sizes: next(s, None) or cosigning(body)) as told:  # type: ignore[misc]  # mypy knows no default of a lambda
            answer = submitted(told.url, signed(LEAVES, SIGNER))
            assert answer.outcome == "cosigned"
            assert [body.partition(b"\n")[0] for body in told.bodies] == [
                b"old 0",
                b"old %d" % remembered,
            ]


def test_answers_of_another_root_at_the_same_size() -> None:
    with answering(lambda _: (409, b"20\n")) as told:
        answer = submitted(told.url, signed(LEAVES, SIGNER), old=20)
    assert answer.outcome == "conflict"
    assert "another root at 20" in answer.reason


def test_answers_that_never_end() -> None:
    sizes = iter(range(1, 10))
    with answering(lambda _: (409, b"%d\n" % next(sizes))) as told:
        assert submitted(told.url, signed(LEAVES, SIGNER)).outcome == "unavailable"
        assert len(told.bodies) == 3


def test_bounded() -> None:
    with answering(lambda _: (200, b"x" * (5 << 20))) as told:
        assert submitted(told.url, signed(LEAVES, SIGNER)).outcome == "refused"
    assert submitted(told.url, signed(LEAVES, SIGNER)).outcome == "unavailable"
    assert submitted("rubbish://", signed(LEAVES, SIGNER)).outcome == "unavailable"


@pytest.mark.parametrize("kind", [our_witness, go_witness])
def test_a_real_witness(tmp_path: Path, kind: type) -> None:
    """A log that grows is cosigned; one that was written anew is not, by ours and by one in Go."""
    with kind(tmp_path, [SIGNER.key]) as real:
        for old, size in ((0, 1), (0, 8), (8, 20), (20, 20)):
            note = signed(LEAVES[:size], SIGNER)
            answer = submit(real, note, old, prove)
            assert answer.outcome == "cosigned", answer
            assert answer.signature is not None
            assert len(note.with_signatures([answer.signature]).verified([real.key])) == 1
        other = leaves_of(30)[5:]
        for forged in (other[:20], other):
            answer = submit(
                real,
                signed(forged, SIGNER),
                20,
                lambda old, size: consistency_proof(old, size, subtrees_of(other)),
            )
            assert answer.outcome == "conflict", answer
        assert submit(real, signed(LEAVES[:8], SIGNER), 8, prove).outcome == "conflict"
        stranger = signed(LEAVES, SIGNER, origin="audit.example.com/hive1/other@hive1")
        assert submit(real, stranger, 0, prove).outcome == "refused"
        thief = signed(LEAVES, Signer(ORIGIN, bytes(32)))
        assert submit(real, thief, 20, prove).outcome in ("refused", "unavailable")  # ours says 403


def test_a_submission_that_nobody_answers_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from auditlog.evidence import witness_client

    monkeypatch.setattr(witness_client, "_TIMEOUT_SECONDS", 0.2)
    held = threading.Event()

    def never(body: bytes) -> tuple[int, bytes]:
        held.wait(20)
        return cosigning(body)

    with answering(never) as told:
        answer = submitted(told.url, signed(LEAVES, SIGNER))
        held.set()
    assert answer.outcome == "unavailable"
    assert "no answer in time" in answer.reason
