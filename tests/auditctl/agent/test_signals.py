from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from auditctl.agent.signals import run_until_signal
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked(number: signal.Signals) -> None:
    def work(stop: threading.Event) -> str:
        os.kill(os.getpid(), number)
        assert stop.wait(60)
        return "ended by itself"

    assert run_until_signal(work) == ("ended by itself", number)


def test_work_that_ends_first_needs_no_signal() -> None:
    assert run_until_signal(lambda stop: stop.is_set()) == (False, None)


def test_raised() -> None:
    def work(_stop: threading.Event) -> None:
        raise ValueError("from the work")

    with pytest.raises(ValueError, match="from the work"):
        run_until_signal(work)


def test_hung_up() -> None:
    heard: list[str] = []

    def work(stop: threading.Event) -> str:
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGHUP)
            eventually(lambda: len(heard) == count)  # noqa: B023  (it is called in this turn)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(60)
        os.kill(os.getpid(), signal.SIGHUP)  # it ends nothing while the work ends
        return "ended by itself"

    before = signal.getsignal(signal.SIGHUP)
    ended = run_until_signal(work, lambda: heard.append(threading.current_thread().name))
    assert ended == ("ended by itself", signal.SIGTERM)
    assert heard == ["MainThread"] * 2
    assert signal.getsignal(signal.SIGHUP) == before


def test_impatient() -> None:
    code = (
        "import threading\n"
        "from auditctl.agent.signals import run_until_signal\n"
        "def work(stop):\n"
        "    print('running', flush=True)\n"
        "    stop.wait()\n"
        "    print('asked', flush=True)\n"
        "    threading.Event().wait()\n"
        "run_until_signal(work)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"asked\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
