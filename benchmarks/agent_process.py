"""The real ``auditctl agent``, started and looked at from outside.

    with AgentProcess(log, url, prefix, place) as agent:
        agent.cpu_seconds(), agent.peak_megabytes(), agent.read_bytes()

It runs as it is installed: without the libraries that only the tests need, of which the
Elasticsearch client would load some tens of megabytes because it finds them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from auditlog.evidence.checkpoint_file import read_checkpoints

__all__ = [
    "AgentProcess",
    "as_installed",
    "cpu_seconds",
    "make_key",
    "peak_megabytes",
    "wait_until_signed",
    "write_config",
]

_ROOT: Final = Path(__file__).parent.parent
_NOT_INSTALLED: Final = (
    "aiohttp",
    "httpx",
    "numpy",
    "opentelemetry",
    "pandas",
    "pyarrow",
    "requests",
)
_PATIENCE_SECONDS: Final = 60.0


def write_config(log: Path, url: str, prefix: str, place: Path) -> Path:
    """All defaults, but for the replica that a single server cannot have."""
    config = place / "config.toml"
    config.write_text(
        f"""
        directories = ["{log}"]
        state_dir = "{place}/state"
        metrics = ""
        [sinks.main]
        kind = "elasticsearch"
        urls = ["{url}"]
        index_prefix = "{prefix}"
        replicas = 0
        """
    )
    return config


def make_key(config: Path) -> None:
    """Make the key with which an agent of this configuration signs every record."""
    command = ("evidence", "init", "--config", str(config))
    subprocess.run(
        [sys.executable, "-m", "auditctl", *command], cwd=_ROOT, check=True, capture_output=True
    )


def wait_until_signed(place: Path, records: int) -> None:
    """Return when a checkpoint has so many records of the backlog's log."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not any(
        signed.checkpoint.size >= records
        for path in place.glob("state/proofs/queen-rbee@*/checkpoints")
        for signed in read_checkpoints(path)[0]
    ):
        if time.monotonic() > deadline:
            raise RuntimeError("not every record was signed")
        time.sleep(0.05)


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_megabytes(pid: int) -> float:
    """The most memory of a process that was resident (VmHWM in proc_pid_status(5)).

    Not ru_maxrss, which begins with what the process had before it became this program.
    """
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


class AgentProcess:
    """Ships the segments of ``log``; its configuration and state are in ``place``."""

    def __init__(
        self, log: Path, url: str, prefix: str, place: Path, *, signs: bool = False
    ) -> None:
        self._config = write_config(log, url, prefix, place)
        if signs:
            make_key(self._config)
        self._said = place / "agent.log"
        self._environment = as_installed(place)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        command = (sys.executable, "-m", "auditctl", "agent", "--only", "ship")
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [*command, "--config", str(self._config)],
                cwd=_ROOT,
                env=self._environment,
                stderr=said,
            )

    def wait_until_started(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while b": started" not in self._said.read_bytes():
            if time.monotonic() > deadline or self._running().poll() is not None:
                raise RuntimeError(f"it did not start:\n{self._said.read_text()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def cpu_seconds(self) -> float:
        return cpu_seconds(self._running().pid)

    def peak_megabytes(self) -> float:
        return peak_megabytes(self._running().pid)

    def read_bytes(self) -> int:
        """Bytes that its read calls have returned, from files and sockets (proc_pid_io(5))."""
        counts = Path(f"/proc/{self._running().pid}/io").read_text("ascii")
        return int(counts.partition("rchar:")[2].split()[0])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the agent does not run")
        return self._process


def as_installed(place: Path) -> Mapping[str, str]:
    """An environment in which the libraries that only the tests need cannot be imported."""
    hidden = place / "not-installed"
    hidden.mkdir(exist_ok=True)
    for name in _NOT_INSTALLED:
        (hidden / f"{name}.py").write_text("raise ImportError\n")
    return {**os.environ, "PYTHONPATH": str(hidden)}
