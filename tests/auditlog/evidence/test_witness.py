"""A witness never forgets, and never signs two histories of a log."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.errors import BadEvidence, EvidenceError
from auditlog.evidence.merkle import consistency_proof
from auditlog.evidence.note import Note, Signer
from auditlog.evidence.witness import Witness, WitnessedLogs, WitnessState, open_state
from auditlog.evidence.witness_client import request_body
from tests.support.trees import ORIGIN, leaves_of, signed, subtrees_of, witness

SIGNER = Signer(ORIGIN, bytes(range(32)))
LEAVES, OTHER = leaves_of(60), leaves_of(90)[30:]
NAME = "witness.example/w1"


def opened(directory: Path) -> tuple[Witness, WitnessState]:
    signer, state = open_state(directory, NAME)
    return Witness(signer, state, WitnessedLogs(f"# ours\n{SIGNER.key}\n")), state


def request(old: int, size: int, leaves: list[bytes] = LEAVES) -> bytes:
    proof = consistency_proof(old, size, subtrees_of(leaves)) if old <= size else []
    return request_body(old, proof, signed(leaves[:size], SIGNER))


def test_answers(tmp_path: Path) -> None:
    ours, state = opened(tmp_path)

    def asked(body: bytes) -> tuple[int, bytes]:
        reply = ours.add_checkpoint(body, 1_800_000_000)
        return reply.status, reply.body if reply.status == 409 else b""

    note = signed(LEAVES[:5], SIGNER)
    assert asked(b"rubbish") == (400, b"")
    assert asked(b"old 00\n\n" + note.to_bytes()) == (400, b"")
    assert asked(b"old 0\nrubbish\n\n" + note.to_bytes()) == (400, b"")
    assert asked(b"old 6\n\n" + note.to_bytes()) == (400, b"")
    assert asked(b"old 0\n" + b"%b\n" % (b"A" * 43 + b"=") * 64 + b"\n" + note.to_bytes()) == (
        400,
        b"",
    )
    assert asked(b"x" * 100_000) == (400, b"")
    unknown = signed(LEAVES[:5], SIGNER, origin="somewhere.example/else")
    assert asked(request_body(0, [], unknown)) == (404, b"")
    assert asked(request_body(0, [], signed(LEAVES[:5], Signer(ORIGIN, bytes(32))))) == (403, b"")
    unsigned = Note(note.text, (witness(2).cosign(note.text, 1),))
    assert asked(request_body(0, [], unsigned)) == (403, b"")
    assert asked(request(3, 5)) == (409, b"0\n"), "on first contact there is nothing to prove from"
    assert asked(request(0, 5)) == (200, b"")
    assert asked(request(5, 5)) == (200, b"")
    assert asked(request(0, 9)) == (409, b"5\n")
    assert asked(request(5, 9)) == (200, b"")
    assert asked(request(5, 20)) == (409, b"9\n")
    assert asked(request(9, 9, OTHER)) == (409, b"9\n"), "another root at the same size"
    assert asked(request(9, 20, OTHER)) == (422, b"")
    assert asked(request_body(9, [], signed(LEAVES[:20], SIGNER))) == (422, b"")
    assert asked(request(4, 4)) == (409, b"9\n"), "smaller than it was"
    state.close()


def test_never_back(tmp_path: Path) -> None:
    """Requests of two histories, at random and from several threads at once."""
    ours, state = opened(tmp_path)
    accepted: list[Checkpoint] = []
    lock = threading.Lock()

    def ask(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(60):
            leaves = rng.choice([LEAVES, OTHER])
            remembered = max((each.size for each in accepted), default=0)
            old = rng.choice([0, remembered, rng.randrange(61)])
            size = rng.randrange(61)
            reply = ours.add_checkpoint(request(old, size, leaves), 1_800_000_000)
            if reply.grown is not None:
                with lock:
                    accepted.append(reply.grown)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state.close()
    assert len(accepted) > 1
    histories = {
        index
        for index, leaves in enumerate((LEAVES, OTHER))
        for each in accepted
        if each.size
        and each.root == Checkpoint.parse(signed(leaves[: each.size], SIGNER).text).root
    }
    assert len(histories) == 1
    sizes = [each.size for each in accepted]
    assert len(set(sizes)) == len(sizes)


def test_remembers(tmp_path: Path) -> None:
    ours, state = opened(tmp_path)
    assert ours.add_checkpoint(request(0, 7), 1_800_000_000).status == 200
    (first,) = state.newest()
    state.close()
    again, state = opened(tmp_path)
    assert state.newest() == [first] == [(ORIGIN, 7, 1_800_000_000)]
    assert again.add_checkpoint(request(0, 9), 1_800_000_001).body == b"7\n"
    state.close()


def test_together(tmp_path: Path) -> None:
    _, state = opened(tmp_path / "a")
    state.close()
    _, state = opened(tmp_path / "b")
    state.close()
    key, memory = tmp_path / "a/witness.key", tmp_path / "a/witness.sqlite"
    assert key.stat().st_mode & 0o777 == 0o600
    whole = memory.read_bytes()
    memory.unlink()
    with pytest.raises(EvidenceError, match="one of them is missing"):
        open_state(tmp_path / "a", NAME)
    memory.write_bytes((tmp_path / "b/witness.sqlite").read_bytes())
    with pytest.raises(EvidenceError, match="not that of the witness's key"):
        open_state(tmp_path / "a", NAME)
    memory.write_bytes(b"")
    with pytest.raises(EvidenceError, match="not that of the witness's key"):
        open_state(tmp_path / "a", NAME)
    memory.write_bytes(whole)
    key.unlink()
    with pytest.raises(EvidenceError, match="one of them is missing"):
        open_state(tmp_path / "a", NAME)


def test_a_host_may_sign_every_log_below_its_prefix() -> None:
    host = Signer("audit.example.com/hive1/*", bytes(range(32)))
    logs = WitnessedLogs(f"log {host.key}\n")
    origin = "audit.example.com/hive1/queen-rbee@hive1/2~e3"
    assert logs.keys_of(origin) == (host.renamed(origin).key,)
    assert logs.keys_of("audit.example.com/hive2/queen-rbee@hive1") == ()
    assert logs.keys_of("audit.example.com/hive1") == ()
    with pytest.raises(BadEvidence, match="line 2"):
        WitnessedLogs(f"# a comment\n{witness(1).cosigner}\n")


def test_a_log_may_have_several_keys_of_which_revoked_ones_do_not_sign() -> None:
    old, new = SIGNER.key, Signer(ORIGIN, bytes(32)).key
    assert WitnessedLogs(f"{old}\nlog {new}\n").keys_of(ORIGIN) == (old, new)
    revoked = f"revoked {old.renamed('other.example/log')} 2026-11-23T07:12:00Z\n"
    assert WitnessedLogs(f"{revoked}{old}\n{new}\n").keys_of(ORIGIN) == (new,)
