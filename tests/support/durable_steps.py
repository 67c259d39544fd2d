"""The calls that make changes durable, noted in their order."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from auditlog import durable_fs

__all__ = ["note_steps"]


def note_steps(
    monkeypatch: pytest.MonkeyPatch, *names: str, module: ModuleType = durable_fs
) -> list[str]:
    """Return a list to which these functions of the module add their names when they are called."""
    steps: list[str] = []

    def noting(name: str, step: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            steps.append(name)
            return step(*args)

        return call

    for name in names:
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    return steps
