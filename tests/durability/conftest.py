"""Fixtures for tests that kill writers, cut the power and fill disks."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.forked import ForkServer, strace_missing
from tests.support.programs import not_run


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """Starts writers in processes of their own."""
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def _strace_missing() -> str:
    return strace_missing()


@pytest.fixture
def traced(forks: ForkServer, _strace_missing: str) -> ForkServer:
    """As forks, where system calls can be traced and struck."""
    if _strace_missing:
        not_run("STRACE", _strace_missing)
    return forks


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Makes empty directories, in memory where that is possible: syncing costs nothing there."""
    shm = Path("/dev/shm")
    where = Path(tempfile.mkdtemp(dir=shm if os.access(shm, os.W_OK) else tmp_path))
    numbers = iter(range(1_000_000_000))

    def make() -> Path:
        place = where / str(next(numbers))
        place.mkdir()
        return place

    yield make
    shutil.rmtree(where)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs with these options, such as ``size=64k``; mounting needs root."""
    with ExitStack() as mounted:

        def make(options: str) -> Path:
            place = tmp_path / options
            place.mkdir()
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place],
                capture_output=True,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"a tmpfs cannot be mounted: {done.stderr.decode().strip()}")
            mounted.callback(subprocess.check_call, ["umount", "--lazy", place])
            return place

        yield make
