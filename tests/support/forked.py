"""Writers in processes of their own that can be killed at any system call.

A server process imports auditlog once and forks a child for every task, so that a run costs
milliseconds and strace counts the system calls of the task alone.

    with ForkServer() as server:
        child = server.start("tests.support.writers:story", directory="…", acks="…")
        trace = child.run(strace=["-e", "inject=write:signal=KILL:when=3"])
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import auditlog

__all__ = ["Child", "ForkServer", "at_barrier", "strace_missing"]

_ROOT = Path(__file__).parent.parent.parent


def at_barrier() -> None:
    """Called by a task: wait until the test lets it go on."""
    signal.sigwait([signal.SIGUSR1])


def strace_missing() -> str:
    """Why system calls cannot be traced here; empty when they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = subprocess.run(
        ["strace", "-e", "inject=fdatasync:error=EIO", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if probe.returncode == 0 else f"strace cannot trace here: {probe.stderr.strip()}"


@dataclass
class Child:
    """A forked task, standing at its first barrier."""

    server: ForkServer
    pid: int

    def go(self) -> None:
        os.kill(self.pid, signal.SIGUSR1)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit status, negative for a signal."""
        return int(self.server.ask({"wait": self.pid})["status"])

    def run(self, strace: Sequence[str] = ()) -> tuple[int, str]:
        """Let it go on under strace with these options; its exit status and the trace."""
        with tempfile.TemporaryDirectory() as place:
            output = Path(place, "trace")
            tracer = subprocess.Popen(
                ["strace", "-f", "-p", str(self.pid), "-o", output, *strace],
                stderr=subprocess.PIPE,
                text=True,
            )
            assert tracer.stderr is not None
            said = ""
            while "attached" not in said:
                line = tracer.stderr.readline()
                assert line, f"strace did not attach: {said}"
                said += line
            self.go()
            status = self.wait()
            tracer.stderr.close()
            tracer.wait()
            return status, output.read_text()


class ForkServer:
    """Starts tasks; see the module."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, task: str, **arguments: Any) -> Child:
        """Fork a child for ``module:function``, which gets the arguments."""
        return Child(self, int(self.ask({"task": task, "arguments": arguments})["pid"]))

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question, default=str).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _run(task: Callable[..., None], arguments: dict[str, Any]) -> None:
    try:
        task(**arguments)
    except BaseException:  # noqa: BLE001  (the exit status says it, stderr says what)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
    os._exit(0)


def _serve() -> None:
    importlib.import_module("tests.support.writers")
    for name in auditlog.__all__:  # loaded here, and not by the child, whose calls are counted
        getattr(auditlog, name)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            _, status = os.waitpid(question["wait"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        else:
            module, _, name = question["task"].partition(":")
            task = getattr(importlib.import_module(module), name)
            pid = os.fork()
            if pid == 0:
                sys.stdin.close()
                _run(task, question["arguments"])
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
