"""A server for all processes of a run: one is started, and it ends with its last user."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.shared import shared
from tests.support.waiting import eventually


class Server:
    """Counts how often it was started and stopped."""

    def __init__(self) -> None:
        self.started = self.stopped = 0

    def start(self, stop: ExitStack) -> Any:
        self.started += 1
        stop.callback(self.stop)
        return {"number": self.started}

    def stop(self) -> None:
        self.stopped += 1


class User(threading.Thread):
    """Uses the server until told to leave.  Locks of two open files meet within a process, too."""

    def __init__(self, directory: Path, server: Server) -> None:
        super().__init__()
        self.directory, self.server = directory, server
        self.described: Any = None
        self.leave = threading.Event()

    def run(self) -> None:
        with shared(self.directory, "server", self.server.start) as self.described:
            self.leave.wait(60)


def test_one_is_started_and_the_first_that_came_waits_for_the_last_to_leave(tmp_path: Path) -> None:
    server = Server()
    users = [User(tmp_path, server) for _ in range(3)]
    for user in users:
        user.start()
        eventually(lambda user=user: user.described is not None)
    assert [user.described for user in users] == [{"number": 1}] * 3
    users[0].leave.set()
    users[1].leave.set()
    users[1].join(60)
    assert (server.started, server.stopped, users[0].is_alive()) == (1, 0, True)
    users[2].leave.set()
    users[0].join(60)
    assert (server.started, server.stopped) == (1, 1)


def test_one_that_comes_after_the_end_starts_another(tmp_path: Path) -> None:
    server = Server()
    for number in (1, 2):
        with shared(tmp_path, "server", server.start) as described:
            assert described == {"number": number}
        assert server.stopped == number


def test_it_is_stopped_when_a_test_run_is_broken_off(tmp_path: Path) -> None:
    server = Server()
    with pytest.raises(KeyboardInterrupt), shared(tmp_path, "server", server.start):
        raise KeyboardInterrupt
    assert server.stopped == 1
