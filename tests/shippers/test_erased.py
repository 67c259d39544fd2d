"""Stubs of erased records: no sink is given one, and none is missed in a sink."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from pathlib import Path

from auditlog.cursors import CursorStore
from auditlog.format.record import parse_header
from shippers.item import Shipment
from shippers.quarantine.store import read_entries
from shippers.reconcile.reconciliation import Reconciliation
from shippers.service import ShippingService
from shippers.sinks.sqlite.read_back import SqliteReadBack
from shippers.sinks.sqlite.sink import SqliteSink
from tests.support.erasures import erase, header_of
from tests.support.logs import write_log
from tests.support.shipments import FakeSink

LOG = "queen-rbee@hive1"
NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)


def ship(directory: Path, sink: FakeSink | SqliteSink) -> None:
    ShippingService([directory], [sink], directory.parent / "state").run_once()


def test_a_stub_is_passed_and_not_shipped(tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", records=10)
    erase(log, 1, 5, 10)
    sink = FakeSink()
    ship(tmp_path / "audit", sink)
    assert {seq for name, seq in sink.stored if name == LOG} == {2, 3, 4, 6, 7, 8, 9}
    cursor = CursorStore(tmp_path / "state").load(sink.name, LOG)
    assert cursor is not None
    assert (cursor.seq, cursor.hash) == (10, header_of(log.lines[9]).hash)
    assert not list(read_entries(tmp_path / "state" / "quarantine" / f"{sink.name}.ndjson"))


def test_a_stub_without_a_record_of_erasure_is_an_alarm(tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", records=10)
    erase(log, 5, proven=False)
    sink = FakeSink()
    ship(tmp_path / "audit", sink)
    entries = list(read_entries(tmp_path / "state" / "quarantine" / f"{sink.name}.ndjson"))
    assert [entry.fields["reason"].partition(":")[0] for entry in entries] == ["erasure_unproven"]
    assert entries[0].alarm


def test_reconcile_neither_misses_nor_ships_an_erased_record(tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", records=6)
    with closing(SqliteSink("main", tmp_path / "main.sqlite")) as sink:
        sink.deliver([Shipment(line, parse_header(line)) for line in log.lines])
        erase(log, 3)
        with closing(SqliteReadBack(tmp_path / "main.sqlite")) as read_back:
            made = Reconciliation([tmp_path / "audit"], read_back, name="main")
            receipt = made.run(NOW)
    (ours,) = [each for each in receipt.logs if each.log == LOG]
    assert [(one.kind, one.seq) for one in ours.discrepancies] == [("erased", 3)]
    with closing(SqliteSink("main", tmp_path / "other.sqlite")) as sink:
        kept = [line for line in log.lines if b"record_erased" not in line]
        sink.deliver([Shipment(line, parse_header(line)) for line in kept])
        with closing(SqliteReadBack(tmp_path / "other.sqlite")) as read_back:
            made = Reconciliation([tmp_path / "audit"], read_back, name="main", sink=sink)
            receipt = made.run(NOW)
    (ours,) = [each for each in receipt.logs if each.log == LOG]
    assert (ours.ok, ours.total("reshipped")) == (True, 0)
