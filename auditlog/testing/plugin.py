"""Provide the pytest fixture ``captured_audit``, by an entry point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditlog.testing import Captured

__all__ = ["captured_audit"]


@pytest.fixture
def captured_audit() -> Iterator[Captured]:
    """A log in memory, and what was emitted to it (auditlog.testing.Captured)."""
    from auditlog.testing import capture  # noqa: PLC0415  (pytest loads this module in every run)

    with capture() as captured:
        yield captured
