"""Programs and abilities of the machine that some tests need, such as a terminal or a real server.

    path = require("tmux")
    not_run("STRACE", "strace is not installed")

A test that lacks one is skipped, and the summary of the run says so in red (tests/conftest.py).
Under AUDITLOG_REQUIRE_<NEED>=1, as in .ci/run, it fails instead.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["NOT_TESTED", "not_run", "require"]

NOT_TESTED = "NOT TESTED: "
"""The reason of every skip made here starts with this; the summary of the run looks for it."""


def not_run(need: str, reason: str) -> NoReturn:
    """Skip the test loudly, or fail it where AUDITLOG_REQUIRE_<need> is 1."""
    switch = f"AUDITLOG_REQUIRE_{need}"
    if os.environ.get(switch) == "1":
        pytest.fail(f"this test has to run ({switch}=1): {reason}", pytrace=False)
    pytest.skip(f"{NOT_TESTED}{reason}. {switch}=1 makes this a failure.")


def require(program: str) -> str:
    """Return the program's path."""
    path = shutil.which(program)
    if path is None:
        not_run("PROGRAMS", f"{program} is missing")
    return path
