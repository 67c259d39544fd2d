"""Run auditctl: in this process where that is enough, as a program where that is the point."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from auditctl.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


@pytest.fixture(autouse=True)
def _own_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No setting of this host reaches a test: neither its variables nor its config file."""
    for name in [name for name in os.environ if name.startswith("AUDITLOG_")]:
        monkeypatch.delenv(name)
    empty = tmp_path_factory.mktemp("config") / "config.toml"
    empty.touch()
    monkeypatch.setenv("AUDITLOG_CONFIG", str(empty))
    for name in ("STATE_DIRECTORY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Remove log handlers that commands install, which would write to a closed stderr later."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "auditlog", "elastic_transport")}
    yield
    for handler in [one for one in root.handlers if type(one) is logging.StreamHandler]:
        root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(autouse=True)
def _slow_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proofs give up after three seconds, which one sync may take where many tests run at once."""
    monkeypatch.setattr("retention.tombstone_log._TIMEOUT_SECONDS", 60.0)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """``run("verify", directory)`` in this process."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(int(code), captured.out, captured.err)

    return call


@pytest.fixture
def program() -> Callable[..., Result]:
    """``program("verify", directory)`` as a user starts it; ``before`` is a command in front."""

    def call(
        *arguments: object, before: tuple[str, ...] = (), env: Mapping[str, str] | None = None
    ) -> Result:
        command = [*before, sys.executable, "-m", "auditctl", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call
