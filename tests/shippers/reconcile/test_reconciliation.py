"""Files against copies that somebody tampered with, on every kind of sink."""

from __future__ import annotations

import datetime as dt
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from pytest_httpserver import HTTPServer

from auditlog.format.record import SUFFIX_BYTES, log_prefix, parse_header, seal
from retention.policy import RetentionPolicy
from retention.service import run_retention
from shippers.errors import SinkRefused
from shippers.item import Shipment
from shippers.outcome import retry
from shippers.reconcile.receipt import Receipt
from shippers.reconcile.reconciliation import Reconciliation
from shippers.service import ShippingService
from shippers.sinks.elasticsearch.connection import Connection
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.read_back import ElasticsearchReadBack
from shippers.sinks.sqlite.read_back import SqliteReadBack
from tests.shippers.conftest import Running
from tests.support.copies import Copy
from tests.support.logs import LogBuilder, make_line, write_log
from tests.support.shipments import FakeSink
from tests.support.waiting import eventually

LOG = "queen-rbee@hive1"
DAY = "2026-11-23"
NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)


@pytest.fixture(params=["sqlite", pytest.param("elasticsearch", marks=pytest.mark.elasticsearch)])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Copy:
    if request.param == "sqlite":
        return Copy(str(tmp_path / "records.sqlite"))
    cluster = request.getfixturevalue("elasticsearch")
    return Copy(request.getfixturevalue("index_prefix"), cluster)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def ship(copy: Copy, *builders: LogBuilder) -> None:
    sink = copy.sink()
    for built in builders:
        lines = [Shipment(line, parse_header(line)) for line in built.lines]
        assert all(outcome.final for outcome in sink.deliver(lines))
    sink.close()


def reconcile(
    audit: Path, copy: Copy, *, repair: bool = False, acknowledged: int | None = None
) -> Receipt:
    read_back, sink = copy.read_back(), copy.sink() if repair else None
    try:
        made = Reconciliation(
            [audit], read_back, name="main", sink=sink, acknowledged=lambda _: acknowledged,
        )  # fmt: skip
        return made.run(NOW)
    finally:
        read_back.close()
        if sink is not None:
            sink.close()


def told(receipt: Receipt) -> list[tuple[str, str, int | None]]:
    return [(f.kind, f.day, f.seq) for log in receipt.logs for f in log.discrepancies]


def test_quiet(copy: Copy, audit: Path) -> None:
    """quiet: an intact pair of log and sink gives no finding, over rotation and compression"""
    one = write_log(
        audit, records=30, segments=3, details={"f": 1.5e300, "u": "ä€😀", "n": -(2**53)}
    )
    two = write_log(audit, "rbee-hive@gpu-1.example.org+2", records=5, segments=3, days=1)
    ship(copy, one, two)
    one.compress(0)
    two.compress(1, ".gz")
    receipt = reconcile(audit, copy)
    assert receipt.ok
    assert [log.log for log in receipt.logs] == [one.log, two.log]
    for log in receipt.logs:
        for day in log.days:
            assert (day.files.records, day.files.digest) == (day.sink.records, day.sink.digest)
            assert day.files.head_hash == day.sink.head_hash
    totals = receipt.to_json()["totals"]
    assert totals == {
        "files": 105, "sink": 105, "missing": 0, "different": 0, "extra": 0, "pending": 0,
        "reshipped": 0, "retired": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("line", lambda line: line.replace(b'"reason":', b'"reason":"none","reason":')),
        ("line", lambda line: line.replace(b'"reason":', b' "reason":')),
        ("day", lambda _: "2026-11-22"),
        ("at", lambda _: "2026-11-23T00:00:00.000000Z"),
        ("event_type", lambda _: "auth_success"),
        ("hash", lambda _: ""),
    ],
)
def test_finds_what_sqlite_keeps_in_other_words_or_elsewhere(
    audit: Path, tmp_path: Path, column: str, value: Callable[[bytes], bytes | str]
) -> None:
    """finds: a member named twice, of which others read the first; what a search passes by"""
    copy = Copy(str(tmp_path / "records.sqlite"))
    built = write_log(audit, records=5, reason="disk failed")
    ship(copy, built)
    with closing(sqlite3.connect(copy.place)) as records, records:
        statement = f"UPDATE records SET {column} = ? WHERE seq = 3"
        records.execute(statement, (value(built.lines[2]),))
    assert {seq for _, _, seq in told(reconcile(audit, copy))} == {3}


def test_quiet_while_it_is_written_and_shipped(
    audit: Path, tmp_path: Path, running: Callable[[ShippingService], Running]
) -> None:
    """quiet: … while it is written and shipped too"""
    copy = Copy(str(tmp_path / "records.sqlite"))
    built = write_log(audit, records=100)
    stop = threading.Event()

    def write() -> None:
        while built.seq < 3000 and not stop.wait(0.005):
            built.append(5)

    sink = copy.sink()
    service = running(ShippingService([audit], [sink], tmp_path / "state"))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            before = service.service.stats().logs
            acknowledged = before[0].acknowledged_seq if before else 0
            receipt = reconcile(audit, copy, acknowledged=acknowledged)
            assert receipt.ok, told(receipt)
    finally:
        stop.set()
        writer.join()
    eventually(lambda: len(copy.lines()) == built.seq, "everything is shipped")
    service.stop()
    sink.close()
    assert reconcile(audit, copy, acknowledged=built.seq).ok


def test_finds(copy: Copy, audit: Path) -> None:
    """finds: every single document removed, changed or added in the sink is found and named"""
    built = write_log(audit, records=8)
    ship(copy, built)
    for seq, line in enumerate(built.lines, 1):
        name = f"{LOG}:{seq}"
        copy.remove(name, DAY)
        assert told(reconcile(audit, copy)) == [("missing", DAY, seq)]
        for path in (("outcome", "failure"), ("hash", "f" * 64), ("details", {}), ("actor", None)):
            copy.put(name, DAY, orjson.dumps({**orjson.loads(line), path[0]: path[1]}) + b"\n")
            receipt = reconcile(audit, copy)
            assert told(receipt) == [("different", DAY, seq)], path
            assert "changed in the sink" in receipt.logs[0].discrepancies[0].detail
        copy.put(name, DAY, line)
        assert reconcile(audit, copy).ok
    forged, _ = make_line(LOG, 4, built.headers[2].hash, actor={"user_id": "mallory"})
    copy.put(f"{LOG}:4", DAY, forged)
    receipt = reconcile(audit, copy)
    assert told(receipt) == [("different", DAY, 4)]
    assert "both fit their own hash" in receipt.logs[0].discrepancies[0].detail
    assert "mallory" not in str(receipt.to_json())
    copy.put(f"{LOG}:4", DAY, built.lines[3])
    added, _ = make_line(LOG, 9, built.hash)
    copy.put(f"{LOG}:9", DAY, added)
    assert told(reconcile(audit, copy)) == [("extra", DAY, 9)]


def deepened(line: bytes, levels: int) -> bytes:
    """The record with a member that is nested deeper than any that a writer makes, sealed anew."""
    header = parse_header(line)
    assert header is not None
    body = line[line.index(b'"event_type"') : -SUFFIX_BYTES]
    body += b',"x":%b' % (b"[" * levels + b"]" * levels)
    return seal(log_prefix(LOG), header.seq, header.prev_hash, header.timestamp, body)[0]


@pytest.mark.parametrize("levels", [300, 900, 2000])
def test_finds_a_copy_that_is_nested_deeper_than_any_record(
    tmp_path: Path, audit: Path, levels: int
) -> None:
    """finds: it is different, and what comes behind it is compared as well"""
    copy = Copy(str(tmp_path / "records.sqlite"))
    built = write_log(audit, records=5)
    ship(copy, built)
    copy.put(f"{LOG}:2", DAY, deepened(built.lines[1], levels))
    copy.remove(f"{LOG}:4", DAY)
    assert told(reconcile(audit, copy)) == [("different", DAY, 2), ("missing", DAY, 4)]


@pytest.mark.parametrize("levels", [300, 900])
def test_a_cluster_s_copy_is_read_back_however_deep_it_is(
    httpserver: HTTPServer, levels: int
) -> None:
    lines = LogBuilder(Path("unused"), LOG).make(2)
    headers = [header for line in lines if (header := parse_header(line)) is not None]
    stored = [deepened(lines[0], levels), lines[1]]
    found = b",".join(b'{"found":true,"_id":"x","_source":%b}' % line for line in stored)
    httpserver.expect_request("/_mget").respond_with_data(
        b'{"docs":[%b]}' % found,
        headers={"X-Elastic-Product": "Elasticsearch"},
        content_type="application/json",
    )
    options = ElasticsearchOptions(urls=(httpserver.url_for("").rstrip("/"),))
    read_back = ElasticsearchReadBack(Connection(options))
    fetched = read_back.fetch(headers)
    read_back.close()
    assert [each.line for each in fetched if each is not None] == stored


def test_finds_what_only_a_cluster_can_be_made_to_hold(
    elasticsearch: object, index_prefix: str, audit: Path
) -> None:
    """finds: documents under other ids, in other indices, with other numbers, of no log"""
    copy = Copy(index_prefix, elasticsearch)  # type: ignore[arg-type]  # the fixture's type
    built = write_log(audit, records=5)
    ship(copy, built)
    fields = orjson.loads(built.lines[2])
    copy.put("by-hand", DAY, built.lines[2])
    assert told(reconcile(audit, copy)) == [("extra", DAY, 3)]
    copy.remove("by-hand", DAY)
    copy.put(f"{LOG}:3", "2026-11-20", built.lines[2])
    assert told(reconcile(audit, copy)) == [("extra", "2026-11-20", 3)]
    copy.remove(f"{LOG}:3", "2026-11-20")
    for change in ({"seq": 999}, {"seq": 1}, {"log": "queen-rbee@hive2"}, {"seq": "three"}):
        try:
            copy.put(f"{LOG}:3", DAY, orjson.dumps({**fields, **change}))
        except AssertionError:
            continue  # the mapping refuses it
        assert told(reconcile(audit, copy)) == [("different", DAY, 3)], change
    copy.put(f"{LOG}:3", DAY, built.lines[2])
    copy.put("nameless", DAY, b'{"x":1}')
    receipt = reconcile(audit, copy)
    assert not receipt.ok
    assert receipt.strangers == (1, [f"{index_prefix}-2026.11.23/nameless"])


def test_restores(copy: Copy, audit: Path) -> None:
    """restores: what is missing is there afterwards, once, and nothing else has changed"""
    built = write_log(audit, records=1200)
    ship(copy, built)
    before = copy.lines()
    for seq in (1, 2, 600, 1200):
        copy.remove(f"{LOG}:{seq}", DAY)
    changed = orjson.dumps({**orjson.loads(built.lines[6]), "reason": "none"}) + b"\n"
    copy.put(f"{LOG}:7", DAY, changed)
    receipt = reconcile(audit, copy, repair=True)
    assert (receipt.total("missing"), receipt.total("reshipped")) == (4, 4)
    assert told(receipt) == [("different", DAY, 7)]
    assert copy.lines() == {**before, f"{LOG}:7": changed}
    copy.put(f"{LOG}:7", DAY, built.lines[6])
    assert reconcile(audit, copy, repair=True).ok


def test_a_sink_that_never_had_anything_gets_everything(copy: Copy, audit: Path) -> None:
    built = write_log(audit, records=700)
    copy.sink().close()  # a SQLite file has to be there
    receipt = reconcile(audit, copy, repair=True)
    assert receipt.ok
    assert receipt.total("reshipped") == 700
    assert sorted(copy.lines().values()) == sorted(built.lines)


def test_what_the_cursor_has_not_passed_is_pending_and_no_fault(copy: Copy, audit: Path) -> None:
    built = write_log(audit, records=10)
    sink = copy.sink()
    sink.deliver([Shipment(line, parse_header(line)) for line in built.lines[:6]])
    sink.close()
    receipt = reconcile(audit, copy, acknowledged=6)
    assert receipt.ok
    assert receipt.total("pending") == 4
    assert told(reconcile(audit, copy, acknowledged=8)) == [("missing", DAY, n) for n in (7, 8)]


def test_what_retention_deleted_is_proven_by_its_chain(copy: Copy, audit: Path) -> None:
    built = write_log(
        audit, records=4, segments=3, days=40, at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    )
    ship(copy, built)
    policy = RetentionPolicy(
        compress_after=dt.timedelta(days=1), delete_after=dt.timedelta(days=60)
    )
    at = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
    run_retention(audit, policy, audit / ".auditlog", [], at, confirm=True, simulated=False)
    with pytest.raises(FileNotFoundError):
        built.path(0)

    def of_log(receipt: Receipt) -> list[tuple[str, str, int | None]]:
        return [
            (f.kind, f.day, f.seq)
            for log in receipt.logs
            if log.log == LOG
            for f in log.discrepancies
        ]

    receipt = reconcile(audit, copy)
    assert of_log(receipt) == []
    (log,) = (log for log in receipt.logs if log.log == LOG)
    assert [check.records for check in log.deleted] == [4]
    first = "2026-01-01"
    copy.remove(f"{LOG}:2", first)
    assert of_log(reconcile(audit, copy)) == [("deleted", first, 1)]
    copy.put(f"{LOG}:2", first, orjson.dumps({**orjson.loads(built.lines[1]), "outcome": "x"}))
    assert of_log(reconcile(audit, copy)) == [("deleted", first, 1)]
    for seq in range(1, 5):
        copy.remove(f"{LOG}:{seq}", first)
    assert of_log(reconcile(audit, copy)) == [], "a cluster may have a retention of its own"


def test_a_record_that_was_changed_in_the_file_is_told_apart(copy: Copy, audit: Path) -> None:
    built = write_log(audit, records=5)
    ship(copy, built)
    content = built.active.read_bytes()
    built.active.write_bytes(content.replace(b"task-3", b"task-9"))
    receipt = reconcile(audit, copy, repair=True)
    assert told(receipt) == [("different", DAY, 3)]
    assert "changed in the file" in receipt.logs[0].discrepancies[0].detail
    built.active.write_bytes(content.replace(built.lines[2], b"nonsense\n"))
    assert told(reconcile(audit, copy)) == [("damaged", DAY, None), ("extra", DAY, 3)]


def test_a_sink_that_takes_nothing_leaves_it_missing(audit: Path, tmp_path: Path) -> None:
    copy = Copy(str(tmp_path / "records.sqlite"))
    write_log(audit, records=3)
    copy.sink().close()
    read_back = copy.read_back()
    busy = FakeSink(answer=lambda records: [retry("busy")] * len(records))
    made = Reconciliation(
        [audit], read_back, name="main", sink=busy, give_up_after=dt.timedelta(seconds=1)
    )
    receipt = made.run(NOW)
    read_back.close()
    assert told(receipt) == [("missing", DAY, n) for n in (1, 2, 3)]
    assert "busy" in receipt.logs[0].discrepancies[0].detail
    assert busy.deliveries > 1


def test_what_cannot_be_read_back_is_an_error_and_no_verdict(tmp_path: Path, audit: Path) -> None:
    write_log(audit, records=1)
    with pytest.raises(SinkRefused, match="cannot be read"):
        SqliteReadBack(tmp_path / "missing.sqlite")
    assert not (tmp_path / "missing.sqlite").exists()
    strange = tmp_path / "strange.sqlite"
    strange.write_text("no database " * 100)
    with pytest.raises(SinkRefused, match="cannot be read"):
        SqliteReadBack(strange)


def test_what_is_missing_is_held_a_batch_at_a_time(audit: Path, tmp_path: Path) -> None:
    copy = Copy(str(tmp_path / "records.sqlite"))
    write_log(audit, records=3000)
    copy.sink().close()
    sizes: list[int] = []
    counting = FakeSink(answer=lambda records: sizes.append(len(records)))
    read_back = copy.read_back()
    receipt = Reconciliation([audit], read_back, name="main", sink=counting).run(NOW)
    read_back.close()
    assert receipt.total("reshipped") == 3000
    assert max(sizes) <= 500
