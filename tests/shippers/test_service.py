from __future__ import annotations

import datetime as dt
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditlog.cursors import CursorStore
from auditlog.errors import LogLocked
from auditlog.format.record import decode, parse_timestamp
from shippers.errors import AlreadyShipping, DuplicateLog, ShippingStalled
from shippers.item import Shipment
from shippers.outcome import DeliveryOutcome, quarantined, retry, tampered
from shippers.service import ShippingOptions, ShippingService, lock_shipping
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from shippers.sinks.sqlite.sink import SqliteSink
from shippers.stats import ShippingStats
from tests.support.elasticsearch import Cluster, ElasticsearchServer
from tests.support.logs import LogBuilder, write_log
from tests.support.shipments import FakeSink
from tests.support.waiting import eventually

Start = Callable[[ShippingService], Any]


def lines(*logs: LogBuilder) -> set[bytes]:
    return {line for log in logs for line in log.lines}


def balanced(stats: ShippingStats) -> bool:
    return all(
        log.written == log.indexed + log.duplicate + log.quarantined + log.pending
        for log in stats.logs
    )


def test_balance(tmp_path: Path, running: Start) -> None:
    """balance: written = indexed + duplicate + quarantined + pending, for every log and sink"""
    logs = [write_log(tmp_path / "logs", f"rbee-hive@gpu{n}", records=3000) for n in range(3)]
    rng = random.Random(7)

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome] | None:
        stats.append(shipping.stats())
        return [quarantined("refused")] * len(records) if rng.random() < 0.2 else None

    stats: list[ShippingStats] = []
    sinks = [FakeSink("one", answer), FakeSink("two", answer)]
    shipping = ShippingService([tmp_path / "logs"], sinks, tmp_path / "state")
    running(shipping)
    eventually(lambda: sum(log.acknowledged_seq for log in shipping.stats().logs) == 18_000)
    stats.append(shipping.stats())
    assert all(balanced(one) for one in stats)
    assert len(stats[-1].logs) == 2 * len(logs)
    assert (stats[-1].totals.written, stats[-1].totals.pending) == (18_000, 0)


def test_all_logs_of_all_directories_go_to_all_sinks_live(tmp_path: Path, running: Start) -> None:
    one = write_log(tmp_path / "a", records=5, segments=2)
    two = write_log(tmp_path / "b", "rbee-hive@gpu1", records=5, segments=2, days=1)
    two.compress(0)
    fake, lite = FakeSink(), SqliteSink("lite", tmp_path / "r.sqlite")
    shipping = ShippingService([tmp_path / "a", tmp_path / "b"], [fake, lite], tmp_path / "state")
    live = running(shipping)
    eventually(lambda: set(fake.stored.values()) == lines(one, two))
    one.append(3)
    one.rotate()
    one.append(3)
    two.compress(1, ".gz", keep_plain=True)
    two.rotate(days=1)
    two.append(2)
    new = write_log(tmp_path / "b", "rbee-hive@gpu2", records=4)
    eventually(lambda: set(fake.stored.values()) == lines(one, two, new))
    eventually(lambda: shipping.stats().totals.indexed == 2 * len(lines(one, two, new)))
    assert shipping.stats().totals.chain_breaks == 0
    live.stop()
    lite.close()
    with sqlite3.connect(lite.path) as connection:
        stored = {row[0] for row in connection.execute("SELECT line FROM records")}
    connection.close()
    assert stored == lines(one, two, new)


def test_a_sink_that_is_down_holds_up_no_other(tmp_path: Path, running: Start) -> None:
    log = write_log(tmp_path / "logs", records=50)
    fake = FakeSink()
    down = ElasticsearchSink("down", ElasticsearchOptions(urls=("http://127.0.0.1:1",)))
    shipping = ShippingService([tmp_path / "logs"], [down, fake], tmp_path / "state")
    live = running(shipping)
    eventually(lambda: set(fake.stored.values()) == lines(log))
    eventually(lambda: any(sink.trouble for sink in shipping.stats().sinks))
    troubles = {sink.name: sink.trouble for sink in shipping.stats().sinks}
    assert troubles == {"down": "cannot connect: Connection refused", "fake": ""}
    live.stop()
    down.close()


def test_a_directory_that_does_not_exist_yet_is_waited_for(tmp_path: Path, running: Start) -> None:
    fake = FakeSink()
    shipping = ShippingService([tmp_path / "later"], [fake], tmp_path / "state")
    running(shipping)
    eventually(lambda: shipping._sources[0].unreadable, "it was found missing")
    log = write_log(tmp_path / "later", records=5)
    eventually(lambda: set(fake.stored.values()) == lines(log))
    log.append(1)
    eventually(lambda: set(fake.stored.values()) == lines(log))


def test_run_once_ships_what_is_there_and_says_so(tmp_path: Path) -> None:
    log = write_log(tmp_path / "logs", records=30, segments=3)
    write_log(tmp_path / "logs", "rbee-hive@gpu1", records=5)
    sink = FakeSink()
    shipping = ShippingService([tmp_path / "logs"], [sink], tmp_path / "state")
    summary = shipping.run_once()
    assert summary.complete
    assert (summary.shipped, summary.duplicates, summary.pending) == (95, 0, 0)
    log.append(2)
    assert shipping.run_once().shipped == 2
    shutil.rmtree(tmp_path / "state" / "cursors")
    again = shipping.run_once()
    assert (again.shipped, again.duplicates) == (0, 97)


def test_run_once_with_nothing_to_ship_ends(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    summary = ShippingService([tmp_path / "logs"], [FakeSink()], tmp_path / "state").run_once()
    assert summary.complete
    assert summary.logs == ()


def test_run_once_gives_up_on_an_unreachable_sink_and_loses_nothing(tmp_path: Path) -> None:
    write_log(tmp_path / "logs", records=10)
    down = ElasticsearchSink("main", ElasticsearchOptions(urls=("http://127.0.0.1:1",)))
    shipping = ShippingService([tmp_path / "logs"], [down], tmp_path / "state")
    with pytest.raises(ShippingStalled) as raised:
        shipping.run_once(give_up_after=dt.timedelta(seconds=2))
    down.close()
    assert raised.value.reason.startswith("http://127.0.0.1:1: nothing was accepted for 2 s: ")
    assert str(raised.value).count("nothing was accepted") == 1
    assert str(raised.value).count("Connection refused") == 1
    assert CursorStore(tmp_path / "state").load("main", "queen-rbee@hive1") is None
    fake = FakeSink("main")
    assert ShippingService([tmp_path / "logs"], [fake], tmp_path / "state").run_once().shipped == 10


def test_run_once_gives_up_on_a_server_that_does_not_answer(tmp_path: Path) -> None:
    write_log(tmp_path / "logs", records=10)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sink = ElasticsearchSink("main", ElasticsearchOptions(urls=(url,)))
        shipping = ShippingService([tmp_path / "logs"], [sink], tmp_path / "state")
        with pytest.raises(ShippingStalled) as raised:
            shipping.run_once(give_up_after=dt.timedelta(seconds=1))
        sink.close()
    assert raised.value.reason == (
        f"{url}: nothing was accepted for 1 s: the server does not answer"
    )


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_run_once_refuses_what_is_no_directory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "logs"
    if kind == "file":
        path.write_text("x")
    with pytest.raises(OSError, match="logs"):
        ShippingService([path], [FakeSink()], tmp_path / "state").run_once()


def test_a_second_shipper_on_the_state_directory_is_refused_naming_the_first(
    tmp_path: Path, running: Start
) -> None:
    write_log(tmp_path / "logs", records=1)
    sink = FakeSink()
    live = running(ShippingService([tmp_path / "logs"], [sink], tmp_path / "state"))
    eventually(lambda: sink.stored)
    second = ShippingService([tmp_path / "logs"], [FakeSink()], tmp_path / "state")
    with pytest.raises(AlreadyShipping, match=f"pid {os.getpid()}") as raised:
        second.run_once()
    assert isinstance(raised.value, LogLocked)
    live.stop()
    assert second.run_once().complete


def test_one_log_in_two_directories_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_log(tmp_path / name, records=1)
    shipping = ShippingService([tmp_path / "a", tmp_path / "b"], [FakeSink()], tmp_path / "state")
    with pytest.raises(DuplicateLog, match=r"queen-rbee@hive1 is in .*/a as well"):
        shipping.run_once()


def test_the_lag_of_a_sink_that_is_down_is_the_age_of_the_first_record(
    tmp_path: Path, running: Start
) -> None:
    log = write_log(tmp_path / "logs", records=40, segments=2)
    is_down = threading.Event()
    is_down.set()
    fake = FakeSink(answer=lambda r: [retry("busy")] * len(r) if is_down.is_set() else None)
    shipping = ShippingService([tmp_path / "logs"], [fake], tmp_path / "state")
    running(shipping)
    eventually(lambda: fake.deliveries > 2)
    (lag,), (sink,) = shipping.stats().logs, shipping.stats().sinks
    assert lag.oldest_at == parse_timestamp(log.headers[0].timestamp)
    assert lag.lag_seconds(lag.oldest_at + dt.timedelta(seconds=90)) == 90
    assert (lag.lag_records, lag.acknowledged_seq) == (80, 0)
    assert sink.last_success_at is None
    is_down.clear()
    eventually(lambda: len(fake.stored) == 80)
    eventually(lambda: shipping.stats().logs[0].oldest_at is None)
    (lag,), (sink,) = shipping.stats().logs, shipping.stats().sinks
    assert lag.lag_seconds(dt.datetime.now(dt.UTC)) == 0
    assert sink.last_success_at is not None
    assert (sink.in_flight, sink.in_flight_records, sink.in_flight_bytes) == (0, 0, 0)


def test_what_is_in_flight_and_quarantined_is_counted(tmp_path: Path, running: Start) -> None:
    log = write_log(tmp_path / "logs", records=10)
    go = threading.Event()

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome]:
        assert go.wait(60)
        return [tampered("0" * 64), *[quarantined("refused")] * (len(records) - 1)]

    shipping = ShippingService([tmp_path / "logs"], [FakeSink(answer=answer)], tmp_path / "state")
    running(shipping)
    eventually(lambda: any(sink.in_flight for sink in shipping.stats().sinks))
    (sink,) = shipping.stats().sinks
    assert sink.in_flight_records == 10
    assert sink.in_flight_bytes == sink.held_bytes == sum(map(len, log.lines))
    go.set()
    eventually(lambda: shipping.stats().totals.quarantined == 10)
    (lag,), (sink,) = shipping.stats().logs, shipping.stats().sinks
    assert lag.tamper_alarms == 1
    path = tmp_path / "state/quarantine/fake.ndjson"
    assert (sink.quarantine_entries, sink.quarantine_bytes) == (10, path.stat().st_size)


def test_a_loop_that_does_not_come_round_is_named(tmp_path: Path, running: Start) -> None:
    write_log(tmp_path / "logs", records=5)
    shipping = ShippingService([tmp_path / "logs"], [FakeSink()], tmp_path / "state")
    running(shipping)
    eventually(lambda: shipping.stats().totals.indexed == 5)
    assert shipping.stuck(30) == ""
    # A disk that hangs: whoever opens this pipe to read waits until somebody writes.
    pipe = tmp_path / "state/cursors/fake/rbee-hive@gpu1.cursor"
    os.mkfifo(pipe)
    write_log(tmp_path / "logs", "rbee-hive@gpu1", records=5)
    eventually(lambda: shipping.stuck(0.2) == "delivery to fake")
    os.close(os.open(pipe, os.O_WRONLY))  # it answers, and what it says is no cursor
    eventually(lambda: shipping.stats().totals.indexed == 10)
    assert shipping.stuck(30) == ""


def test_a_lock_that_the_caller_holds_is_not_taken_again(tmp_path: Path) -> None:
    write_log(tmp_path / "logs", records=5)
    lock = lock_shipping(tmp_path / "state")
    try:
        mine = ShippingService([tmp_path / "logs"], [FakeSink()], tmp_path / "state", lock=lock)
        assert mine.run_once().shipped == 5
        with pytest.raises(AlreadyShipping):
            ShippingService([tmp_path / "logs"], [FakeSink()], tmp_path / "state").run_once()
    finally:
        lock.release()


def test_impossible_services_are_refused(tmp_path: Path) -> None:
    for directories, sinks in ([[], [FakeSink()]], [["a"], []], [["a"], [FakeSink(), FakeSink()]]):
        with pytest.raises(ValueError, match="sink"):
            ShippingService(directories, sinks, tmp_path)


def test_it_stops_although_the_sink_hangs_and_the_cursor_is_durable(
    tmp_path: Path, running: Start
) -> None:
    write_log(tmp_path / "logs", records=4000)
    release, hung = threading.Event(), threading.Event()

    def answer(records: Sequence[Shipment]) -> None:
        header = records[0].header
        if header and header.seq > 2000:
            hung.set()
            release.wait()

    sink = FakeSink(answer=answer)
    live = running(ShippingService([tmp_path / "logs"], [sink], tmp_path / "state"))
    assert hung.wait(60)
    eventually(lambda: len(sink.stored) >= 2000)
    live.stop()
    cursor = CursorStore(tmp_path / "state").load("fake", "queen-rbee@hive1")
    release.set()
    assert cursor is not None
    assert cursor.seq == 2000


SHIP = """
import sys
from pathlib import Path
import threading
from shippers.service import ShippingService
from shippers.sinks.sqlite.sink import SqliteSink

directory = Path(sys.argv[1])
sink = SqliteSink("main", directory / "r.sqlite")
ShippingService([directory / "logs"], [sink], directory / "state").run(threading.Event())
"""


def test_a_shipper_killed_again_and_again_loses_nothing_and_enters_nothing_twice(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path / "logs", records=300)
    other = write_log(tmp_path / "logs", "rbee-hive@gpu1", records=300)
    for n in range(5):
        log.append_raw(b"junk %d\n" % n)
        log.append(100)
    SqliteSink("main", tmp_path / "r.sqlite").close()

    def stored() -> list[bytes]:
        with sqlite3.connect(tmp_path / "r.sqlite") as connection:
            found = [row[0] for row in connection.execute("SELECT line FROM records")]
        connection.close()
        return found

    kills = 0
    while kills < 4 or len(stored()) < len(log.lines) + len(other.lines):
        process = subprocess.Popen([sys.executable, "-c", SHIP, tmp_path])
        if kills < 4:
            log.append(50)
            other.append(50)
            target = min(len(stored()) + 150, len(log.lines) + len(other.lines))
            eventually(lambda target=target: len(stored()) >= target, "some were shipped")
        else:
            eventually(lambda: len(stored()) == len(log.lines) + len(other.lines))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert sorted(stored()) == sorted(lines(log, other))
    sink = SqliteSink("main", tmp_path / "r.sqlite")
    assert ShippingService([tmp_path / "logs"], [sink], tmp_path / "state").run_once().complete
    sink.close()
    quarantine = (tmp_path / "state" / "quarantine" / "main.ndjson").read_bytes()
    entries = [orjson.loads(line) for line in quarantine.splitlines()]
    strange = [entry["line"] for entry in entries if entry["kind"] == "not_a_record"]
    assert strange == [f"junk {n}\n" for n in range(5)]


def test_a_real_server_killed_in_the_middle_gets_every_record_once(
    tmp_path: Path,
    killable_elasticsearch: ElasticsearchServer,
    index_prefix: str,
    running: Start,
) -> None:
    elasticsearch = Cluster(killable_elasticsearch.url)
    log = write_log(
        tmp_path / "logs", records=10_000, segments=2, step=dt.timedelta(milliseconds=10)
    )
    options = ElasticsearchOptions(urls=(elasticsearch.url,), index_prefix=index_prefix, replicas=0)
    sink = ElasticsearchSink("main", options)
    shipping = ShippingService([tmp_path / "logs"], [sink], tmp_path / "state", ShippingOptions())
    live = running(shipping)
    eventually(lambda: shipping.stats().totals.indexed > 0)
    killable_elasticsearch.kill()
    log.append(100)
    eventually(lambda: shipping.stats().sinks[0].trouble)
    killable_elasticsearch.start()
    eventually(lambda: shipping.stats().logs[0].acknowledged_seq == 20_100, seconds=120)
    live.stop()
    sink.close()
    documents = elasticsearch.documents(f"{index_prefix}-*")
    fetched = {orjson.dumps(hit["_source"]) + b"\n" for hit in documents.values()}
    assert fetched == lines(log)
    assert len(documents) == 20_100
    assert all(decode(line) for line in fetched)
    assert balanced(shipping.stats())
