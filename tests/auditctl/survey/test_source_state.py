from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from auditctl.survey.source_state import source_states
from auditlog.cursors import CursorStore, SourceCursor
from shippers.sources.ndjson.options import NdjsonOptions

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
WORKER = NdjsonOptions("worker", ("/var/log/worker/*.log",), "hive1")


def test_moved(tmp_path: Path) -> None:
    store = CursorStore(tmp_path)
    store.save_source("main", SourceCursor("ndjson", "worker", {"files": []}, NOW))
    (state,) = source_states([WORKER], ["main", "other"], store)
    assert state.moved == (("main", NOW), ("other", None))
    assert state.problems == ()
    assert state.to_json()["sinks"] == [
        {"sink": "main", "moved_at": "2026-11-23T12:00:00.000000Z"},
        {"sink": "other", "moved_at": None},
    ]


def test_damaged(tmp_path: Path) -> None:
    store = CursorStore(tmp_path)
    store.save_source("main", SourceCursor("ndjson", "worker", {"files": []}, NOW))
    (path,) = (tmp_path / "source-cursors").rglob("worker*")
    path.write_bytes(path.read_bytes().replace(b"files", b"filed"))
    (state,) = source_states([WORKER], ["main"], store)
    assert state.moved == ()
    (problem,) = state.problems
    assert problem.startswith("sink main: neither the cursor nor its previous copy can be read")
    assert "ship the source from its beginning" in problem
