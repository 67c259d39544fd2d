from __future__ import annotations

import datetime as dt
import errno
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditlog.cursors import Cursor, CursorStore
from auditlog.format.segment_names import SegmentName
from shippers.errors import QuarantineDamaged
from shippers.item import Document
from shippers.quarantine.store import Entry, Quarantine
from tests.support.durable_steps import note_steps

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
LOG = "queen-rbee@hive1"
SEGMENT = f"{LOG}.2026-11-23.0001.ndjson"
NOWHERE = (None, 0)


def entry(offset: int, **changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "kind": "refused",
        "reason": "the document was refused",
        "log": LOG,
        "segment": SEGMENT,
        "offset": offset,
        "seq": offset,
        "status": 400,
        "server_message": "failed to parse",
        "line": b'{"seq":%d}\n' % offset,
    }
    return Entry(**{**fields, **changes})


def entries(quarantine: Quarantine) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in quarantine.path.read_bytes().splitlines()]


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    """No file may grow beyond 1,000 bytes: the next write is cut short, the one after EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_size_is_that_of_the_file_whoever_changed_it(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, "main")
    assert quarantine.size() == (0, 0)
    quarantine.add([entry(1), entry(2)], NOW)
    assert quarantine.size() == (2, quarantine.path.stat().st_size)
    quarantine.path.write_bytes(quarantine.path.read_bytes().splitlines(keepends=True)[0])
    assert quarantine.size() == (1, quarantine.path.stat().st_size)


def test_nothing_is_entered_once_it_is_closed(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([entry(1)], NOW)
    quarantine.close()
    with pytest.raises(OSError, match="shipping was stopped"):
        quarantine.add([entry(2)], NOW)
    assert len(entries(quarantine)) == 1


def test_an_entry_and_the_files_name_are_synced_before_add_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = note_steps(monkeypatch, "create_exclusive", "fsync_directory", "write_all", "fsync")
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([entry(1)], NOW)
    assert steps[-4:] == ["create_exclusive", "fsync_directory", "write_all", "fsync"]
    steps.clear()
    quarantine.add([entry(2)], NOW)
    assert steps == ["write_all", "fsync"]


def test_durable(tmp_path: Path) -> None:
    """durable: what add returned from is in the file, whole"""
    quarantine = Quarantine(tmp_path, "main")
    assert quarantine.add([entry(1), entry(2, line=b"\xff\n", seq=None)], NOW) == 2
    first, second = entries(quarantine)
    assert first == {
        "v": 1,
        "at": "2026-11-23T12:00:00.000000Z",
        "sink": "main",
        "kind": "refused",
        "reason": "the document was refused",
        "status": 400,
        "server_message": "failed to parse",
        "log": LOG,
        "segment": SEGMENT,
        "offset": 1,
        "seq": 1,
        "line": '{"seq":1}\n',
    }
    assert second["line_base64"] == "/wo="
    assert quarantine.path.stat().st_mode & 0o777 == 0o600


def test_once(tmp_path: Path) -> None:
    """once: the same place is entered once, over restarts as well"""
    quarantine = Quarantine(tmp_path, "main")
    assert quarantine.add([entry(1), entry(1)], NOW) == 1
    assert quarantine.add([entry(1), entry(2)], NOW) == 1
    again = Quarantine(tmp_path, "main")
    assert again.recall(CursorStore(tmp_path)) == 2
    assert again.add([entry(1), entry(2), entry(3)], NOW) == 1
    assert [e["offset"] for e in entries(again)] == [1, 2, 3]


def test_an_alarm_and_a_record_at_one_place_are_two_entries(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, "main")
    alarms = [
        entry(1, kind="chain_break", reason=reason, line=None)
        for reason in ("hash_mismatch", "seq_gap")
    ]
    assert quarantine.add([entry(1), *alarms], NOW) == 3


def test_what_the_cursor_has_passed_is_not_remembered(tmp_path: Path) -> None:
    name = SegmentName.parse(SEGMENT)
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([entry(n) for n in range(10)], NOW)
    quarantine.forget(LOG, name, 8)
    assert {place[1] for place in quarantine._known[LOG]} == {8, 9}
    again = Quarantine(tmp_path, "main")
    cursors = CursorStore(tmp_path)
    cursors.save("main", Cursor(LOG, SEGMENT, 9, 3, "f" * 64, NOW))
    assert again.recall(cursors) == 10
    assert {place[1] for place in again._known[LOG]} == {9}


@pytest.mark.parametrize("cut", [1, 50, -1])
def test_torn(tmp_path: Path, cut: int) -> None:
    """torn: a torn entry left by a crash is cut, and nothing behind it is lost"""
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([entry(1)], NOW)
    whole = quarantine.path.read_bytes()
    quarantine.add([entry(2)], NOW)
    torn = quarantine.path.read_bytes()[len(whole) :][:cut]
    quarantine.path.write_bytes(whole + torn)
    again = Quarantine(tmp_path, "main")
    assert again.recall(CursorStore(tmp_path)) == 1
    again.add([entry(2), entry(3)], NOW)
    assert [e["offset"] for e in entries(again)] == [1, 2, 3]


def test_a_failed_write_is_raised_and_leaves_no_half_entry(
    tmp_path: Path, file_size_limit: None
) -> None:
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([entry(0), entry(1)], NOW)
    with pytest.raises(OSError, match="File too large") as raised:
        quarantine.add([entry(2), entry(3)], NOW)
    assert raised.value.errno == errno.EFBIG
    with pytest.raises(OSError, match="File too large"):
        quarantine.add([entry(2), entry(3)], NOW)
    resource.setrlimit(
        resource.RLIMIT_FSIZE,
        (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]),
    )
    assert quarantine.add([entry(2), entry(3)], NOW) == 2
    assert [e["offset"] for e in entries(quarantine)] == [0, 1, 2, 3]


def test_a_file_that_others_emptied_gets_no_zeros(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([entry(1)], NOW)
    quarantine.path.write_bytes(b"")
    quarantine.add([entry(2)], NOW)
    assert [fields["offset"] for fields in entries(quarantine)] == [2]
    assert Quarantine(tmp_path, "main").recall(CursorStore(tmp_path)) == 1


@pytest.mark.parametrize("line", [b"nonsense\n", b"{}\n", b"[1]\n", b'{"segment":1}\n'])
def test_a_line_that_is_no_entry_is_named_and_left_alone(tmp_path: Path, line: bytes) -> None:
    quarantine = Quarantine(tmp_path, "main")
    quarantine.add([entry(1)], NOW)
    before = quarantine.path.read_bytes()
    quarantine.path.write_bytes(before + line)
    with pytest.raises(QuarantineDamaged) as damage:
        Quarantine(tmp_path, "main").recall(CursorStore(tmp_path))
    assert (damage.value.path, damage.value.offset) == (quarantine.path, len(before))
    assert quarantine.path.read_bytes() == before + line


def test_a_message_that_is_no_valid_text_is_entered_all_the_same(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, "main")
    assert quarantine.add([entry(1, server_message="bad \ud800 text")], NOW) == 1
    assert entries(quarantine)[0]["server_message"] == "bad ? text"


def test_a_document_is_entered_once_by_its_id_over_restarts_as_well(tmp_path: Path) -> None:
    documents = [
        Document("app", f"id{n}", "2026-11-23T07:12:00.000000Z", b'{"n":%d}\n' % n)
        for n in range(2)
    ]
    entries = [
        Entry("refused", "no", "app", "", 0, line=document.line, document=document)
        for document in documents
    ]
    quarantine = Quarantine(tmp_path, "main")
    assert quarantine.add(entries[:1], NOW) == 1
    assert quarantine.add(entries, NOW) == 1
    again = Quarantine(tmp_path, "main")
    assert again.recall(CursorStore(tmp_path)) == 2
    assert again.add(entries, NOW) == 0
    found = [orjson.loads(line) for line in again.path.read_bytes().splitlines()]
    assert [(entry["document"]["id"], entry["line"]) for entry in found] == [
        ("id0", '{"n":0}\n'),
        ("id1", '{"n":1}\n'),
    ]
