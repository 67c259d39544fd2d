from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from auditctl.agent.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    """The receiving end, as systemd has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(20)
        yield receiver


def test_datagrams(supervisor: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": supervisor.getsockname()})
    assert notifier.listening
    before = time.monotonic_ns() // 1000
    notifier.ready("ships to main")
    notifier.reloading()
    notifier.status("sink main: no answer")
    notifier.alive()
    notifier.stopping()
    received = [supervisor.recv(4096).decode().split("\n") for _ in range(5)]
    assert received[0] == ["READY=1", "STATUS=ships to main"]
    assert received[1][0] == "RELOADING=1"
    name, _, usec = received[1][1].partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(usec) <= time.monotonic_ns() // 1000
    assert received[2:] == [
        ["STATUS=sink main: no answer"],
        ["WATCHDOG=1"],
        ["STOPPING=1", "STATUS=stopping"],
    ]


def test_an_abstract_address_is_understood() -> None:
    name = f"auditlog-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(20)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).alive()
        assert receiver.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_silent(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({**environ, "WATCHDOG_USEC": "3000000"})
    assert not notifier.listening
    assert notifier.watchdog_seconds is None
    notifier.ready("nobody hears it")
    notifier.alive()
    assert not caplog.records


def test_one_line(supervisor: socket.socket) -> None:
    Notifier({"NOTIFY_SOCKET": supervisor.getsockname()}).status("down\nMAINPID=1")
    assert supervisor.recv(4096) == b"STATUS=down MAINPID=1"


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("3000000", None, 3.0),
        ("3000000", "ours", 3.0),
        ("3000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        ("", None, None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(
    supervisor: socket.socket, usec: str, pid: str | None, seconds: float | None
) -> None:
    environ = {"NOTIFY_SOCKET": supervisor.getsockname(), "WATCHDOG_USEC": usec}
    if pid is not None:
        environ["WATCHDOG_PID"] = str(os.getpid()) if pid == "ours" else pid
    assert Notifier(environ).watchdog_seconds == seconds


def test_a_supervisor_that_is_gone_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    with caplog.at_level(logging.WARNING, "auditlog.agent"):
        notifier.alive()
        notifier.alive()
    assert [record.getMessage() for record in caplog.records] == [
        "the supervisor cannot be told anything: No such file or directory"
    ]
