"""Fixtures of retention's tests: a log on disk with a segment a day, and a killed child."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from auditlog import durable_fs
from tests.support.logs import LogBuilder, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = ("fsync", "fsync_directory", "rename", "unlink", "create_exclusive", "write_all")


@pytest.fixture(autouse=True)
def _slow_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proofs give up after three seconds, which one sync may take where many tests run at once."""
    monkeypatch.setattr("retention.tombstone_log._TIMEOUT_SECONDS", 60.0)


@pytest.fixture
def log_directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def daily(log_directory: Path) -> LogBuilder:
    """Ten segments of ten records, a day apart; the last one is active."""
    return write_log(log_directory, segments=10, days=1)


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object], int], bool]:
    """Run something in a child that is killed (SIGKILL) before its n-th durable step, from 0.

    Returns whether it was killed; False means that it had fewer steps and ended by itself.
    """

    def run(work: Callable[[], object], nth: int) -> bool:
        pid = os.fork()
        if pid == 0:
            try:
                _count_down(monkeypatch, nth)
                work()
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    return run


def _count_down(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    left = [nth]

    def dying(step: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return step(*args, **kwargs)

        return call

    for name in STEPS:
        monkeypatch.setattr(durable_fs, name, dying(getattr(durable_fs, name)))
