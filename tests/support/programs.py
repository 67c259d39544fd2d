"""Programs that some tests need beside Python: a terminal to type into, tar's decompressor."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["require"]


def require(program: str) -> str:
    """The program's path.  Without it the test is skipped, and said so in the summary.

    Under AUDITLOG_REQUIRE_PROGRAMS=1, as in .ci/run, it fails.
    """
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"NOT TESTED: {program} is missing; AUDITLOG_REQUIRE_PROGRAMS=1 makes this a failure"
    if os.environ.get("AUDITLOG_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
