"""Search text for a regular expression, with a limit on CPU time.

Python's engine backtracks exponentially for patterns such as ``(a+)+$``.  It checks for signals
meanwhile, so a timer of CPU time (setitimer(2), ITIMER_VIRTUAL) ends it.  Outside of the main
thread, where Python handles no signals, there is no limit.

Invariants (tests of the same name in tests/auditlog/query/test_pattern_time.py):
  ended    a pattern that would not end is refused with QueryError
"""

from __future__ import annotations

import re
import signal
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from auditlog.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["searcher"]

_MOST_SECONDS: Final = 1.0
_HINT: Final = "Avoid a repetition inside a repetition, such as (a+)+, or .* several times."


def searcher(pattern: str, most_seconds: float = _MOST_SECONDS) -> Callable[[str], bool]:
    """Return a function that searches a text.  It raises QueryError after the CPU time."""
    search = re.compile(pattern).search

    def found(text: str) -> bool:
        if threading.current_thread() is not threading.main_thread():
            return search(text) is not None
        before = signal.signal(signal.SIGVTALRM, _refuse)
        signal.setitimer(signal.ITIMER_VIRTUAL, most_seconds)
        try:
            return search(text) is not None
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    return found


def _refuse(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise QueryError("a regular expression takes more than a second on one value", hint=_HINT)
