from __future__ import annotations

import signal

import pytest

from auditlog.errors import QueryError
from auditlog.query.pattern_time import searcher


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
