"""Report the service's state to systemd through $NOTIFY_SOCKET (sd_notify(3)).

    Type=notify-reload      READY, RELOADING with MONOTONIC_USEC, STOPPING, STATUS
    WatchdogSec=30s         WATCHDOG, which the caller sends only while the work goes on

Without the variable nothing is sent.  A datagram that cannot be sent is logged once and stops
nothing: systemd then times the service out by itself.

Invariants (tests of the same name in tests/auditctl/agent/test_systemd.py):
  datagrams   each message is one datagram of KEY=value lines
  silent      without NOTIFY_SOCKET nothing is sent
  one_line    no text of ours can add a line, and with it an assignment, to a message
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Notifier"]

_logger = logging.getLogger("auditlog.agent")


class Notifier:
    """Sends notifications to the supervisor that the environment names."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL of Linux' abstract names; other address families have no "/" here.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.listening = self._address[:1] in ("/", "\0")
        self.watchdog_seconds = _watchdog_seconds(environ) if self.listening else None
        self._failed = False

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Notify RELOADING; ``ready`` must follow, whether the reload succeeds or not."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(
            "RELOADING=1", f"MONOTONIC_USEC={usec}", "STATUS=reading the configuration again"
        )

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=stopping")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Reset the watchdog; to be called more often than every ``watchdog_seconds``."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if not self.listening:
            return
        message = "\n".join(text.replace("\n", " ") for text in assignments)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.connect(self._address)
                sender.sendall(message.encode())
        except OSError as error:
            if not self._failed:
                _logger.warning("the supervisor cannot be told anything: %s", error.strerror)
            self._failed = True


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Return WATCHDOG_USEC if it is meant for this process (sd_watchdog_enabled(3))."""
    usec = environ.get("WATCHDOG_USEC", "")
    if not usec.isdecimal() or int(usec) == 0:
        return None
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(usec) / 1e6
