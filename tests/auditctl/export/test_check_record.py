"""The program that auditors get: it agrees with ours, with nothing but Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from auditctl.export import check_record
from auditlog.evidence.note import Signer
from auditlog.evidence.proof import RecordProof
from tests.auditlog.evidence.test_note import flipped
from tests.auditlog.evidence.test_proof import proof_of
from tests.support.trees import ORIGIN, policy_text

SIGNER = Signer(ORIGIN, bytes(range(32)))
PROGRAM = Path(check_record.__file__)


def write(place: Path, proof: bytes, line: bytes, rule: str = "2") -> list[str]:
    paths = [place / name for name in ("proof", "policy", "line")]
    contents = proof, policy_text(SIGNER, rule=rule).encode(), line
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", PROGRAM, *arguments],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def refused(arguments: list[str]) -> bool:
    """In this process, which takes a tenth of the time."""
    try:
        check_record.main(*arguments)
    except (SystemExit, ValueError, TypeError, UnicodeError):
        return True
    return False


@pytest.mark.parametrize(("index", "size"), [(0, 1), (4, 7), (41, 300)])
def test_a_proof_is_accepted_with_nothing_but_python(tmp_path: Path, index: int, size: int) -> None:
    line = b"record %d" % index
    arguments = write(tmp_path, proof_of(index, size).to_bytes(), line + b"\n")
    code, said = run(*arguments)
    assert code == 0
    assert said.startswith(f"ok: record {index + 1} of {ORIGIN}; witnessed at 2027-01-15T")
    assert said.endswith(" by w1, w2\n")
    Path(arguments[2]).write_bytes(line + b"0")
    assert run(*arguments) == (1, f"FAILED: the line is not record {index + 1} of {ORIGIN}\n")


@pytest.mark.parametrize(
    ("witnesses", "rule", "says"),
    [((1,), "2", "only: w1"), ((), "any", "only: nobody"), ((1, 2), "all", "only: w1, w2")],
)
def test_too_few_witnesses_are_refused(
    tmp_path: Path, witnesses: tuple[int, ...], rule: str, says: str
) -> None:
    proof = proof_of(4, 7, witnesses=witnesses).to_bytes()
    code, said = run(*write(tmp_path, proof, b"record 4", rule))
    assert code == 1
    assert says in said


def test_every_changed_byte_of_a_proof_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bit of each byte in turn: an Ed25519 in Python takes its time."""
    proof = proof_of(1, 2).to_bytes()
    for changed in flipped(proof)[::9]:
        arguments = write(tmp_path, changed, b"record 1")
        assert refused(arguments), changed
    capsys.readouterr()
    assert not refused(write(tmp_path, proof, b"record 1"))


def test_what_is_no_proof_gets_a_verdict_and_no_traceback(tmp_path: Path) -> None:
    proof = proof_of(1, 2)
    for content in (b"", b"\xff", b"c2sp.org/tlog-proof@v1\n", proof.checkpoint.to_bytes()):
        code, said = run(*write(tmp_path, content, b"record 1"))
        assert (code, said[:8]) == (1, "FAILED: ")
    assert run(str(tmp_path / "missing"), "x", "y")[0] == 1
    assert RecordProof.parse(proof.to_bytes()) == proof
