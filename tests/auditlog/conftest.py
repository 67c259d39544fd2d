"""Fixtures for the core: a small disk, crashes at every step, another user."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from auditlog import durable_fs

NOBODY: Final = 65_534


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB that a test can fill; mounting one needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class Crash(BaseException):
    """Stands for the process's end: nothing of ours catches it."""


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], bool]:
    """Run something that ends before its n-th system call that writes, from 0; says if it did.

    A write that is struck puts half of its bytes down first.
    """

    def run(nth: int, work: Callable[[], object]) -> bool:
        left = [nth]
        write = os.write

        def dying(real: Callable[..., object]) -> Callable[..., object]:
            def call(*args: Any, **kwargs: Any) -> object:
                if left[0] == 0:
                    if real is write:
                        write(args[0], bytes(args[1])[: len(args[1]) // 2])
                    raise Crash
                left[0] -= 1
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patched:
            for name in ("write", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "mkdir"):
                patched.setattr(durable_fs.os, name, dying(getattr(os, name)))
            try:
                work()
            except Crash:
                return True
            return False

    return run


def _drop_root() -> None:
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@pytest.fixture
def as_nobody() -> Callable[[Callable[[], object]], str]:
    """Run something in a child that is another user; what it returned, or raised, as text."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")

    def run(work: Callable[[], object]) -> str:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _drop_root()
                try:
                    answer = repr(work())
                except Exception as error:  # noqa: BLE001  (the parent looks at it)
                    answer = f"{type(error).__name__}: {error}"
                os.write(writer, answer.encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as answers:
            answer = answers.read().decode()
        os.waitpid(pid, 0)
        return answer

    return run


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that other users can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="auditlog-test-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
