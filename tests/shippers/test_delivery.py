from __future__ import annotations

import datetime as dt
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.cursors import CursorStore
from auditlog.format.record import parse_header
from shippers.backoff import Backoff
from shippers.batch import DocumentBatch, RecordBatch
from shippers.delivery import Delivery, DeliveryOptions
from shippers.item import Document, Shipment
from shippers.lane import Lane
from shippers.outcome import INDEXED, DeliveryOutcome, quarantined, retry
from shippers.service import ShippingOptions, ShippingService
from shippers.sources.audit_log.harvester import LogHarvester
from shippers.sources.audit_log.source import LogDirectories
from shippers.sources.protocol import FeedContext
from shippers.stats import LogStats
from tests.support.logs import LogBuilder, write_log
from tests.support.shipments import FakeSink
from tests.support.waiting import eventually

HASTY = Backoff(dt.timedelta(milliseconds=1), dt.timedelta(milliseconds=5))
AT = "2026-11-23T07:12:00.123456Z"
BUSY = retry("busy", 429)
THROTTLED = retry("busy", 429, throttled=True)


def service(
    directory: Path,
    sink: FakeSink,
    state: Path,
    *,
    records: int = 50,
    held_bytes: int = 32 << 20,
    linger: dt.timedelta | None = None,
) -> ShippingService:
    options = DeliveryOptions(
        batch_records=records,
        batch_bytes=min(1 << 18, held_bytes),
        held_bytes=held_bytes,
        slow_batch=dt.timedelta(hours=1),  # a machine that stands still is no slow sink
        save_interval=dt.timedelta(milliseconds=1),
        linger=linger,
        backoff=HASTY,
    )
    return ShippingService([directory], [sink], state, ShippingOptions(delivery=options))


def keys(log: LogBuilder) -> dict[tuple[str, int], bytes]:
    return {(h.log, h.seq): line for h, line in zip(log.headers, log.lines, strict=True)}


def test_fair(tmp_path: Path, running: Callable[..., object]) -> None:
    """fair: a log whose deliveries fail does not hold up the others"""
    stuck = write_log(tmp_path / "logs", "rbee-hive@stuck", records=500)
    well = [write_log(tmp_path / "logs", f"rbee-hive@gpu{n}", records=500) for n in range(4)]

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome] | None:
        header = records[0].header
        return [BUSY] * len(records) if header and header.log == stuck.log else None

    sink = FakeSink(answer=answer)
    shipping = service(tmp_path / "logs", sink, tmp_path / "state")
    running(shipping)
    expected = {key: line for log in well for key, line in keys(log).items()}
    eventually(lambda: sink.stored == expected, "all logs but one are shipped")
    (stats,) = (log for log in shipping.stats().logs if log.log == stuck.log)
    assert (stats.acknowledged_seq, stats.lag_records) == (0, 500)
    eventually(lambda: "busy" in {log.trouble for log in shipping.stats().logs}, "it failed")


class CountedLane(Lane[int]):
    """Counts how often the loop asks it for anything."""

    visits = 0

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            CountedLane.visits += 1
        return super().__getattribute__(name)


class OneDocument:
    """A harvester that has one document after each wake-up."""

    exhausted = True

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.written = self.given = 0

    def read(self, max_bytes: int, max_records: int) -> DocumentBatch[int] | None:  # noqa: ARG002  (it has one)
        if self.given == self.written:
            return None
        start, self.given = self.given, self.given + 1
        document = Document("app", f"{self.lane}-{self.given}", AT, b"{}\n")
        items, positions = [document], [self.given]
        return DocumentBatch(log=self.lane, start=start, items=items, positions=positions)

    def rewind(self, position: int) -> None:
        self.given = position

    def lag_bytes(self) -> int:
        return self.written - self.given

    def close(self) -> None:
        pass


class ManyLanes:
    """A source, and its feed, of many files that grow one after another."""

    name = "app"
    directories = ()

    def __init__(self, number: int) -> None:
        self.harvesters = {str(n): OneDocument(str(n)) for n in range(number)}
        self.by_name = {name: CountedLane(name, h, 0) for name, h in self.harvesters.items()}
        self.lanes = self.by_name.values()

    def look(self, changed: Collection[Path] | None, *, strict: bool = False) -> Sequence[object]:  # noqa: ARG002  (it is there)
        return ()

    def feed(self, context: FeedContext) -> ManyLanes:  # noqa: ARG002  (it saves nothing)
        return self

    def see(self, sighting: object) -> Collection[CountedLane]:  # noqa: ARG002  (as above)
        return self.lanes

    def lane_of(self, name: str) -> CountedLane | None:
        return self.by_name.get(name)

    def save(self) -> None:
        for lane in self.lanes:
            lane.saved = lane.position

    def stats(self, lock: threading.Lock) -> list[LogStats]:  # noqa: ARG002  (it has none)
        return []


def test_the_cost_of_a_record_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    """Counted, not timed: how often lanes are looked at for 200 records of so many files."""
    visits = []
    for number in (20, 1000):
        source, sink = ManyLanes(number), FakeSink()
        options = DeliveryOptions(save_interval=dt.timedelta(hours=1))
        delivery = Delivery(sink, tmp_path / str(number), options, [source])
        delivery.start()
        try:
            delivery.sighted("app", None)
            assert delivery.answers(60)
            assert delivery.answers(60), "by now all lanes were read for the first time"
            CountedLane.visits = 0
            for turn in range(200):
                name = str(turn * 7 % number)
                source.harvesters[name].written += 1
                delivery.wake(name)
                documents = sink.documents
                eventually(lambda found=documents, turn=turn: len(found) == turn + 1)
                assert delivery.answers(60)
            visits.append(CountedLane.visits)
        finally:
            delivery.stop()
            assert delivery.join(60)
    assert visits[1] < 2 * visits[0], visits


def test_what_was_just_written_goes_beside_backlogs_to_a_slow_sink(
    tmp_path: Path, running: Callable[..., object]
) -> None:
    for number in range(8):
        write_log(tmp_path / "logs", f"rbee-hive@gpu{number}", records=2000)
    live = write_log(tmp_path / "logs", "queen-rbee@live", records=1)
    order: list[str] = []
    begun, one_by_one = threading.Event(), threading.Semaphore(20)

    def answer(records: Sequence[Shipment]) -> None:
        one_by_one.acquire()
        assert records[0].header is not None
        order.append(records[0].header.log)
        begun.set()

    sink = FakeSink(answer=answer, max_in_flight=1)
    shipping = service(tmp_path / "logs", sink, tmp_path / "state", linger=dt.timedelta(0))
    running(shipping)
    assert begun.wait(60)
    for expected in (2, 3, 4):
        stored = expected - 1
        eventually(lambda stored=stored: one_by_one.release() or order.count(live.log) >= stored)
        live.append(1)
        shipping.file_grew(str(live.active))  # the watch tells of it too, at some time
        before = len(order)
        eventually(lambda e=expected: one_by_one.release() or order.count(live.log) >= e)
        positions = [place for place, name in enumerate(order) if name == live.log]
        assert positions[expected - 1] - before < 5, "it waited for every backlog"
    backlog = len(order) - order.count(live.log)
    assert backlog < 8 * 40, "all backlogs were done first"
    one_by_one.release(10_000)
    eventually(lambda: len(sink.stored) == 8 * 2000 + 4)


def test_a_sink_that_has_too_much_to_do_gets_smaller_batches(tmp_path: Path) -> None:
    write_log(tmp_path / "logs", records=2000)
    sizes: list[int] = []

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome] | None:
        sizes.append(len(records))
        return [THROTTLED] * len(records) if len(sizes) <= 4 else None

    sink = FakeSink(answer=answer, max_in_flight=1)
    shipping = service(tmp_path / "logs", sink, tmp_path / "state", records=160)
    assert shipping.run_once().shipped == 2000
    assert sizes[:5] == [160] * 5, "what was read is sent again as it is"
    assert sizes[5:10] == [20, 30, 40, 50, 60], "then it begins small and recovers"
    assert max(sizes[5:]) > 100


def test_bounded(tmp_path: Path, running: Callable[..., object]) -> None:
    """bounded: what is read and not passed stays within held_bytes, plus one batch"""
    for number in range(12):
        write_log(tmp_path / "logs", f"rbee-hive@stuck{number}", records=400)
    well = write_log(tmp_path / "logs", "rbee-hive@well", records=2000)
    held: list[int] = []
    held_bytes = 200_000

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome] | None:
        held.append(shipping.stats().sinks[0].held_bytes)
        header = records[0].header
        return None if header and header.log == well.log else [BUSY] * len(records)

    sink = FakeSink(answer=answer)
    shipping = service(tmp_path / "logs", sink, tmp_path / "state", held_bytes=held_bytes)
    running(shipping)
    eventually(lambda: len(sink.stored) == 2000, "the one log that works is shipped")
    assert max(held) <= 2 * held_bytes
    assert sink.stored == keys(well)
    totals = shipping.stats().totals
    assert totals.written == totals.indexed + totals.pending


def test_records_that_linger_are_sent_together(
    tmp_path: Path, running: Callable[..., object]
) -> None:
    log = write_log(tmp_path / "logs", records=2000)
    sink = FakeSink()
    linger = 0.4
    options = DeliveryOptions(linger=dt.timedelta(seconds=linger))
    shipping = ShippingService(
        [tmp_path / "logs"], [sink], tmp_path / "state", ShippingOptions(delivery=options)
    )
    running(shipping)
    eventually(lambda: len(sink.stored) == 2000)  # a backlog does not wait
    before, began = sink.deliveries, time.monotonic()
    for _ in range(40):
        log.append(1)
        shipping.file_grew(str(log.active))  # the watch may tell of several at once, and later
        time.sleep(0.01)
    eventually(lambda: len(sink.stored) == 2040)
    elapsed = time.monotonic() - began
    assert elapsed >= linger
    assert sink.deliveries - before <= elapsed / linger + 2


def test_by_default_a_lone_record_is_sent_at_once_and_a_stream_in_few_batches(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path / "logs", records=3)
    source = LogDirectories([tmp_path / "logs"])
    sink = FakeSink()
    with at_work(
        Delivery(sink, tmp_path / "state", DeliveryOptions(), [source]), source
    ) as delivery:
        eventually(lambda: len(sink.stored) == 3)
        delivery.wake(str(log.active))  # a wait that follows the first batch comes to its end
        time.sleep(0.3)
        began = time.monotonic()
        log.append(1)
        delivery.wake(str(log.active))
        eventually(lambda: len(sink.stored) == 4)
        alone, before = time.monotonic() - began, sink.deliveries
        began = time.monotonic()
        for _ in range(150):
            log.append(1)
            delivery.wake(str(log.active))
            time.sleep(0.005)
        eventually(lambda: len(sink.stored) == 154)
        elapsed = time.monotonic() - began
        assert sink.deliveries - before <= elapsed / 0.1 + 2
        assert alone < 60  # it came without another record; how fast is for a benchmark


@contextmanager
def at_work(delivery: Delivery, source: LogDirectories) -> Iterator[Delivery]:
    """Without a service and its watch: it learns of what grows from the test alone."""
    for sighting in source.look(None, strict=True):
        delivery.sighted(source.name, sighting)
    delivery.start()
    yield delivery
    delivery.stop()
    assert delivery.join(60)


def come_round(delivery: Delivery) -> None:
    """Wait until it has done what there was to do."""
    for _ in range(2):  # it answers in the middle of its loop
        assert delivery.answers(60)


@pytest.mark.parametrize("when", ["while others are on their way", "while others are read"])
def test_records_linger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    log = write_log(tmp_path / "logs", records=3)
    source = LogDirectories([tmp_path / "logs"])
    answered = threading.Event()
    outcomes = [BUSY, INDEXED]

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome]:
        assert answered.wait(60)
        return [outcomes.pop(0) if len(outcomes) > 1 else INDEXED] * len(records)

    def read_and_append(
        harvester: LogHarvester, max_bytes: int, max_records: int
    ) -> RecordBatch | None:
        if (batch := read(harvester, max_bytes, max_records)) is not None:
            log.append(1)
        return batch

    records = 3  # a full batch, behind which there is an end
    if when == "while others are read":
        read, records = LogHarvester.read, 1000
        monkeypatch.setattr(LogHarvester, "read", read_and_append)
    sink = FakeSink(answer=answer)
    options = DeliveryOptions(batch_records=records, linger=dt.timedelta(hours=1), backoff=HASTY)
    with at_work(Delivery(sink, tmp_path / "state", options, [source]), source) as delivery:
        eventually(lambda: sink.deliveries == 1, "a backlog does not wait")
        come_round(delivery)
        for _ in range(5):
            log.append(1)
            delivery.wake(str(log.active))
            come_round(delivery)
        assert sink.deliveries == 1
        answered.set()
        eventually(lambda: len(sink.stored) >= 3, "nor does what failed")


def test_what_fills_a_batch_lingers_no_longer(tmp_path: Path) -> None:
    log = write_log(tmp_path / "logs", records=3)
    source, sink = LogDirectories([tmp_path / "logs"]), FakeSink()
    options = DeliveryOptions(batch_bytes=10_000, linger=dt.timedelta(hours=1))
    with at_work(Delivery(sink, tmp_path / "state", options, [source]), source) as delivery:
        eventually(lambda: len(sink.stored) == 3)
        log.append(1)
        delivery.wake(str(log.active))
        come_round(delivery)
        assert sink.deliveries == 1
        log.append(60)
        delivery.wake(str(log.active))
        eventually(lambda: len(sink.stored) > 4, "it is a backlog now")


def test_durable(tmp_path: Path, running: Callable[..., object]) -> None:
    """durable: when the loop has ended, cursors on disk say what has its final outcome"""
    log = write_log(tmp_path / "logs", records=300, segments=2)
    sink = FakeSink()
    live = running(service(tmp_path / "logs", sink, tmp_path / "state"))
    eventually(lambda: len(sink.stored) == 600)
    log.append(10)
    eventually(lambda: len(sink.stored) == 610)
    live.stop()  # type: ignore[attr-defined]  # the fixture's class is not importable from here
    cursor = CursorStore(tmp_path / "state").load("fake", log.log)
    assert cursor is not None
    assert (cursor.seq, cursor.hash) == (610, log.hash)
    assert (cursor.segment, cursor.offset) == (log.names[-1].logical, log.active.stat().st_size)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 0.5), batch=st.integers(1, 30))
def test_never_past(
    tmp_path_factory: pytest.TempPathFactory, seed: int, share: float, batch: int
) -> None:
    """never_past: a cursor on disk is never beyond the first record without final outcome"""
    directory = tmp_path_factory.mktemp("never_past")
    log = write_log(directory / "logs", records=20, segments=3)
    rng, lock = random.Random(seed), threading.Lock()
    poison = {seq for seq in range(1, 61) if rng.random() < 0.05}
    final: set[int] = set()
    past: list[set[int]] = []  # what is raised in a sink would only be tried again
    store = CursorStore(directory / "state")

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome]:
        with lock:
            cursor = store.load("fake", log.log)
            past.append(set(range(1, (cursor.seq if cursor else 0) + 1)) - final)
            outcomes = []
            for _, header in records:
                assert header is not None
                outcome = quarantined("refused") if header.seq in poison else INDEXED
                outcomes.append(BUSY if rng.random() < share else outcome)
        return outcomes

    class Remembering(FakeSink):
        def deliver(self, records: Sequence[Shipment]) -> list[DeliveryOutcome]:
            outcomes = super().deliver(records)
            with lock:
                final.update(
                    shipment.header.seq
                    for shipment, outcome in zip(records, outcomes, strict=True)
                    if outcome.final and shipment.header
                )
            return outcomes

    sink = Remembering(answer=answer, max_in_flight=3)
    summary = service(directory / "logs", sink, directory / "state", records=batch).run_once()
    assert summary.complete
    assert set(map(len, past)) == {0}
    assert (summary.shipped, summary.quarantined) == (60 - len(poison), len(poison))
    assert {seq for _, seq in sink.stored} == set(range(1, 61)) - poison
    cursor = store.load("fake", log.log)
    assert cursor is not None
    assert cursor.seq == 60
    path = directory / "state" / "quarantine" / "fake.ndjson"
    entered = [orjson.loads(x)["seq"] for x in path.read_bytes().splitlines()] if poison else []
    assert sorted(entered) == sorted(poison)


def test_lines_that_are_no_records_and_alarms_go_to_quarantine_and_the_rest_on(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path / "logs", records=3)
    lines = log.lines
    changed = lines[1].replace(b"alice", b"mallo")
    log.active.write_bytes(lines[0] + b"\xffjunk\n" + changed + lines[2])
    sink = FakeSink()
    shipping = service(tmp_path / "logs", sink, tmp_path / "state")
    summary = shipping.run_once()
    assert (summary.shipped, summary.quarantined) == (3, 1)
    assert [line for _, line in sorted(sink.stored.items())] == [lines[0], changed, lines[2]]
    path = tmp_path / "state" / "quarantine" / "fake.ndjson"
    entries = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [(e["kind"], e["reason"].partition(":")[0]) for e in entries] == [
        ("chain_break", "not_a_record"),
        ("chain_break", "hash_mismatch"),
        ("not_a_record", "the line is not a record of this log"),
    ]
    assert entries[2]["line_base64"] == "/2p1bmsK"
    assert shipping.stats().totals.chain_breaks == 2
    assert shipping.run_once().logs[0].written == 0


def test_a_quarantine_that_cannot_be_written_blocks_and_skips_nothing(
    tmp_path: Path, running: Callable[..., object]
) -> None:
    write_log(tmp_path / "logs", records=10)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "quarantine").write_text("in the way")

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome]:
        return [
            quarantined("refused") if header and header.seq == 4 else INDEXED
            for _, header in records
        ]

    sink = FakeSink(answer=answer)
    shipping = service(tmp_path / "logs", sink, tmp_path / "state")
    running(shipping)
    eventually(lambda: sink.deliveries > 3)
    eventually(lambda: "quarantine cannot be written" in shipping.stats().logs[0].trouble)
    assert shipping.stats().logs[0].acknowledged_seq == 3
    (tmp_path / "state" / "quarantine").unlink()
    eventually(lambda: shipping.stats().logs[0].acknowledged_seq == 10)
    assert shipping.stats().totals.quarantined == 1


def test_an_alarm_that_cannot_be_entered_blocks_its_record(
    tmp_path: Path, running: Callable[..., object]
) -> None:
    log = write_log(tmp_path / "logs", records=3)
    log.active.write_bytes(log.active.read_bytes().replace(b"alice", b"mallo", 1))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "quarantine").write_text("in the way")
    sink = FakeSink()
    shipping = service(tmp_path / "logs", sink, tmp_path / "state")
    running(shipping)
    eventually(lambda: shipping.stats().logs and shipping.stats().logs[0].retries > 5)
    assert sink.stored == {}
    (tmp_path / "state" / "quarantine").unlink()
    eventually(lambda: shipping.stats().logs[0].acknowledged_seq == 3)
    assert shipping.stats().totals.chain_breaks == 1
    assert b"hash_mismatch" in (tmp_path / "state" / "quarantine" / "fake.ndjson").read_bytes()


def test_a_log_that_failed_is_tried_with_one_batch_at_a_time(
    tmp_path: Path, running: Callable[..., object]
) -> None:
    write_log(tmp_path / "logs", records=300)
    lock, active, most = threading.Lock(), [0], [0]

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome]:
        with lock:
            active[0] += 1
            if sink.deliveries > 20:
                most[0] = max(most[0], active[0])
        time.sleep(0.001)  # long enough for another delivery to overlap, were there one
        with lock:
            active[0] -= 1
        return [BUSY] * len(records)

    sink = FakeSink(answer=answer, max_in_flight=3)
    running(service(tmp_path / "logs", sink, tmp_path / "state", records=10))
    eventually(lambda: sink.deliveries > 60)
    assert most == [1]


def test_a_sink_that_raises_is_retried_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = write_log(tmp_path / "logs", records=10)
    failures = [RuntimeError("a mistake"), RuntimeError("another")]

    def answer(_: Sequence[Shipment]) -> None:
        if failures:
            raise failures.pop()

    sink = FakeSink(answer=answer)
    assert service(tmp_path / "logs", sink, tmp_path / "state").run_once().shipped == 10
    assert sink.stored == keys(log)
    assert "raised while delivering" in caplog.text


def test_a_log_that_cannot_be_read_does_not_hold_up_the_others_and_recovers(
    tmp_path: Path, running: Callable[..., object]
) -> None:
    damaged = write_log(tmp_path / "logs", "rbee-hive@gpu1", records=10, segments=2)
    well = write_log(tmp_path / "logs", records=10)
    packed = damaged.compress(0)
    content = packed.read_bytes()
    packed.write_bytes(content[:-30])
    packed.write_bytes(content[:40] + bytes([content[40] ^ 255]) + content[41:])
    sink = FakeSink()
    shipping = service(tmp_path / "logs", sink, tmp_path / "state")
    summary = shipping.run_once()
    assert not summary.complete
    assert {log.log: bool(log.trouble) for log in summary.logs} == {
        damaged.log: True,
        well.log: False,
    }
    assert sink.stored == keys(well)
    running(shipping)
    packed.write_bytes(content)
    eventually(lambda: len(sink.stored) == 30)


def test_a_damaged_cursor_costs_a_re_read_and_no_record(tmp_path: Path) -> None:
    log = write_log(tmp_path / "logs", records=10)
    sink = FakeSink()
    service(tmp_path / "logs", sink, tmp_path / "state").run_once()
    for path in (tmp_path / "state" / "cursors").rglob("*.cursor*"):
        path.write_bytes(b"garbage")
    log.append(5)
    summary = service(tmp_path / "logs", sink, tmp_path / "state").run_once()
    assert (summary.shipped, summary.duplicates) == (5, 10)
    assert sink.stored == keys(log)


def test_batches_stay_in_order_within_a_log_when_the_first_is_slow(tmp_path: Path) -> None:
    log = write_log(tmp_path / "logs", records=100)
    second_done, first = threading.Event(), [True]
    found: list[tuple[bool, object]] = []  # what is raised in a sink would only be tried again

    def answer(records: Sequence[Shipment]) -> None:
        header = records[0].header
        if header and header.seq == 1 and first:
            first.clear()
            others = second_done.wait(60)
            found.append((others, CursorStore(tmp_path / "state").load("fake", log.log)))
        else:
            second_done.set()

    sink = FakeSink(answer=answer)
    summary = service(tmp_path / "logs", sink, tmp_path / "state", records=10).run_once()
    assert summary.shipped == 100
    assert found == [(True, None)]


def test_a_cut_in_the_middle_of_delivery_is_resumed_from_the_files_alone(tmp_path: Path) -> None:
    """rewind: reading again from the position gives what was not passed, and counts it once"""
    log = write_log(tmp_path / "logs", records=50)
    sink = FakeSink()
    before = 0
    for stop_after in (7, 23, 50):
        seen: list[int] = []
        stop = threading.Event()

        def answer(
            records: Sequence[Shipment],
            limit: int = stop_after,
            seen: list[int] = seen,
            stop: threading.Event = stop,
        ) -> list[DeliveryOutcome]:
            if len(sink.stored) == limit:
                stop.set()
            seqs = [header.seq for _, header in records if header]
            seen.extend(seqs)
            return [INDEXED if seq <= limit else BUSY for seq in seqs]

        sink.answer = answer
        shipping = service(tmp_path / "logs", sink, tmp_path / "state", records=10)
        assert shipping.run_once(stop).complete == (stop_after == 50)
        assert min(seen) == before + 1
        before = stop_after
        cursor = CursorStore(tmp_path / "state").load("fake", log.log)
        assert cursor is not None
        assert cursor.seq == stop_after
    assert sink.stored == keys(log)
    assert all(parse_header(line) for line in sink.stored.values())


def test_a_delivery_has_ended_when_it_says_so(tmp_path: Path) -> None:
    """A caller that waits for the end is not woken while the delivery still runs."""
    write_log(tmp_path / "logs", records=3)
    source = LogDirectories([tmp_path / "logs"])
    seen: list[bool] = []
    delivery = Delivery(
        FakeSink(),
        tmp_path / "state",
        DeliveryOptions(),
        [source],
        drain=True,
        on_end=lambda: seen.append(delivery.ended),
    )
    for sighting in source.look(None, strict=True):
        delivery.sighted(source.name, sighting)
    assert not delivery.ended
    delivery.start()
    assert delivery.join(60)
    assert seen == [True]
