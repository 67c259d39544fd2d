from __future__ import annotations

import datetime as dt
from pathlib import Path

from shippers.quarantine.erasure import erase_from_quarantines
from shippers.quarantine.store import Entry, Quarantine, read_entries
from shippers.sinks.erasure import ErasedRecord
from tests.support.logs import write_log

LOG = "queen-rbee@hive1"
NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)


def test_taken_out(tmp_path: Path) -> None:
    """taken_out: no entry holds the line of an erased record, or a server's words about it"""
    log = write_log(tmp_path / "audit", records=4)
    segment = log.active.name
    for sink in ("main", "second"):
        quarantine = Quarantine(tmp_path, sink)
        entries = [
            Entry("refused", "mapping", LOG, segment, n, n + 1, 400, f"words {n}", line)
            for n, line in enumerate(log.lines)
        ]
        entries.append(Entry("chain_break", "hash_mismatch: x", LOG, segment, 0, 2))
        entries.append(Entry("not_a_record", "x", LOG, segment, 99, None, None, "", log.lines[1]))
        quarantine.add(entries, NOW)
    second = ErasedRecord(LOG, 2, "2026-11-23", log.headers[1].hash)
    assert erase_from_quarantines(tmp_path, [second]) == 4
    for sink in ("main", "second"):
        path = tmp_path / "quarantine" / f"{sink}.ndjson"
        left = [(entry.fields["kind"], entry.fields["seq"]) for entry in read_entries(path)]
        assert left == [("refused", 1), ("refused", 3), ("refused", 4), ("chain_break", 2)]
        assert b"words 1" not in path.read_bytes()
    assert erase_from_quarantines(tmp_path, [second]) == 0
    assert erase_from_quarantines(tmp_path / "none", [second]) == 0
