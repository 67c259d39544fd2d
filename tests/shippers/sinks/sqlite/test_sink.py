from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from auditlog.format.record import Header
from shippers.errors import SchemaTooNew, SinkRefused
from shippers.item import Shipment
from shippers.outcome import INDEXED, OutcomeKind
from shippers.sinks.sqlite.sink import SCHEMA_VERSION, SqliteSink
from tests.support.shipments import shipments


def test_readable(tmp_path: Path) -> None:
    """readable: another connection reads while this one writes"""
    sink = SqliteSink("main", tmp_path / "r.sqlite")
    reader = sqlite3.connect(sink.path, isolation_level=None)
    records = shipments(20)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM records").fetchone() == (0,)
    assert sink.deliver(records[:10]) == [INDEXED] * 10
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM records").fetchone() == (10,)
    row = reader.execute("SELECT day, at, event_type, hash FROM records WHERE seq = 1").fetchone()
    header = records[0].header
    assert header is not None
    assert row == (header.day, header.timestamp, header.event_type, header.hash)
    reader.close()
    sink.close()


def test_newer(tmp_path: Path) -> None:
    """newer: a file of a newer schema is refused and not touched"""
    path = tmp_path / "r.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match=f"version {SCHEMA_VERSION + 1}"):
        SqliteSink("main", path)
    assert path.read_bytes() == before


def test_a_file_that_is_not_sqlite_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)
    with pytest.raises(SinkRefused, match=r"notes\.txt: it cannot be used as a SQLite file"):
        SqliteSink("main", path)
    assert path.read_text() == "not a database\n" * 100


def test_a_full_disk_is_named_as_such(tmp_path: Path) -> None:
    """A limit on the size of files, in a process of its own, stops SQLite as a full disk does."""
    code = (
        "import sys; from shippers.sinks.sqlite.sink import SqliteSink;"
        " SqliteSink('main', sys.argv[1])"
    )
    done = subprocess.run(
        ["prlimit", "--fsize=1000", sys.executable, "-c", code, tmp_path / "r.sqlite"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SinkRefused" in done.stderr
    assert "Free some disk space" in done.stderr


def test_the_file_and_what_sqlite_makes_beside_it_are_private(tmp_path: Path) -> None:
    sink = SqliteSink("main", tmp_path / "r.sqlite")
    sink.deliver(shipments(1))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3
    sink.close()


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    records = shipments(4)
    for part in (records[:2], records[2:]):
        sink = SqliteSink("main", tmp_path / "r.sqlite")
        assert sink.deliver(part) == [INDEXED] * 2
        sink.close()


def test_every_commit_is_synced(tmp_path: Path) -> None:
    sink = SqliteSink("main", tmp_path / "r.sqlite")
    assert sink._connection is not None
    assert sink._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert sink._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    sink.close()


def test_a_number_beyond_what_sqlite_stores_is_quarantined_alone(tmp_path: Path) -> None:
    sink = SqliteSink("main", tmp_path / "r.sqlite")
    first, second = shipments(2)
    assert second.header is not None
    huge = Shipment(second.line, Header(*second.header[:1], 2**63, *second.header[2:]))
    outcomes = sink.deliver([first, huge])
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.INDEXED, OutcomeKind.QUARANTINED]
    sink.close()


def test_a_busy_file_is_retried_and_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shippers.sinks.sqlite.sink._BUSY_SECONDS", 0.05)
    sink = SqliteSink("main", tmp_path / "r.sqlite")
    other = sqlite3.connect(sink.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    (outcome,) = sink.deliver(shipments(1))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "SQLite: database is locked")
    other.execute("ROLLBACK")
    assert sink.deliver(shipments(1)) == [INDEXED]
    other.close()
    sink.close()
