"""The Go programs in tests/judges: they check our output with other people's libraries."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

__all__ = ["SOURCES", "build"]

SOURCES: Final = Path(__file__).parents[1] / "judges"
_BUILT: Final = Path(__file__).parents[2] / ".cache/judges"


def build(name: str) -> Path:
    """The program, built once for each state of its source.

    Without Go the test is skipped, and said so in the summary.  Under AUDITLOG_REQUIRE_GO=1, as in
    .ci/run, it fails.
    """
    source = SOURCES / name
    digest = sha256(b"".join(path.read_bytes() for path in sorted(source.iterdir()))).hexdigest()
    program = _BUILT / f"{name}-{digest[:16]}"
    go = shutil.which("go")
    if go is None:
        _not_tested(f"{name} needs Go, which is missing")
    assert go is not None
    _BUILT.mkdir(parents=True, exist_ok=True)
    with (_BUILT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers of pytest-xdist build at once
        if not program.exists():
            made = program.with_suffix(".new")
            done = subprocess.run(
                [go, "build", "-o", str(made), "."],
                cwd=source,
                env={**os.environ, "CGO_ENABLED": "0"},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                _not_tested(f"{name} cannot be built: {done.stderr.strip()[-500:]}")
            made.rename(program)
    return program


def _not_tested(reason: str) -> None:
    text = f"NOT TESTED: {reason}; AUDITLOG_REQUIRE_GO=1 makes this a failure"
    if os.environ.get("AUDITLOG_REQUIRE_GO") == "1":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)
