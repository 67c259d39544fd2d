from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditlog.cursors import CursorStore, SourceCursor
from shippers.backoff import Backoff
from shippers.delivery import DeliveryOptions
from shippers.service import ShippingOptions, ShippingService
from shippers.sources.journald.options import JournaldOptions
from shippers.sources.journald.source import JournaldSource
from tests.support.journal import UNIT, Journal, need_journal
from tests.support.shipments import FakeSink
from tests.support.waiting import eventually

Start = Callable[[ShippingService], Any]

pytestmark = pytest.mark.usefixtures("_journal_needed")


@pytest.fixture(scope="module")
def _journal_needed() -> None:
    need_journal()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def service(journal: Journal, sink: FakeSink, state: Path, **options: Any) -> ShippingService:
    fields = {"name": "journal", "units": (UNIT,), "directory": journal.directory, **options}
    delivery = DeliveryOptions(
        batch_records=7,
        save_interval=dt.timedelta(milliseconds=1),
        backoff=Backoff(dt.timedelta(milliseconds=10), dt.timedelta(milliseconds=50)),
    )
    source = JournaldSource(JournaldOptions(**fields))
    return ShippingService([], [sink], state, ShippingOptions(delivery=delivery), sources=[source])


def found(sink: FakeSink) -> list[Any]:
    documents = [orjson.loads(document.line) for document in list(sink.documents.values())]
    return sorted(documents, key=lambda document: document["@timestamp"])


def texts(sink: FakeSink) -> list[str]:
    return [document["message"] for document in found(sink)]


def expected(first: int, last: int) -> list[str]:
    return [f"entry {n}" for n in range(first, last + 1)]


def children() -> list[int]:
    """The journalctl processes that are children of this one, zombies included."""
    return [
        int(status.parent.name)
        for status in Path("/proc").glob("[0-9]*/status")
        if (text := _read(status))
        and "Name:\tjournalctl" in text
        and f"PPid:\t{os.getpid()}\n" in text
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_resumes(journal: Journal, tmp_path: Path) -> None:
    """resumes: from any cursor exactly the entries behind it follow"""
    journal.add(10)
    sink = FakeSink()
    assert service(journal, sink, tmp_path / "state").run_once().shipped == 10
    store = CursorStore(tmp_path / "state")
    for number, document in enumerate(found(sink), 1):
        place = {"cursor": document["journald"]["cursor"]}
        now = dt.datetime.now(dt.UTC)
        store.save_source("fake", SourceCursor("journald", "journal", place, now))
        again = FakeSink()
        summary = service(journal, again, tmp_path / "state").run_once()
        assert texts(again) == expected(number + 1, 10)
        assert summary.logs[0].restarts == 0
    journal.rotate()
    journal.add(3)
    assert service(journal, sink, tmp_path / "state").run_once().shipped == 3
    assert texts(sink) == expected(1, 13)
    assert not children()


def test_it_follows_the_journal_through_rotation_and_vacuum(
    journal: Journal, tmp_path: Path, running: Start
) -> None:
    journal.add(3)
    sink = FakeSink()
    live = running(service(journal, sink, tmp_path / "state"))
    eventually(lambda: texts(sink) == expected(1, 3))
    journal.add(3)
    eventually(lambda: texts(sink) == expected(1, 6))
    journal.rotate()
    journal.add(3)
    journal.vacuum()
    eventually(lambda: texts(sink) == expected(1, 9))
    journal.add(1)
    eventually(lambda: texts(sink) == expected(1, 10))
    live.stop()
    assert not children()


@pytest.mark.parametrize("damage", ["vacuumed", "nonsense"])
def test_cursor_lost(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """cursor_lost: a cursor whose entry is gone is said, counted, and costs no entry"""
    journal.add(5)
    sink = FakeSink()
    service(journal, sink, tmp_path / "state").run_once()
    journal.rotate()
    journal.add(4)
    if damage == "vacuumed":
        journal.vacuum()
    else:
        now = dt.datetime.now(dt.UTC)
        CursorStore(tmp_path / "state").save_source(
            "fake", SourceCursor("journald", "journal", {"cursor": "nonsense"}, now)
        )
    summary = service(journal, sink, tmp_path / "state", since="2100-01-01").run_once()
    assert texts(sink) == expected(1, 9)
    assert summary.shipped == 4
    assert summary.logs[0].restarts == 1
    assert "it is read from its oldest one" in caplog.text
    assert service(journal, sink, tmp_path / "state").run_once().logs[0].written == 0


@pytest.mark.parametrize("kind", ["in the middle", "cut"])
def test_damaged(
    journal: Journal,
    tmp_path: Path,
    running: Start,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """damaged: a file that is damaged, and of which journalctl leaves entries out, is named"""
    journal.add(200)
    damaged = journal.active
    if kind == "cut":
        os.truncate(damaged, damaged.stat().st_size // 2)
    else:
        journal.damage(100)
    journal.rotate()
    journal.add(3)
    sink = FakeSink()
    shipping = service(journal, sink, tmp_path / "state")
    live = running(shipping)
    eventually(lambda: "entry 203" in texts(sink), "the files beside it are shipped")
    eventually(lambda: str(damaged) in shipping.stats().logs[0].unreadable)
    journal.add(1)
    eventually(lambda: "entry 204" in texts(sink), "and go on")
    [stats] = shipping.stats().logs
    assert str(damaged) in stats.trouble
    assert f"journalctl --verify --file={damaged}" in caplog.text
    assert "entry 150" not in texts(sink)
    damaged.unlink()
    eventually(lambda: not shipping.stats().logs[0].unreadable, "it is over with the file")
    live.stop()
    whole = service(journal, FakeSink(), tmp_path / "anew")
    assert whole.run_once().complete


def test_once_says_what_a_damaged_file_left_out(journal: Journal, tmp_path: Path) -> None:
    journal.add(200)
    journal.damage(100)
    summary = service(journal, FakeSink(), tmp_path / "state").run_once()
    assert not summary.complete
    assert "entries are left out" in summary.logs[0].unreadable


def test_no_zombie(journal: Journal, tmp_path: Path, running: Start) -> None:
    """no_zombie: no child outlives its reader; one that is killed is replaced and reaped"""
    journal.add(3)
    sink = FakeSink()
    shipping = service(journal, sink, tmp_path / "state")
    live = running(shipping)
    eventually(lambda: texts(sink) == expected(1, 3))
    for kill in range(1, 4):
        (child,) = children()
        os.kill(child, signal.SIGKILL)
        journal.add(1)
        eventually(lambda k=kill: texts(sink) == expected(1, 3 + k))
        eventually(lambda c=child: c not in children(), "it is reaped")
        eventually(lambda: len(children()) == 1, "another one follows")
    assert shipping.stats().logs[0].restarts >= 3
    assert shipping.stats().totals.duplicate == 0
    live.stop()
    assert not children()


def test_half_an_entry_of_a_journalctl_that_was_killed_is_read_again_whole(
    journal: Journal, tmp_path: Path, running: Start
) -> None:
    journal.add(3)
    command = ["journalctl", f"--directory={journal.directory}", "--output=json"]
    entries = subprocess.run(command, capture_output=True, check=True).stdout
    (tmp_path / "beginning").write_bytes(entries[:-10])
    program = tmp_path / "journalctl"
    program.write_text(
        f"""#!/bin/sh
        if mkdir {tmp_path}/killed 2>/dev/null; then
            cat {tmp_path}/beginning
            kill -KILL $$
        fi
        exec journalctl "$@"
        """
    )
    program.chmod(0o700)
    sink = FakeSink()
    live = running(service(journal, sink, tmp_path / "state", program=str(program)))
    eventually(lambda: len(sink.documents) == 3)
    live.stop()
    assert texts(sink) == expected(1, 3)


def test_a_backlog_does_not_linger(tmp_path: Path, running: Start) -> None:
    entry = '{"__CURSOR":"%d","__REALTIME_TIMESTAMP":"%d","MESSAGE":"%s"}\n'
    entries = "".join(entry % (n, n, "x" * 60_000) for n in range(300))
    (tmp_path / "entries").write_text(entries)
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\nexec tail --lines=+1 --follow {tmp_path}/entries\n")
    program.chmod(0o700)
    sink = FakeSink()
    source = JournaldSource(JournaldOptions("journal", (UNIT,), program=str(program)))
    delivery = DeliveryOptions(linger=dt.timedelta(hours=1))
    options = ShippingOptions(delivery=delivery)
    running(ShippingService([], [sink], tmp_path / "state", options, sources=[source]))
    # 18 MB, of which at most the 4 MiB that are read ahead wait for more.
    eventually(lambda: len(sink.documents) > 200)


FOLLOW = """
import json, sys, threading
from pathlib import Path
from shippers.service import ShippingService
from shippers.sinks.sqlite.sink import SqliteSink
from shippers.sources.journald.source import JournaldSource
from shippers.sources.journald.options import JournaldOptions

work = Path(sys.argv[1])
source = JournaldSource(JournaldOptions("journal", (sys.argv[2],), work / "journal"))
sink = SqliteSink("main", work / "r.sqlite")
ShippingService([], [sink], work / "state", sources=[source]).run(threading.Event())
"""


def test_journalctl_ends_with_a_shipper_that_is_killed(journal: Journal, tmp_path: Path) -> None:
    import sqlite3

    from shippers.sinks.sqlite.sink import SqliteSink

    SqliteSink("main", tmp_path / "r.sqlite").close()
    journal.add(3)

    def stored() -> list[str]:
        connection = sqlite3.connect(tmp_path / "r.sqlite")
        rows = connection.execute("SELECT line FROM documents ORDER BY at").fetchall()
        connection.close()
        return [json.loads(line)["message"] for (line,) in rows]

    def reading() -> list[Path]:
        return [
            line
            for line in Path("/proc").glob("[0-9]*/cmdline")
            if str(journal.directory) in (text := _read(line)) and text.startswith("journalctl")
        ]

    for last in (3, 5):
        shipper = subprocess.Popen([sys.executable, "-c", FOLLOW, tmp_path, UNIT])
        eventually(lambda n=last: stored() == expected(1, n))
        assert reading()
        shipper.kill()
        shipper.wait()
        eventually(lambda: not reading(), "journalctl has ended as well")
        journal.add(2)


def test_only_the_units_that_are_asked_for_and_only_since_then(
    journal: Journal, tmp_path: Path
) -> None:
    journal.add(2)
    journal.add(1, _SYSTEMD_UNIT="sshd.service")
    journal.add(1, _SYSTEMD_UNIT="rbee-hive.service")
    sink = FakeSink()
    service(journal, sink, tmp_path / "state", units=(UNIT, "rbee-hive.service")).run_once()
    assert texts(sink) == ["entry 1", "entry 2", "entry 4"]
    at = dt.datetime.fromisoformat(found(sink)[1]["@timestamp"]).timestamp()
    later = FakeSink()
    service(journal, later, tmp_path / "later", since=f"@{int(at)}").run_once()
    assert texts(later) == ["entry 2"]


def test_fields_are_mapped_whatever_they_hold(journal: Journal, tmp_path: Path) -> None:
    journal.add(1, PRIORITY="3", _UID="1000", CODE_LINE="7", RBEE_POOL="a")
    journal.add(1, MESSAGE=b"\x1b[31mred\x1b[0m", BLOB=b"\xff\x00a", TAG=["one", "two"])
    journal.add(1, MESSAGE="x" * 100_000)
    sink = FakeSink()
    service(journal, sink, tmp_path / "state").run_once()
    plain, binary, large = found(sink)
    assert plain["log"]["level"] == "error"
    assert plain["log"]["syslog"]["severity"] == {"code": 3, "name": "error"}
    assert plain["log"]["origin"]["file"]["line"] == 7
    assert plain["process"]["pid"] == 4711
    assert plain["systemd"]["unit"] == UNIT
    assert plain["host"] == {
        "hostname": "hive1",
        "name": "hive1",
        "boot": {"id": "0123456789abcdef0123456789abcdef"},
    }
    assert plain["user"]["id"] == "1000"
    assert plain["journald"]["custom"] == {"rbee_pool": "a"}
    assert plain["@timestamp"].startswith("2026-11-18T")
    assert binary["message"] == "\x1b[31mred\x1b[0m"
    assert binary["journald"]["custom"] == {"blob": "\\xff\x00a", "tag": ["one", "two"]}
    assert large["message"] == "x" * 100_000


def test_a_slow_sink_holds_the_reader_back_and_loses_nothing(
    journal: Journal, tmp_path: Path
) -> None:
    journal.add(300, MESSAGE="y" * 60_000)
    sink = FakeSink()
    shipping = service(journal, sink, tmp_path / "state")
    ahead: list[int] = []

    def answer(documents: Any) -> None:
        ahead.append(shipping.stats().logs[0].lag_bytes)

    sink.answer_documents = answer
    assert shipping.run_once().shipped == 300
    assert max(ahead) < 5 << 20


@pytest.mark.parametrize("trouble", ["no directory", "no program"])
def test_a_journal_that_cannot_be_read_is_said_and_waited_for(
    journal: Journal, tmp_path: Path, running: Start, trouble: str
) -> None:
    sink = FakeSink()
    program = tmp_path / "journalctl"
    options = {"directory": tmp_path / "later"} if trouble == "no directory" else {}
    shipping = service(journal, sink, tmp_path / "state", **options, program=str(program))
    if trouble == "no directory":
        program.symlink_to("/usr/bin/journalctl")
    summary = shipping.run_once()
    assert not summary.complete
    assert "journal cannot be read" in summary.logs[0].trouble
    running(shipping)
    eventually(lambda: shipping.stats().logs and shipping.stats().logs[0].trouble)
    journal.add(2)
    if trouble == "no directory":
        journal.directory.rename(tmp_path / "later")
    else:
        program.symlink_to("/usr/bin/journalctl")
    eventually(lambda: texts(sink) == expected(1, 2))
    eventually(lambda: not shipping.stats().logs[0].trouble)
