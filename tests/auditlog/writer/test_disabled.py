"""The log that writes nothing."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

import auditlog
from auditlog.writer.disabled import DisabledLog
from auditlog.writer.log import Log


def test_no_directory(tmp_path: Path) -> None:
    directory = tmp_path / "never"
    with auditlog.open(directory, service="queen-rbee", host="h", flush="disabled") as log:
        ticket = log.emit("pool.drained", details={"x": object()})
        assert ticket.wait(timeout=0).done()
        assert ticket.log == "queen-rbee@h"
        assert asyncio.run(log.aemit("any.event")).done()
        log.flush()
        log.flush(timeout=1)
        assert log.stats().durable == 0
        assert "disabled" in repr(log)
    log.close()
    assert not directory.exists()


def test_checked() -> None:
    with auditlog.open("/never", service="queen-rbee", host="h", flush="disabled") as log:
        for event, fields in (("No Name", {}), ("pool.drained", {"outcome": "maybe"}), (7, {})):
            with pytest.raises(auditlog.InvalidEvent):
                log.emit(event, **fields)  # type: ignore[arg-type]  # wrong on purpose
    strict = auditlog.open("/never", service="q", host="h", flush="disabled", strict=True)
    with pytest.raises(auditlog.InvalidEvent, match=r"details\.x is object"):
        strict.emit("pool.drained", details={"x": object()})


def test_nothing_of_a_log_is_missing() -> None:
    """Whatever a caller may do with a Log, a disabled one overrides."""
    public = {name for name, _ in inspect.getmembers(Log, callable) if not name.startswith("_")}
    assert public <= DisabledLog.__dict__.keys()
