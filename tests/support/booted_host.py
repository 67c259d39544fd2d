"""A Debian with its own booted systemd: systemd-nspawn over an overlay of this machine's root.

    with BootedHost.prepare() as host:       raises Unavailable, saying what is missing
        host.boot()
        host.run("systemctl", "start", "a.service")
        host.reboot(); host.cut()            an orderly end, and one without any

What is changed inside lives in memory and is gone at the end.  The host has a network of its own,
so that all ports are free; ``relay`` leads one of them to a server outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from tests.support.overlay import Unavailable, hold_overlay
from tests.support.waiting import eventually

__all__ = ["BootedHost", "Unavailable"]

_CLONE_NEWNET: Final = 0x40000000
_PREPARE: Final = """
cd "$1/root"
rm -rf etc/systemd/system/multi-user.target.wants etc/systemd/system/timers.target.wants
rm -rf var/log/journal var/log/llama-orch var/lib/auditlog* etc/auditlog
mkdir -p var/log/journal
echo 5eed5eed5eed5eed5eed5eed5eed5eed >etc/machine-id
echo gpu-1 >etc/hostname
printf '127.0.0.1 localhost es.example gpu-1\\n' >etc/hosts
"""


class BootedHost:
    """One host, booted as often as is asked for."""

    def __init__(self, holder: subprocess.Popen[str], place: Path) -> None:
        self._holder = holder
        self._place = place
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._relays: dict[int, int] = {}
        self._listeners: list[tuple[socket.socket, threading.Thread]] = []

    @classmethod
    def prepare(cls, place: Path) -> Self:
        """Lay the file system out below an empty directory.  Raises Unavailable."""
        holder = hold_overlay(
            place,
            _PREPARE,
            programs=("systemd-nspawn",),
            packages="systemd-container, util-linux",
        )
        return cls(holder, place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._holder.communicate()

    @property
    def root(self) -> Path:
        """The file system of the host, seen from outside."""
        return Path(f"/proc/{self._holder.pid}/root") / self._place.relative_to("/") / "root"

    def boot(self) -> None:
        """Return when systemd has started everything.  Raises Unavailable where it does not."""
        command = ["systemd-nspawn", "-D", str(self._place / "root"), "--machine=gpu-1"]
        command += ["--keep-unit", "--register=no", "--boot", "--console=pipe", "--tmpfs=/tmp"]
        command += ["--private-network", "--resolv-conf=off"]
        with (self._place / "nspawn.log").open("ab") as output:
            self._nspawn = subprocess.Popen(
                ["nsenter", f"--target={self._holder.pid}", "--mount", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            self._init = eventually(self._booted, "systemd starts", 120)
            ready = ("running", "degraded")
            eventually(lambda: self.ask("systemctl", "is-system-running") in ready, "it boots", 180)
        except AssertionError as error:
            said = (self._place / "nspawn.log").read_text(errors="replace")[-600:]
            raise Unavailable(f"systemd does not boot: {error}; {said}") from error
        for port, outside in self._relays.items():
            self._listen(port, outside)

    def shut_down(self) -> None:
        """End it as ``systemctl poweroff`` does."""
        assert self._nspawn is not None
        self.ask("systemctl", "poweroff")
        self._nspawn.wait(180)
        self._forget()

    def reboot(self) -> None:
        self.shut_down()
        self.boot()

    def cut(self) -> None:
        """End every process of it at once."""
        if self._nspawn is None:
            return
        if self._init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
        else:
            self._nspawn.kill()
        self._nspawn.wait(60)
        self._forget()

    def run(
        self, *command: object, code: int = 0, given: str = "", user: str = "", network: bool = True
    ) -> str:
        """Return a command's output; it must end with the code.  Without ``network``, outside's."""
        done = self._done(command, given, user, network)
        assert done.returncode == code, f"{command} exits with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def ask(self, *command: object, given: str = "") -> str:
        """Return a command's output, whatever its exit code."""
        return self._done(command, given, "", True).stdout.strip()

    def shell(self, script: str, *, code: int = 0, network: bool = True) -> str:
        """Return the output of a bash script, which ends at the first command that fails."""
        return self.run("bash", "-euo", "pipefail", "-c", script, code=code, network=network)

    def relay(self, port: int, outside: int) -> None:
        """Lead connections to this port of the host to one of the machine's loopback."""
        self._relays[port] = outside
        self._listen(port, outside)

    def _done(
        self, command: Sequence[object], given: str, user: str, network: bool
    ) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", f"--target={self._init}", "--mount", "--pid", "--uts", "--ipc"]
        enter += ["--cgroup", *(["--net"] if network else [])]
        as_user = ["runuser", "-u", user, "--"] if user else []
        keep = ("PIP_", "HTTP", "http", "NO_PROXY", "no_proxy", "SSL_", "REQUESTS_")
        environment = {name: text for name, text in os.environ.items() if name.startswith(keep)}
        return subprocess.run(
            [*enter, *as_user, *(str(part) for part in command)],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=600,
            check=False,
            env={
                **environment,
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            },
        )

    def _booted(self) -> int:
        """The process id of its systemd; 0 while there is none."""
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, "systemd-nspawn ended"
        pid = self._nspawn.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
        return 0

    def _forget(self) -> None:
        self._nspawn, self._init = None, 0
        for listener, accepting in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            listener.close()
        self._listeners.clear()

    def _listen(self, port: int, outside: int) -> None:
        """A socket belongs to the network namespace of the thread that made it."""
        made: list[socket.socket] = []

        def make() -> None:
            with Path(f"/proc/{self._init}/ns/net").open("rb") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                    return
            made.append(socket.create_server(("127.0.0.1", port)))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        assert made, "the network of the host cannot be entered"
        accepting = threading.Thread(target=_accept, args=(made[0], outside), daemon=True)
        accepting.start()
        self._listeners.append((made[0], accepting))


def _accept(listener: socket.socket, outside: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            inner, _ = listener.accept()
            threading.Thread(target=_carry, args=(inner, outside), daemon=True).start()


def _carry(inner: socket.socket, outside: int) -> None:
    with (
        inner,
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", outside)) as outer,
    ):
        back = threading.Thread(target=_pump, args=(outer, inner))
        back.start()
        _pump(inner, outer)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
