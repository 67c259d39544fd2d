from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from auditlog.format.record import parse_header
from shippers.item import Shipment
from shippers.sinks.erasure import ErasedRecord
from shippers.sinks.sqlite.erasure import SqliteErasure
from shippers.sinks.sqlite.sink import SqliteSink
from tests.support.logs import write_log

LOG = "queen-rbee@hive1"
DAY = "2026-11-23"


def shipped(tmp_path: Path, records: int = 300) -> tuple[SqliteSink, Path]:
    """Lines of many sizes, so that pages are split and overflow."""
    path = tmp_path / "main.sqlite"
    sink = SqliteSink("main", path)
    log = write_log(tmp_path / "audit", records=0)
    for number in range(records):
        log.append(1, details={"name": f"<{number}>", "pad": "x" * (number * 37 % 9000)})
    for line in reversed(log.lines):
        sink.deliver([Shipment(line, parse_header(line))])
    return sink, path


def erased(path: Path, *seqs: int) -> list[ErasedRecord]:
    with closing(sqlite3.connect(path)) as connection:
        hashes = dict(connection.execute("SELECT seq, hash FROM records").fetchall())
    return [ErasedRecord(LOG, seq, DAY, hashes[seq]) for seq in seqs]


def held(path: Path, text: str) -> bool:
    beside = path.parent.glob(f"{path.name}*")
    return any(text.encode() in each.read_bytes() for each in beside)


def test_no_trace(tmp_path: Path) -> None:
    """no_trace: neither the file nor what lies beside it holds the erased bytes"""
    sink, path = shipped(tmp_path)  # and stays open, as in a running agent
    seqs = (1, 77, 150, 243, 300)
    assert all(held(path, f"<{seq - 1}>") for seq in seqs)
    assert SqliteErasure(path).erase(erased(path, *seqs)) == []
    assert not any(held(path, f"<{seq - 1}>") for seq in seqs)
    assert held(path, "<1>")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (295,)
    sink.close()


def test_no_trace_where_pages_were_split(tmp_path: Path) -> None:
    """Deleting alone leaves copies here: a page that is split keeps the bytes of what moved."""
    path, draw = tmp_path / "main.sqlite", random.Random(0)
    SqliteSink("main", path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for seq in draw.sample(range(1, 4001), 4000):
            line = f"<{seq}>" + "x" * draw.choice((50, 300, 900, 3000))
            row = (LOG, seq, DAY, DAY, "a", "b", line.encode())
            connection.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("COMMIT")
    seqs = draw.sample(range(1, 4001), 1000)
    assert SqliteErasure(path).erase(erased(path, *seqs)) == []
    content = b"".join(each.read_bytes() for each in tmp_path.glob("main.sqlite*"))
    assert [seq for seq in seqs if f"<{seq}>".encode() in content] == []


def test_ours(tmp_path: Path) -> None:
    """ours: a record of the same id and another hash stays, and is told"""
    sink, path = shipped(tmp_path, records=3)
    ours, (other,) = erased(path, 1, 3), erased(path, 2)
    (problem,) = SqliteErasure(path).erase([*ours, other._replace(hash="f" * 64)])
    assert "another record under this id" in problem
    assert [held(path, f"<{n}>") for n in range(3)] == [False, True, False]
    sink.close()


def test_what_is_not_there_is_erased_already(tmp_path: Path) -> None:
    assert SqliteErasure(tmp_path / "none.sqlite").erase([ErasedRecord(LOG, 1, DAY, "")]) == []
    assert not (tmp_path / "none.sqlite").exists()
    sink, path = shipped(tmp_path, records=3)
    assert SqliteErasure(path).erase([ErasedRecord(LOG, 9, DAY, "")]) == []
    sink.close()


def test_a_reader_that_keeps_the_old_bytes_is_told(tmp_path: Path) -> None:
    sink, path = shipped(tmp_path, records=3)
    first = erased(path, 1)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        found = SqliteErasure(path, busy_seconds=0.1).erase(first)
        assert len(found) == 1
        assert "run it again" in found[0] or "not deleted" in found[0]
    assert SqliteErasure(path).erase(first) == []
    assert not held(path, "<0>")
    sink.close()
