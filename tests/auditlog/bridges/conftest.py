"""A log for the bridges, and what was written to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import auditlog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[auditlog.Log]:
    with auditlog.open(tmp_path / "audit", service="queen-rbee", host="hive1") as opened:
        yield opened


@pytest.fixture
def written(log: auditlog.Log) -> Callable[[], list[dict[str, Any]]]:
    """The records so far, without those of the log about itself."""

    def records() -> list[dict[str, Any]]:
        return [
            record.fields
            for record in auditlog.read(log.directory, log_events=True)
            if not record.event_type.startswith("log.")
        ]

    return records
