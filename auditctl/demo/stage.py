"""Start and kill the demo's processes: three services that write, one agent that ships.

Every process is a child of the demo and ends with it.  Each has a process group of its own, so that
Ctrl-C in a terminal reaches the demo alone, which then ends them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from auditlog.errors import AuditLogError

__all__ = ["AgentProcess", "Auditctl", "DemoFailed", "Show", "WitnessProcess", "Writer"]


class DemoFailed(AuditLogError):
    """A part of the demo could not be run."""


class Show(Protocol):
    """Shows the story while it runs."""

    def step(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def progress(self, **counts: int) -> None:
        """Records so far, of the demo's totals: acknowledged, shipped."""
        ...


@dataclass
class Writer:
    """A service that emits ``count`` events, restarted after a kill for those not acknowledged.

    ``acknowledged`` maps seq to hash, as the service itself reported them.
    """

    directory: Path
    log: str
    count: int
    rate: float
    acknowledged: dict[int, str] = field(default_factory=dict)
    kills: int = 0
    _process: subprocess.Popen[str] | None = None
    _reader: threading.Thread | None = None

    def start(self) -> None:
        remaining = self.count - len(self.acknowledged)
        command = [sys.executable, "-m", "auditctl.demo.traffic", str(self.directory), self.log]
        command += [f"--count={remaining}", f"--rate={self.rate}", f"--seed={self.kills}"]
        with _uninterrupted():
            self._process = subprocess.Popen(  # noqa: S603  (our own module)
                command, stdout=subprocess.PIPE, text=True, process_group=0
            )
            self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
            self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101  (it was asked for above)
        for line in process.stdout:
            if line.endswith("\n"):  # a killed process may leave half a line: not acknowledged
                seq, _, record_hash = line.strip().partition(" ")
                self.acknowledged[int(seq)] = record_hash

    def kill_and_restart(self) -> None:
        """Send SIGKILL while it works, then start it again."""
        self._end(signal.SIGKILL)
        self.kills += 1
        self.start()

    def records(self) -> Iterator[tuple[str, int, str]]:
        """(log, seq, hash) of everything that was acknowledged."""
        for seq, record_hash in self.acknowledged.items():
            yield self.log, seq, record_hash

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def failure(self) -> str:
        """The reason why the process failed, or ""."""
        code = 0 if self._process is None else self._process.poll()
        return f"{self.log} ended with exit code {code}" if code else ""

    def join(self) -> None:
        if self._reader is not None:
            self._reader.join()

    def run_to_end(self) -> None:
        """Emit every event and end.  Raises DemoFailed when the process fails."""
        try:
            self.start()
            while self.running():  # not a wait for the process: Ctrl-C ends this at once
                time.sleep(0.05)
            self.join()
            if failure := self.failure():
                raise DemoFailed(failure)
        finally:
            self.close()

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(with_signal)
        self._process.wait()
        self.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def close(self) -> None:
        self._end(signal.SIGKILL)


class Auditctl:
    """Run the real program on the demo's directory."""

    def __init__(self, *options: str) -> None:
        self._options = options

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "auditctl", *arguments, *self._options]

    def text(self, *arguments: str) -> str:
        """Run it; returns what it printed.  Raises DemoFailed unless it ends well."""
        done = subprocess.run(  # noqa: S603  (our own program)
            self.command(*arguments), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DemoFailed(f"auditctl {arguments[0]} failed: {done.stderr}")
        return done.stdout

    def json(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> tuple[int, dict[str, Any]]:
        """Run with --json; returns exit code and object.  Raises DemoFailed on another code."""
        done = subprocess.run(  # noqa: S603  (our own program)
            self.command(*arguments, "--json"), capture_output=True, text=True, check=False
        )
        if done.returncode not in codes:
            raise DemoFailed(
                f"auditctl {arguments[0]} ended with exit code {done.returncode}: {done.stderr}"
            )
        result: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return done.returncode, result


class AgentProcess:
    """The shipping process, following the directory until it is stopped."""

    def __init__(self, command: list[str], log_path: Path) -> None:
        self._command = command
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> None:
        with self._log_path.open("ab") as log, _uninterrupted():
            self._process = subprocess.Popen(  # noqa: S603  (our own program)
                self._command,
                stdout=log,
                stderr=log,
                env={**os.environ, "NO_COLOR": "1"},
                process_group=0,
            )

    def kill_and_restart(self) -> None:
        self.close()
        self.kills += 1
        self.start()

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> float:
        """Send SIGTERM; return the seconds until the end.  Raises DemoFailed on an exit code."""
        if self._process is None:
            return 0.0
        began = time.monotonic()
        self._process.terminate()
        code = self._process.wait(timeout=30)
        if code != 0:
            raise DemoFailed(f"the agent ended with exit code {code}; see {self._log_path}")
        self._process = None
        return time.monotonic() - began

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class WitnessProcess:
    """A witness that serves until the ``with`` ends; the logs it knows are in ``place/witnessed``.

    Its line of a trust policy calls it w1.
    """

    def __init__(self, state: Path, place: Path) -> None:
        self._command = [sys.executable, "-m", "auditctl", "witness", "serve"]
        self._command += ["--listen=127.0.0.1:0", f"--state={state}", "--name=demo.example/w1"]
        self._command += [f"--logs={place / 'witnessed'}"]
        self._log_path = place / "witness.log"
        self._process: subprocess.Popen[str] | None = None
        self.policy_line = ""

    @property
    def url(self) -> str:
        return self.policy_line.rpartition(" ")[2]

    def __enter__(self) -> Self:
        with self._log_path.open("ab") as log, _uninterrupted():
            self._process = subprocess.Popen(  # noqa: S603  (our own program)
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, process_group=0
            )
        assert self._process.stdout is not None  # noqa: S101  (it was asked for above)
        _, _, rest = self._process.stdout.readline().strip().partition(" ")
        _, _, rest = rest.partition(" ")
        if not rest:
            self.__exit__()
            raise DemoFailed(f"the witness does not serve; see {self._log_path}")
        self.policy_line = f"witness w1 {rest}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C comes when the block has ended: what it starts is started whole, and is known."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python interrupts the main thread only
        return
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        signal.raise_signal(signal.SIGINT)
