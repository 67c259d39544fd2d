from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from auditlog import durable_fs
from shippers.errors import QuarantineDamaged
from shippers.item import Document, Shipment
from shippers.outcome import (
    INDEXED,
    DeliveryOutcome,
    quarantined,
    retry,
    tampered,
    unverified_duplicate,
)
from shippers.quarantine.retry import retry_entries
from shippers.quarantine.store import Entry, Quarantine, lock_file, read_entries
from tests.support.copies import Copy
from tests.support.shipments import FakeSink, shipments
from tests.support.waiting import eventually

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
LOG = "queen-rbee@hive1"
SEGMENT = f"{LOG}.2026-11-23.0001.ndjson"
RECORDS = shipments(6)
DOCUMENT = Document("app", "abc", "2026-11-23T00:00:00Z", b'{"message":"x"}\n')
BRIEF = dt.timedelta(seconds=0.2)


def entry(record: Shipment, kind: str = "refused") -> Entry:
    assert record.header is not None
    seq = record.header.seq
    return Entry(
        kind, "refused", record.header.log, SEGMENT, seq * 100, seq, 400, "field [x]", record.line
    )


ALARM = Entry("chain_break", "seq_gap: records are missing", LOG, SEGMENT, 7)
STRANGE = Entry("not_a_record", "no record", LOG, SEGMENT, 9, line=b"\xff\xfe\n")


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    made = Quarantine(tmp_path, "main")
    made.add([*(entry(record) for record in RECORDS), ALARM, STRANGE], NOW)
    made.add([Entry("refused", "no", "app", "", 0, line=DOCUMENT.line, document=DOCUMENT)], NOW)
    return made


def left(quarantine: Quarantine) -> list[tuple[str, int | None]]:
    return [(e.fields["kind"], e.fields["seq"]) for e in read_entries(quarantine.path)]


STAYS = [("chain_break", None), ("not_a_record", None)]


def test_what_arrives_is_taken_out_and_only_that(quarantine: Quarantine) -> None:
    sink = FakeSink()
    result = retry_entries(quarantine.path, sink)
    assert (result.delivered, result.complete) == (7, True)
    assert left(quarantine) == STAYS
    assert list(sink.stored.values()) == [record.line for record in RECORDS]
    assert list(sink.documents.values()) == [DOCUMENT]


def test_kept(quarantine: Quarantine) -> None:
    """kept: alarms, what is still refused and what was entered meanwhile stay as they are"""
    before = {e.id: e.fields for e in read_entries(quarantine.path)}
    later = shipments(1, "rbee-hive@gpu1")[0]

    def answer(records: Sequence[Shipment]) -> list[DeliveryOutcome]:
        quarantine.add([entry(later)], NOW)
        return [INDEXED, quarantined("still no", 400), INDEXED, retry("busy"), INDEXED, INDEXED][
            : len(records)
        ]

    calls = [answer]
    sink = FakeSink(answer=lambda records: calls.pop()(records) if calls else [retry("b")])
    result = retry_entries(quarantine.path, sink, give_up_after=BRIEF)
    assert result.delivered == 5
    assert [reason for _, reason in result.refused] == ["still no"]
    assert [e.fields["seq"] for e, _ in result.waiting] == [4]
    after = list(read_entries(quarantine.path))
    assert [e.fields["seq"] for e in after] == [2, 4, None, None, 1]
    assert all(before[e.id] == e.fields for e in after[:-1])
    assert quarantine.path.stat().st_mode & 0o777 == 0o600


def test_an_alarm_of_tampering_is_cleared_only_by_who_can_compare(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([entry(RECORDS[0], "tampered")], NOW)
    for outcome in (unverified_duplicate(403), tampered("f" * 64)):
        result = retry_entries(quarantine.path, FakeSink(answer=lambda _, o=outcome: [o]))
        assert (result.delivered, len(result.refused)) == (0, 1)
    assert retry_entries(quarantine.path, FakeSink()).delivered == 1


def test_a_refused_record_stays_while_the_sink_may_have_another_hosts_under_its_id(
    tmp_path: Path,
) -> None:
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([entry(RECORDS[0], "refused")], NOW)
    sink = FakeSink(answer=lambda _: [unverified_duplicate(403)])
    result = retry_entries(quarantine.path, sink)
    assert (result.delivered, len(result.refused)) == (0, 1)
    assert [one.fields["kind"] for one in read_entries(quarantine.path)] == ["refused"]


def test_only_what_is_wanted_is_tried(quarantine: Quarantine) -> None:
    third = next(e.id for e in read_entries(quarantine.path) if e.fields["seq"] == 3)
    sink = FakeSink()
    assert retry_entries(quarantine.path, sink, lambda e: e.id == third).delivered == 1
    assert [seq for _, seq in sink.stored] == [3]
    assert ("refused", 3) not in left(quarantine)


def test_nothing_in_quarantine_is_nothing_to_do(tmp_path: Path) -> None:
    assert retry_entries(tmp_path / "none.ndjson", FakeSink()).complete
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_is_no_entry_is_named_before_anything_is_changed(
    quarantine: Quarantine,
) -> None:
    with quarantine.path.open("ab") as file:
        file.write(b"nonsense\n")
    before = quarantine.path.read_bytes()
    with pytest.raises(QuarantineDamaged):
        retry_entries(quarantine.path, FakeSink())
    assert quarantine.path.read_bytes() == before


def test_a_shipper_that_writes_and_a_release_never_lose_each_others_work(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, "main")
    entered = shipments(300)
    sink = FakeSink()

    def enter() -> None:
        for record in entered:
            eventually(lambda record=record: add(record), "the file is free")

    def add(record: Shipment) -> bool:
        try:
            quarantine.add([entry(record)], NOW)
        except durable_fs.Locked:
            return False
        return True

    writer = threading.Thread(target=enter)
    writer.start()
    while writer.is_alive():
        retry_entries(quarantine.path, sink)
    writer.join()
    retry_entries(quarantine.path, sink)
    assert sorted(seq for _, seq in sink.stored) == list(range(1, 301))
    assert left(quarantine) == []


def test_while_the_file_is_replaced_a_shipper_is_told_to_try_again(quarantine: Quarantine) -> None:
    lock = lock_file(quarantine.path)
    with pytest.raises(OSError, match="unavailable"):
        quarantine.add([entry(shipments(1, "rbee-hive@gpu1")[0])], NOW)
    lock.release()
    assert quarantine.add([entry(shipments(1, "rbee-hive@gpu1")[0])], NOW) == 1


CHILD = """
import sys
from pathlib import Path
from shippers.quarantine.retry import retry_entries
from shippers.sinks.sqlite.sink import SqliteSink
sink = SqliteSink("main", sys.argv[2])
print("go", flush=True)
print(retry_entries(Path(sys.argv[1]), sink).delivered, flush=True)
"""


def test_no_loss(tmp_path: Path) -> None:
    """no_loss, no_double: killed anywhere, every record is in the file or in the sink"""
    quarantine = Quarantine(tmp_path, "main")
    records = shipments(3000)
    quarantine.add([entry(record) for record in records], NOW)
    copy = Copy(str(tmp_path / "records.sqlite"))
    copy.sink().close()
    command = [sys.executable, "-c", CHILD, str(quarantine.path), copy.place]
    for pause in (0.0, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        held = {e.fields["seq"] for e in read_entries(quarantine.path)}
        arrived = {int(name.rpartition(":")[2]) for name in copy.lines()}
        assert held | arrived == set(range(1, 3001)), pause
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert left(quarantine) == []
    assert sorted(copy.lines().values()) == sorted(record.line for record in records)


def test_no_double(quarantine: Quarantine) -> None:
    """no_double: what the sink has is delivered again without a second copy"""
    sink = FakeSink()
    sink.deliver(RECORDS[:3])
    assert retry_entries(quarantine.path, sink).delivered == 7
    assert len(sink.stored) == 6
    assert left(quarantine) == STAYS
