"""Looking for the records of a hold."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from retention.errors import SegmentDamaged, Stopped
from retention.holds import Hold
from retention.matching import matching, may_match, values_of
from tests.support.logs import LogBuilder, write_log

if TYPE_CHECKING:
    from pathlib import Path

NOT_STOPPED = threading.Event()


def hold(**fields: str) -> Hold:
    return Hold("x", "legal", "audit", **fields)  # type: ignore[arg-type]  # texts alone


@pytest.fixture
def built(log_directory: Path) -> LogBuilder:
    """20,000 records of alice and in their middle one of bob with a quote in his name."""
    built = write_log(log_directory, records=10_000, correlation_id="req-1")
    built.append(1, actor={"user_id": 'b"ob é'}, correlation_id="req-2", details={"about": "eve"})
    built.append(10_000, correlation_id="req-1")
    return built


@pytest.mark.parametrize("form", ["", ".zst", ".gz"])
def test_found(built: LogBuilder, form: str) -> None:
    path = built.compress(0, form) if form else built.paths[0]
    looked_for = {
        "alice": hold(actor="alice"),
        "bob": hold(actor='b"ob é'),
        "request": hold(correlation_id="req-2"),
        "both": hold(actor='b"ob é', correlation_id="req-2"),
        "no such pair": hold(actor="alice", correlation_id="req-2"),
        "only in details": hold(actor="eve"),
        "part of a name": hold(actor="lice"),
    }
    found = {what for what, held in looked_for.items() if matching(path, form, [held], NOT_STOPPED)}
    assert found == {"alice", "bob", "request", "both"}


def test_found_each_by_its_id(built: LogBuilder) -> None:
    holds = [
        Hold("a", "legal", "audit", actor="alice"),
        Hold("b", "legal", "audit", actor="nobody"),
        Hold("c", "legal", "audit", correlation_id="req-2"),
    ]
    assert matching(built.paths[0], "", holds, NOT_STOPPED) == {"a", "c"}


def test_found_where_a_writer_escaped_more_than_it_had_to(log_directory: Path) -> None:
    log_directory.mkdir()
    path = log_directory / "other-writer.ndjson"
    path.write_bytes(b'{"actor":{"user_id":"al\\u0069ce"}}\n')
    assert matching(path, "", [hold(actor="alice")], NOT_STOPPED)
    assert not matching(path, "", [hold(actor="alina")], NOT_STOPPED)


@pytest.mark.parametrize("levels", [300, 900, 2000])
def test_found_in_a_line_of_another_program_however_deep_it_is(levels: int) -> None:
    """A line that not even the parser takes may be anybody's."""
    for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")):
        line = opened * levels + b'"al\\u0069ce"' + closed * levels
        assert may_match(line, values_of(hold(actor="alice")))
        assert may_match(line, values_of(hold(actor="alina"))) == (levels > 1024)
        assert not may_match(line.replace(b"\\u0069", b"i"), values_of(hold(actor="alina")))


@pytest.mark.parametrize("line", [b'{"actor":"alice"}\n', b"alice {\n", b'["alice"]\n'])
def test_doubt(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "spoiled.ndjson"
    path.write_bytes(line)
    assert matching(path, "", [hold(actor="alice")], NOT_STOPPED)


def test_what_cannot_be_read_is_an_error_and_a_stop_is_heeded(built: LogBuilder) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        matching(built.paths[0], "", [hold(actor="nobody")], stop)
    built.compress(0).write_bytes(b"no frame")
    with pytest.raises(SegmentDamaged):
        matching(built.path(0), ".zst", [hold(actor="alice")], NOT_STOPPED)
