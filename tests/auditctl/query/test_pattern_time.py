from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

import auditlog
from auditctl.errors import QueryError
from auditctl.query.pattern_time import searcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(?:a*)*c"])
def test_ended(pattern: str) -> None:
    with pytest.raises(QueryError, match="takes more than a second"):
        searcher(pattern, 0.05)("a" * 5000 + "!")


def test_what_was_set_up_for_the_signal_is_restored() -> None:
    before = signal.getsignal(signal.SIGVTALRM)
    assert searcher("a+b")("xaab")
    assert not searcher("a+b")("xaac")
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_a_search_ends_with_an_explanation(run: Callable[..., Result], tmp_path: Path) -> None:
    with auditlog.open(tmp_path, service="a", host="b") as log:
        log.emit("a.b", details={"x": "a" * 5000 + "!"})
    result = run("search", "details.x~'(a+)+$'", tmp_path)
    assert result.code == 2
    assert "takes more than a second on one value" in result.err
