"""Evidence that we write, checked by independent Go programs (tests/judges).

x/mod's sumdb/note and sumdb/tlog, transparency-dev's merkle and formats, and filippo.io/torchwood.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from auditlog.evidence.merkle import consistency_proof, inclusion_proof, leaf_hash
from auditlog.evidence.note import Signer, encode_base64
from auditlog.evidence.proof import RecordProof
from tests.support.judges import build
from tests.support.logs import write_log
from tests.support.trees import ORIGIN, policy_text, signed, subtrees_of, witness
from tests.support.witnesses import our_witness

SIGNER = Signer(ORIGIN, bytes(range(32)))


def says(program: str, *arguments: object) -> str:
    done = subprocess.run(
        [str(build(program)), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else f"refused: {done.stdout}"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def hashes_in(path: Path, hashes: list[bytes]) -> Path:
    return written(path, "".join(f"{encode_base64(each)}\n" for each in hashes).encode())


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
def test_root_of_raw_ndjson(tmp_path: Path, size: int) -> None:
    log = write_log(tmp_path, records=size)
    note = signed([leaf_hash(line[:-1]) for line in log.lines], SIGNER)
    checkpoint = written(tmp_path / "checkpoint", note.to_bytes())
    segment = log.paths[0]
    assert says("judge", "rebuild", checkpoint, SIGNER.key, segment).startswith("OK")
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b"task-1", b"task-2", 1))
    assert "root differs" in says("judge", "rebuild", checkpoint, SIGNER.key, segment)
    segment.write_bytes(b"".join(log.lines[:-1]))
    assert "the tail was cut" in says("judge", "rebuild", checkpoint, SIGNER.key, segment)


def test_notes_and_cosignatures(tmp_path: Path) -> None:
    note = signed([leaf_hash(b"x")], SIGNER, witnesses=(1, 2))
    path = written(tmp_path / "note", note.to_bytes())
    keys = [SIGNER.key, witness(1).cosigner, witness(2).cosigner]
    assert "verified 3 signature(s), 0 unverified" in says("judge", "note", path, *keys)
    written(path, note.to_bytes().replace(b"\n1\n", b"\n2\n"))
    assert says("judge", "note", path, *keys).startswith("refused")


@pytest.mark.parametrize(("old", "size"), [(1, 2), (5, 8), (8, 13), (255, 257), (256, 600)])
def test_inclusion_and_consistency(tmp_path: Path, old: int, size: int) -> None:
    lines = [b"record %d" % number for number in range(size)]
    leaves = [leaf_hash(line) for line in lines]
    small = written(tmp_path / "small", signed(leaves[:old], SIGNER).to_bytes())
    large = written(tmp_path / "large", signed(leaves, SIGNER).to_bytes())
    between = hashes_in(tmp_path / "consistency", consistency_proof(old, size, subtrees_of(leaves)))
    assert says("judge", "consistency", small, large, SIGNER.key, between).startswith("OK")
    for index in (0, old, size - 1):
        proof = inclusion_proof(index, size, subtrees_of(leaves))
        path = hashes_in(tmp_path / "inclusion", proof)
        line = written(tmp_path / "line", lines[index] + b"\n")
        assert says("judge", "inclusion", large, SIGNER.key, path, index, line).startswith("OK")


@pytest.mark.parametrize(("rule", "witnesses", "accepted"), [
    ("2", (1, 2), True),
    ("2", (1, 2, 3), True),
    ("2", (3,), False),
    ("all", (1, 2), False),
    ("any", (2,), True),
    ("any", (), False),
])  # fmt: skip
def test_policies_and_proofs(
    tmp_path: Path, rule: str, witnesses: tuple[int, ...], accepted: bool
) -> None:
    lines = [b"record %d" % number for number in range(300)]
    leaves = [leaf_hash(line) for line in lines]
    note = signed(leaves, SIGNER, witnesses=witnesses)
    hashes = inclusion_proof(41, 300, subtrees_of(leaves))
    policy = written(tmp_path / "policy", policy_text(SIGNER, rule=rule).encode())
    proof = written(tmp_path / "proof", RecordProof(41, tuple(hashes), note).to_bytes())
    line = written(tmp_path / "line", lines[41] + b"\n")
    checkpoint = written(tmp_path / "checkpoint", note.to_bytes())
    assert says("policyjudge", "checkpoint", policy, checkpoint).startswith("OK") == accepted
    assert says("policyjudge", "proof", policy, proof, line).startswith("OK") == accepted
    other = written(tmp_path / "other", lines[42] + b"\n")
    assert says("policyjudge", "proof", policy, proof, other).startswith("refused")


def test_our_witness_with_a_client_in_go(tmp_path: Path) -> None:
    """x/mod's notes and trees; the cosignature is verified in Go, too."""
    with our_witness(tmp_path / "w", [SIGNER.key]) as ours:
        said = says(
            "witnessclient", ours.url, ours.key, SIGNER.secret_text().strip(), 0, 1, 1, 7, 256, 700
        )
        lines = said.splitlines()
        assert lines == [f"{size} 200 cosigned" for size in (1, 1, 7, 256, 700)]
        # The client knows the witness's last size, and a consistency proof of another history.
        forged = says(
            "witnessclient", ours.url, ours.key, SIGNER.secret_text().strip(), 1, 700, 900
        )
        assert forged.splitlines() == ["700 409 700", "900 409 700"]
    with our_witness(tmp_path / "other", [SIGNER.key]) as ours:
        forged = says(
            "witnessclient", ours.url, ours.key, SIGNER.secret_text().strip(), 300, 300, 900
        )
        assert [line.split()[:2] for line in forged.splitlines()] == [
            ["300", "200"],
            ["900", "422"],
        ]
