"""Programs that operators use; where one is missing, its tests do not run, and the run says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.operations import missing
from tests.support.programs import not_run


@pytest.fixture(scope="session")
def needs() -> Callable[..., None]:
    """``needs("promtool", …)``: the test does not run where one of the programs is missing."""

    def check(*programs: str) -> None:
        for reason in filter(None, map(missing, programs)):
            not_run("PROGRAMS", reason)

    return check


@pytest.fixture
def promtool(needs: Callable[..., None]) -> str:
    needs("promtool")
    return "promtool"
