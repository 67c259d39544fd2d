"""Run a function until it ends or SIGTERM or SIGINT arrives; forward SIGHUP.

The work runs in a thread; the main thread does nothing but wait for signals, since a handler that
sets an Event can deadlock with a main thread that is just waiting on it (signal, "Signals and
threads").  Handlers only write to a pipe, through signal.set_wakeup_fd.

Invariants (tests of the same name in tests/auditctl/agent/test_signals.py):
  asked     the first signal sets the event, and the work ends by itself
  impatient a second signal ends the process at once
  raised    what the work raises is raised to the caller
  hung_up   SIGHUP calls the function given for it, and ends nothing, also while the work ends
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["run_until_signal"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_ENDED: Final = b"\0"
_HANGUP: Final = bytes([signal.SIGHUP])
_Result = TypeVar("_Result")


def run_until_signal(
    work: Callable[[threading.Event], _Result],
    on_hangup: Callable[[], None] | None = None,
) -> tuple[_Result, signal.Signals | None]:
    """Call ``work`` with an event that a signal sets; returns its result and that signal.

    ``on_hangup`` is called for SIGHUP, in the main thread; without it SIGHUP is as it was.
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
        with _handlers((signal.SIGHUP,) if on_hangup is not None else ()):
            with _handlers(_SIGNALS):
                thread.start()
                while (told := os.read(reader, 1)) == _HANGUP and on_hangup is not None:
                    on_hangup()
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
def _handlers(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
