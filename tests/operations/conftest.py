"""Other people's programs: where one is missing, its tests are skipped so that nobody misses it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.support.operations import missing

_NOT_RUN = pytest.StashKey[list[str]]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    reasons = config.stash.get(_NOT_RUN, [])
    for reason in sorted(set(reasons)):
        terminalreporter.write_line(
            f"NOT TESTED: {reasons.count(reason)} test(s) of deploy/: {reason}. "
            "AUDITLOG_REQUIRE_OPERATIONS=1 makes this a failure.",
            red=True,
            bold=True,
        )


@pytest.fixture(scope="session")
def needs(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``needs("promtool", …)``: skips the test loudly, or fails it, where a program is missing."""

    def check(*programs: str) -> None:
        for reason in filter(None, map(missing, programs)):
            if os.environ.get("AUDITLOG_REQUIRE_OPERATIONS") == "1":
                pytest.fail(f"the test of deploy/ has to run: {reason}", pytrace=False)
            request.config.stash.setdefault(_NOT_RUN, []).append(reason)
            pytest.skip(reason)

    return check


@pytest.fixture
def promtool(needs: Callable[..., None]) -> str:
    needs("promtool")
    return "promtool"
