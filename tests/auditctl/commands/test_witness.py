"""`auditctl witness serve`, as a program."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from auditlog.evidence.note import Key, Signer
from auditlog.evidence.policy import TrustedWitness
from auditlog.evidence.witness import WitnessedLogs
from auditlog.evidence.witness_client import submit
from tests.support.ports import free_port
from tests.support.trees import ORIGIN, leaves_of, signed

SIGNER = Signer(ORIGIN, bytes(range(32)))


def test_serve_says_who_it_is_cosigns_and_stops_when_asked(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.write_text(f"{SIGNER.key}\n")
    WitnessedLogs(logs.read_text())
    port = free_port()
    options = ["--listen", f"127.0.0.1:{port}", "--state", tmp_path / "w", "--logs", logs]
    command = [sys.executable, "-m", "auditctl", "witness", "serve", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        word, name, vkey, url = process.stdout.readline().split()
        assert (word, url) == ("witness", f"http://127.0.0.1:{port}")
        answer = submit(
            TrustedWitness(name, Key.parse(vkey), url),
            signed(leaves_of(3), SIGNER),
            0,
            lambda *_: [],
        )
        assert answer.outcome == "cosigned"
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
    assert code == 0


def test_serve_refuses_a_key_without_its_memory(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.write_text(f"{SIGNER.key}\n")
    (tmp_path / "w").mkdir()
    (tmp_path / "w/witness.key").write_text(SIGNER.secret_text())
    options = ["--listen", "127.0.0.1:0", "--state", tmp_path / "w", "--logs", logs]
    command = [sys.executable, "-m", "auditctl", "witness", "serve", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "one of them is missing" in done.stderr
