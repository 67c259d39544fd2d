"""Check an installation of the wheel with its [agent] extra alone; run by `make wheel-check`.

Every command is loaded, and one log goes its whole way: written, verified, shipped, planned for.
A module or a template that the wheel lacks, or a requirement that its metadata does not name, fails
here and nowhere else.
"""

import importlib.metadata
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from auditctl.cli import COMMANDS

PROGRAM = Path(sys.executable).with_name("auditctl")


def run(*arguments: str) -> str:
    done = subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def check() -> None:
    version = importlib.metadata.version("llama-orch-auditlog")
    assert run("--version") == f"auditctl {version}\n"
    for name in COMMANDS:
        assert run(name, "--help").startswith(f"Usage: auditctl {name}"), name
    module = [sys.executable, "-m", "auditctl", "--version"]
    assert version in subprocess.run(module, capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as directory:
        log = str(Path(directory) / "audit")
        run("emit", log, "--service", "wheel", "--host", "check", "wheel.checked")
        assert json.loads(run("verify", "--json", log))["ok"]
        run("ship", log, "--to", str(Path(directory) / "audit.sqlite"), "--once")
        run("prune", log, "--dry-run")
        run("status", log)
        page = Path(directory) / "report.html"
        run("report", log, "-o", str(page))
        assert "verified" in page.read_text("utf-8")
    print(f"agent-check: {version} ran {len(COMMANDS)} commands")


if __name__ == "__main__":
    check()
