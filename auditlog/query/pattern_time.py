r"""Search text for a regular expression, with a limit on CPU time.

Python's engine backtracks exponentially for patterns such as ``(a+)+$``.  It checks for signals
meanwhile, so in the main thread a timer of CPU time (setitimer(2), ITIMER_VIRTUAL) ends it.  Python
handles no signals in other threads and never lets go of the interpreter in a search: there a
process of its own searches, and the same timer kills it.  A pattern that can neither repeat nor
choose takes time in proportion to the text, and is searched for in place.

Invariants (tests of the same name in tests/auditlog/query/test_pattern_time.py):
  ended    a pattern that would not end is refused with QueryError, in every thread
  same     the answer is the same in every thread
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Final, NoReturn

from auditlog.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["searcher"]

_MOST_SECONDS: Final = 1.0
_HINT: Final = "Avoid a repetition inside a repetition, such as (a+)+, or .* several times."

_HINT_ELSEWHERE: Final = "Search in the main thread, where no process is needed."

_can_backtrack: Final = re.compile(r"[*+?{|(]").search

_PROGRAM: Final = """
import re, signal, sys
signal.signal(signal.SIGVTALRM, signal.SIG_DFL)  # which ends the process
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGVTALRM])
seconds = float(sys.argv[1])
texts, answers = sys.stdin.buffer, sys.stdout.buffer
def read():
    return texts.read(int.from_bytes(texts.read(4), "big")).decode("utf-8", "surrogatepass")
search = re.compile(read()).search
while texts.peek(1):
    text = read()
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    found = search(text) is not None
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    answers.write(b"1" if found else b"0")
    answers.flush()
"""


def searcher(pattern: str, most_seconds: float = _MOST_SECONDS) -> Callable[[str], bool]:
    """Return a function that searches a text.  It raises QueryError after the CPU time."""
    search = re.compile(pattern).search
    if _can_backtrack(pattern) is None:
        return lambda text: search(text) is not None
    elsewhere = _OtherProcess(pattern, most_seconds)

    def found(text: str) -> bool:
        if threading.current_thread() is not threading.main_thread():
            return elsewhere.search(text)
        before = signal.signal(signal.SIGVTALRM, _refuse)
        signal.setitimer(signal.ITIMER_VIRTUAL, most_seconds)
        try:
            return search(text) is not None
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)

    return found


class _OtherProcess:
    """Searches in a process that is started with the first text; any thread may ask."""

    def __init__(self, pattern: str, most_seconds: float) -> None:
        self._pattern = pattern
        self._command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(most_seconds)]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def search(self, text: str) -> bool:
        """Whether the pattern is in the text.  Raises QueryError."""
        with self._lock:
            process = self._process or self._start()
            try:
                answer = _ask(process, text)
            except OSError:
                answer = b""
            if not answer:
                self._process = None  # another text may do: it gets another process
                if (status := process.wait()) != -signal.SIGVTALRM:
                    raise QueryError(
                        f"the process that searches for a regular expression ended with {status}",
                        hint=_HINT_ELSEWHERE,
                    )
                _refuse()
            return answer == b"1"

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(  # noqa: S603  (this interpreter)
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise QueryError(
                f"no process can be started to search for a regular expression: {error.strerror}",
                hint=_HINT_ELSEWHERE,
            ) from None
        weakref.finalize(self, _end, process)
        _send(process, self._pattern)
        self._process = process
        return process


def _send(process: subprocess.Popen[bytes], text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    assert process.stdin is not None  # noqa: S101  (a pipe, for the type checker)
    process.stdin.write(len(content).to_bytes(4, "big") + content)


def _ask(process: subprocess.Popen[bytes], text: str) -> bytes:
    """Return the answer, empty when the process has ended.  Raises OSError."""
    _send(process, text)
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018  (as above)
    process.stdin.flush()
    return process.stdout.read(1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # what was not read is of no interest any more
    process.wait()


def _refuse(_signal: int = 0, _frame: FrameType | None = None) -> NoReturn:
    raise QueryError("a regular expression takes more than a second on one value", hint=_HINT)
