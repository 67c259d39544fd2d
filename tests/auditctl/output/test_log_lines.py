from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest

from auditctl.output.log_lines import log_to_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("journal", ["", "8:1234"])
def test_a_name_cannot_forge_a_line_nor_steer_a_terminal(
    journal: str,
    root_logger: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", journal)
    monkeypatch.setattr("sys.stderr", sys.stderr)
    log_to_stderr()
    forged = "a\n2026-11-23T00:00:00Z INFO all is well\u2028\x1b[2J.ndjson"
    logging.getLogger("auditlog.shippers").warning("cannot read %s", forged)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert "a\\n2026" in line
    assert "\\u001b[2J.ndjson" in line
