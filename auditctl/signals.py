"""Run something until it ends or until SIGTERM or SIGINT asks it to.

The work runs in a thread; the main thread does nothing but wait for signals, since a handler that
sets an Event can deadlock with a main thread that is just waiting on it (signal, "Signals and
threads").  Handlers only write to a pipe, through signal.set_wakeup_fd.

Invariants (tests of the same name in tests/auditctl/test_signals.py):
  asked     the first signal sets the event, and the work ends by itself
  impatient a second signal ends the process at once
  raised    what the work raises is raised to the caller
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["run_until_signal"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_ENDED: Final = b"\0"
_Result = TypeVar("_Result")


def run_until_signal(
    work: Callable[[threading.Event], _Result],
) -> tuple[_Result, signal.Signals | None]:
    """Call ``work`` with an event that a signal sets; returns its result and that signal.

    Only to be called in the main thread.  Raises what ``work`` raises.
    """
    stop = threading.Event()
    results: list[_Result] = []
    errors: list[BaseException] = []
    with _wakeup_pipe() as (reader, writer):

        def run() -> None:
            try:
                results.append(work(stop))
            except BaseException as error:  # noqa: BLE001  (raised again below)
                errors.append(error)
            finally:
                os.write(writer, _ENDED)

        thread = threading.Thread(target=run, name="work", daemon=True)
        with _handlers():
            thread.start()
            told = os.read(reader, 1)
        stop.set()
        thread.join()
    if errors:
        raise errors[0]
    return results[0], None if told == _ENDED else signal.Signals(told[0])


@contextlib.contextmanager
def _wakeup_pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader, writer
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def _handlers() -> Iterator[None]:
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
