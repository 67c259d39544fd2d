from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from auditlog.cursors import CursorStore
from shippers.errors import QuarantineDamaged
from shippers.quarantine.acknowledgement import acknowledge, acknowledged
from shippers.quarantine.retry import retry_entries
from shippers.quarantine.store import Entry, Quarantine, history_path, read_entries
from tests.support.shipments import FakeSink

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
LOG = "queen-rbee@hive1"
SEGMENT = f"{LOG}.2026-11-23.0001.ndjson"


def alarm(offset: int) -> Entry:
    return Entry("chain_break", "seq_gap: records are missing", LOG, SEGMENT, offset)


REFUSED = Entry("refused", "no", LOG, SEGMENT, 5, 1, 400, "field [x]", b'{"seq":1}\n')


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    made = Quarantine(tmp_path, "main")
    made.add([alarm(7), REFUSED, alarm(9)], NOW)
    return made


def ids(quarantine: Quarantine) -> list[str]:
    return [entry.id for entry in read_entries(quarantine.path)]


def answer(quarantine: Quarantine, *wanted: str) -> int:
    return len(acknowledge(quarantine.path, wanted, by="alice", reason="case 7", now=NOW))


def test_an_alarm_goes_and_is_kept_with_who_when_and_why(quarantine: Quarantine) -> None:
    first, second, third = ids(quarantine)
    before = next(iter(read_entries(quarantine.path))).fields
    assert answer(quarantine, first) == 1
    assert ids(quarantine) == [second, third]
    assert quarantine.size()[0] == 2
    (entry,) = acknowledged(quarantine.path)
    assert entry.id == first
    said = {"at": "2026-11-23T12:00:00.000000Z", "by": "alice", "reason": "case 7"}
    assert entry.fields == {**before, "acknowledged": said}
    assert answer(quarantine, third) == 1
    assert [entry.id for entry in acknowledged(quarantine.path)] == [first, third]


def test_alarms(quarantine: Quarantine) -> None:
    """alarms: a record that a sink refused is no alarm: it stays until it is delivered"""
    before = quarantine.path.read_bytes()
    assert answer(quarantine, ids(quarantine)[1]) == 0
    assert quarantine.path.read_bytes() == before
    assert list(acknowledged(quarantine.path)) == []


def test_an_alarm_that_is_met_again_is_none_after_a_restart_as_well(
    quarantine: Quarantine, tmp_path: Path
) -> None:
    answer(quarantine, *ids(quarantine))
    assert quarantine.add([alarm(7), alarm(9)], NOW) == 0
    again = Quarantine(tmp_path, "main")
    assert again.recall(CursorStore(tmp_path)) == 1
    assert again.add([alarm(7), alarm(9)], NOW) == 0
    assert again.add([alarm(11)], NOW) == 1, "another one is"


def test_retry_knows_nothing_of_it(quarantine: Quarantine) -> None:
    answer(quarantine, *ids(quarantine))
    sink = FakeSink()
    assert retry_entries(quarantine.path, sink).complete
    assert sink.deliveries == 0


@pytest.mark.parametrize(("by", "reason"), [("", "case 7"), ("alice", " ")])
def test_who_and_why_are_needed(quarantine: Quarantine, by: str, reason: str) -> None:
    before = quarantine.path.read_bytes()
    with pytest.raises(ValueError, match="who and why"):
        acknowledge(quarantine.path, ids(quarantine), by=by, reason=reason, now=NOW)
    assert quarantine.path.read_bytes() == before


@pytest.mark.parametrize("line", [b"nonsense\n", b"{}\n", b"[]\n"])
def test_a_history_that_is_none_is_named_before_anything_is_changed(
    quarantine: Quarantine, line: bytes
) -> None:
    answer(quarantine, ids(quarantine)[0])
    history = history_path(quarantine.path)
    before = history.read_bytes()
    history.write_bytes(before + line)
    with pytest.raises(QuarantineDamaged) as caught:
        answer(quarantine, *ids(quarantine))
    assert caught.value.offset == len(before)
    assert len(ids(quarantine)) == 2


def test_once(quarantine: Quarantine) -> None:
    """once: killed in between, the next run takes it out and does not enter it again"""
    content, wanted = quarantine.path.read_bytes(), ids(quarantine)[0]
    answer(quarantine, wanted)
    quarantine.path.write_bytes(content)  # as it is when nothing was taken out yet
    assert answer(quarantine, wanted) == 1
    assert wanted not in ids(quarantine)
    assert [entry.id for entry in acknowledged(quarantine.path)] == [wanted]


def test_an_answer_that_cannot_be_written_leaves_the_alarm_where_it_is(
    quarantine: Quarantine,
) -> None:
    """durable: an alarm leaves the quarantine when its acknowledgement is on disk, not before"""
    before = quarantine.path.read_bytes()
    history = history_path(quarantine.path)
    (history.parent / f".{history.name}.tmp").mkdir(parents=True)  # where it is written first
    with pytest.raises(OSError, match="Is a directory"):
        answer(quarantine, *ids(quarantine))
    assert quarantine.path.read_bytes() == before


CHILD = """
import datetime as dt, sys
from pathlib import Path
from shippers.quarantine.acknowledgement import acknowledge
from shippers.quarantine.store import read_entries
path = Path(sys.argv[1])
for entry in list(read_entries(path)):
    acknowledge(path, [entry.id], by="alice", reason="case 7", now=dt.datetime.now(dt.UTC))
    print("done", flush=True)
"""


def test_durable(tmp_path: Path) -> None:
    """durable: killed anywhere, every alarm is in the quarantine or acknowledged"""
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([alarm(offset) for offset in range(60)], NOW)
    everything = ids(quarantine)
    command = [sys.executable, "-c", CHILD, str(quarantine.path)]
    for answered in range(1, 6):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(answered):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        history = [entry.id for entry in acknowledged(quarantine.path)]
        assert len(history) == len(set(history)) >= answered
        assert {*history, *ids(quarantine)} == set(everything)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert ids(quarantine) == []
    assert sorted(entry.id for entry in acknowledged(quarantine.path)) == sorted(everything)
