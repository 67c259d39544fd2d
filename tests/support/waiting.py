"""Wait for what other threads and processes do, without guessing how long they take."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import auditlog

__all__ = ["eventually", "impatient"]

T = TypeVar("T")


def eventually(condition: Callable[[], T], what: str = "", seconds: float = 120.0) -> T:
    """Return what the condition says as soon as that is true; fail after ``seconds`` without it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"did not happen in {seconds:.0f} s: {what}"
        time.sleep(0.01)
    return found


@contextmanager
def impatient(log: auditlog.Log, seconds: float) -> Iterator[None]:
    """Inside, the log waits for room or for its disk no longer than this.

    The option ``block_timeout`` bounds opening and closing, too, and those take as long as a sync
    does on a machine that has other things to do.
    """
    patient = log._options
    log._options = dataclasses.replace(patient, block_seconds=seconds)
    try:
        yield
    finally:
        log._options = patient
