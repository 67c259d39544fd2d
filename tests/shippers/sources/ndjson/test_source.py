from __future__ import annotations

import datetime as dt
import errno
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from auditlog.cursors import CursorStore
from shippers.service import ShippingOptions, ShippingService
from shippers.sources.ndjson.options import NdjsonOptions
from shippers.sources.ndjson.source import FileFeed
from tests.support.ndjson import App, messages, ndjson_service, ndjson_source
from tests.support.shipments import FakeSink
from tests.support.waiting import eventually

Start = Callable[[ShippingService], Any]
FIRST = b'{"program":"begins"}\n'


def found(sink: FakeSink) -> list[bytes]:
    return sorted(orjson.dumps(value) for value in messages(sink))


def lines_in(path: Path) -> tuple[list[bytes], bytes]:
    """Its whole lines, and what stands behind the last one."""
    content = path.read_bytes()
    *lines, tail = (gzip.decompress(content) if path.suffix == ".gz" else content).split(b"\n")
    return lines, tail


def held_open(directory: Path) -> list[Path]:
    """The files below the directory that this process has open, also removed ones."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = link.readlink()
        except FileNotFoundError:
            continue  # the descriptor of the listing itself, or another thread's
        if str(target).startswith(str(directory)):
            found.append(target)
    return found


steps = st.lists(
    st.sampled_from(
        ["write", "write", "many", "rename", "copytruncate", "compress", "recreate", "ship", "lost"]
    ),
    min_size=3,
    max_size=25,
)


@settings(max_examples=60)
@given(steps=steps)
@example(["recreate", "rename", "compress", "recreate", "write"])  # begins as one that is packed
def test_rotation(steps: list[str]) -> None:
    """rotation: every line is delivered, whatever becomes of its file, and has one document"""
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work)
        app, sink = App(directory / "logs"), FakeSink()
        written: set[bytes] = set()

        def ship() -> None:
            summary = ndjson_service(directory / "logs", sink, directory / "state").run_once()
            assert summary.complete

        for step in steps:
            if step in ("write", "many"):
                app.write(1 if step == "write" else 20)
            elif step == "recreate":
                ship()  # what is removed before anybody could read it is gone
                app.recreate(FIRST)
                written.add(FIRST.strip())
            elif step == "ship":
                ship()
            elif step == "lost":
                shutil.rmtree(directory / "state", ignore_errors=True)
            else:
                getattr(app, step)()
        ship()
        assert found(sink) == sorted({*app.lines, *written})
        before = sink.deliveries
        ship()
        assert sink.deliveries == before, "a second look delivers nothing"


@pytest.mark.parametrize("way", ["rename", "copytruncate", "gzip", "recreate"])
def test_rotation_while_it_runs(tmp_path: Path, running: Start, way: str) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    live = running(shipping)
    begins = {FIRST.strip()} if way == "recreate" else set()

    def delivered() -> bool:
        return found(sink) == sorted([*begins, *app.lines])

    app.recreate(FIRST if begins else b"")
    for round_ in range(6):
        app.write(30)
        if way == "recreate":
            eventually(delivered)  # what is removed before anybody could read it is gone
            app.recreate(FIRST)
        elif way == "gzip":
            app.rename()
            app.compress()
        else:
            getattr(app, way)()
        app.write(5)
        if round_ % 2:
            app.compress()
    eventually(delivered)
    app.write(1)
    eventually(delivered, "it goes on in the new file")
    live.stop()
    assert shipping.stats().totals.pending == 0
    assert (
        shipping.stats().logs[0].written
        == shipping.stats().totals.indexed + shipping.stats().totals.duplicate
    )


@pytest.mark.parametrize("way", ["rename", "copytruncate"])
def test_rotation_under_a_program_that_never_stops_writing(
    tmp_path: Path, running: Start, way: str
) -> None:
    """rotation: what stands in a file at the end is delivered, and nothing that was not written

    What copytruncate cuts off behind its copy stands nowhere; it may have been delivered.  A copy
    made in the middle of a write ends in half a line, which stands there and is delivered as that.
    """
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write()
    shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state", records=50)
    live = running(shipping)
    over = threading.Event()

    def program() -> None:
        while not over.wait(0.0005):
            app.write(3, text="x" * (len(app.lines) * 7 % 90))

    writing = threading.Thread(target=program)
    writing.start()
    for _ in range(25):
        before = len(app.lines)
        eventually(lambda before=before: len(app.lines) > before + 30)
        getattr(app, way)()
        app.compress()
    over.set()
    writing.join()
    files = [lines_in(path) for path in [app.path, *app.rotated]]
    standing = {line for lines, _ in files for line in lines}
    eventually(lambda: standing <= set(found(sink)))
    live.stop()
    halves = [value["message"].encode() for value in messages(sink) if value.keys() == {"message"}]
    assert set(halves) <= {tail for _, tail in files}
    delivered = [orjson.dumps(value) for value in messages(sink) if value.keys() != {"message"}]
    assert set(delivered) <= set(app.lines)
    assert len(delivered) == len(set(delivered)), "one document each"


def test_what_is_written_to_a_renamed_file_before_its_program_notices_is_delivered(
    tmp_path: Path, running: Start
) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write(1)
    running(ndjson_service(tmp_path / "logs", sink, tmp_path / "state", pattern="*.log"))
    eventually(lambda: len(sink.documents) == 1)
    with app.path.open("ab") as file:
        app.path.rename(tmp_path / "logs" / "old")  # which no pattern fits
        file.write(b'{"late":1}\n')
        app.lines.append(b'{"late":1}')
    eventually(lambda: found(sink) == sorted(app.lines))


@pytest.mark.parametrize("way", ["rename", "copytruncate", "gzip"])
@pytest.mark.parametrize("live", [True, False])
def test_nothing_is_read_again_because_its_file_was_rotated(
    tmp_path: Path, running: Start, way: str, live: bool
) -> None:
    """Lines have one document however often they are read, so what is read is counted."""
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write(20)
    first = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    if live:
        shipper = running(first)
        eventually(lambda: len(sink.documents) == 20)
    else:
        assert first.run_once().shipped == 20
    app.copytruncate() if way == "copytruncate" else app.rename()
    if way == "gzip":
        app.compress()
    else:
        with app.rotated[0].open("ab") as file:
            file.write(b'{"late":1}\n')
        app.lines.append(b'{"late":1}')
    app.write(5)
    unread = len(app.lines) - 20
    if live:
        eventually(lambda: found(sink) == sorted(app.lines))
        shipper.stop()
        unread = 0
    again = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    assert (again.run_once().complete, again.stats().totals.written) == (True, unread)
    assert found(sink) == sorted(app.lines)


def test_a_file_removed_with_unread_lines_is_read_to_its_end(
    tmp_path: Path, running: Start
) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write(500, text="x" * 1000)
    gate = [False]

    def answer(documents: Any) -> Any:
        eventually(lambda: gate[0])

    sink.answer_documents = answer
    running(ndjson_service(tmp_path / "logs", sink, tmp_path / "state"))
    eventually(lambda: sink.deliveries)
    app.path.unlink()
    gate[0] = True
    eventually(lambda: found(sink) == sorted(app.lines))


def test_copytruncate_under_a_writer_that_does_not_append_leaves_a_hole_and_loses_nothing(
    tmp_path: Path, running: Start
) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.path.touch()
    running(ndjson_service(tmp_path / "logs", sink, tmp_path / "state"))
    with app.path.open("wb") as file:
        for n in range(4):
            line = b'{"n":%d,"pad":"%b"}' % (n, b"x" * 20_000)
            app.lines.append(line)
            file.write(line + b"\n")
            file.flush()
            eventually(lambda: found(sink) == sorted(app.lines))
            app.copytruncate()


def test_truncated_and_refilled_beyond_the_place_is_another_content(tmp_path: Path) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    app.write_raw(FIRST)
    app.write(3)
    shipping.run_once()
    os.truncate(app.path, 0)
    app.write_raw(FIRST)
    app.write(50)
    shipping.run_once()
    assert found(sink) == sorted([FIRST.strip(), *app.lines])


def test_an_inode_that_is_used_again_is_another_file(tmp_path: Path, running: Start) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write(5)
    live = running(ndjson_service(tmp_path / "logs", sink, tmp_path / "state"))
    eventually(lambda: len(sink.documents) == 5)
    live.stop()
    inode = app.path.stat().st_ino
    content = app.path.read_bytes()
    os.truncate(app.path, 0)  # the same inode in any file system, with another file's content
    app.write(9)
    assert app.path.stat().st_ino == inode
    assert app.path.stat().st_size > len(content)
    running(ndjson_service(tmp_path / "logs", sink, tmp_path / "state"))
    eventually(lambda: found(sink) == sorted(app.lines))


def test_two_files_that_begin_alike_and_identical_ones(tmp_path: Path) -> None:
    one, two = (App(tmp_path / "logs", name) for name in ("one.log", "two.log"))
    sink = FakeSink()
    for app in (one, two):
        app.write_raw(FIRST)
        app.write(20)
    shutil.copy(one.path, tmp_path / "logs" / "copy.log")
    shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    shipping.run_once()
    expected = sorted([FIRST.strip(), *one.lines, *two.lines])
    assert found(sink) == expected
    for app in (one, two):
        app.write(3)
    again = ndjson_service(tmp_path / "logs", sink, tmp_path / "state").run_once()
    assert found(sink) == sorted([FIRST.strip(), *one.lines, *two.lines])
    assert (again.shipped, again.duplicates) == (6, 0), "each goes on at its own place"


def test_a_compressed_file_that_is_still_being_written_is_waited_for(
    tmp_path: Path, running: Start
) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write(2000)
    packed = gzip.compress(app.path.read_bytes())
    app.path.unlink()
    target = tmp_path / "logs" / "app.log.1.gz"
    target.write_bytes(packed[: len(packed) // 2])
    shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    running(shipping)
    eventually(lambda: sink.documents)
    assert not shipping.stats().logs[0].trouble
    with target.open("ab") as file:
        file.write(packed[len(packed) // 2 :])
    eventually(lambda: found(sink) == sorted(app.lines))


def test_a_damaged_compressed_file_holds_up_no_other(tmp_path: Path, running: Start) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write(10)
    for n in range(5):
        path = tmp_path / "logs" / f"old.log.{n}.gz"
        path.write_bytes(gzip.compress(b'{"old":%d}\n' % n)[:-9])
        os.utime(path, (0, 0))
    good = tmp_path / "logs" / "good.log.gz"
    good.write_bytes(gzip.compress(b'{"good":1}\n'))
    shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    running(shipping)
    eventually(lambda: {*app.lines, b'{"good":1}'} <= set(found(sink)))
    eventually(lambda: "not whole" in shipping.stats().logs[0].trouble)


@pytest.mark.parametrize("old", [True, False])
def test_once_reads_what_is_whole_however_much_is_damaged(tmp_path: Path, old: bool) -> None:
    """More than are unpacked at once; fresh ones may be about to be written."""
    (tmp_path / "logs").mkdir()
    for n in range(9):
        path = tmp_path / "logs" / f"old.log.{n}.gz"
        path.write_bytes(gzip.compress(b'{"old":%d}\n' % n)[:-9])
        if old:
            os.utime(path, (n, n))
    good = tmp_path / "logs" / "old.log.9.gz"
    good.write_bytes(gzip.compress(b'{"good":1}\n'))
    sink = FakeSink()
    ndjson_service(tmp_path / "logs", sink, tmp_path / "state").run_once(
        give_up_after=dt.timedelta(seconds=60)
    )
    assert b'{"good":1}' in found(sink)


def test_compressed_files_are_not_unpacked_twice(tmp_path: Path) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    for _ in range(9):
        app.write(3)
        app.rename()
        app.compress()
    app.path.unlink()
    shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    assert shipping.run_once().shipped == 27
    again = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    assert again.run_once().complete
    feed = again._deliveries[0]._feeds["app"]
    assert isinstance(feed, FileFeed)
    assert not feed.lanes


def test_forgets(tmp_path: Path, running: Start) -> None:
    """forgets: a file that is gone leaves nothing behind but its place"""
    sink = FakeSink()
    shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    running(shipping)
    eventually(lambda: shipping._deliveries)
    feed = shipping._deliveries[0]._feeds["app"]
    for n in range(20):
        app = App(tmp_path / "logs", f"job{n}.log")
        app.write(3)
        eventually(lambda n=n: len(sink.documents) == 3 * (n + 1))
        os.utime(app.path, (0, 0))  # long ago, as far as waiting for more goes
        app.path.unlink()
    eventually(lambda: not feed.lanes)
    assert shipping.stats().logs[0].written == 60
    assert not held_open(tmp_path / "logs")


def test_a_directory_that_is_not_there_yet_vanishes_and_comes_back(
    tmp_path: Path, running: Start
) -> None:
    sink = FakeSink()
    running(ndjson_service(tmp_path / "later" / "logs", sink, tmp_path / "state"))
    (tmp_path / "later").mkdir()
    app = App(tmp_path / "later" / "logs")
    app.write(3)
    eventually(lambda: found(sink) == sorted(app.lines))
    (tmp_path / "later").rename(tmp_path / "away")
    (tmp_path / "later").mkdir()
    other = App(tmp_path / "later" / "logs")
    other.write(3, text="other")
    eventually(lambda: found(sink) == sorted(app.lines + other.lines))


def test_symbolic_links_pipes_and_directories_are_no_files(tmp_path: Path) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write(3)
    os.mkfifo(tmp_path / "logs" / "pipe.log")
    (tmp_path / "logs" / "link.log").symlink_to(app.path)
    (tmp_path / "logs" / "dir.log").mkdir()
    assert ndjson_service(tmp_path / "logs", sink, tmp_path / "state").run_once().shipped == 3


def test_a_directory_below_the_pattern_that_cannot_be_listed_is_said_once_and_when_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed = tmp_path / "logs" / "closed"
    closed.mkdir(parents=True)
    source = ndjson_source(tmp_path / "logs", "**/*.log")
    scandir = os.scandir

    def refused(path: str) -> Any:
        if str(path) == str(closed):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    with monkeypatch.context() as patch, caplog.at_level("INFO", "auditlog.shippers"):
        patch.setattr(os, "scandir", refused)
        source.look(None)
        source.look(None)
        patch.undo()
        source.look(None)
    assert [record.message for record in caplog.records] == [
        f"{closed} cannot be listed (Permission denied); trying again",
        f"{closed} can be listed again",
    ]


def test_what_cannot_be_listed_or_read_is_named_with_the_number_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tmp_path / "logs"
    for name in ("closed", "other"):
        (logs / name).mkdir(parents=True)
    (logs / "a.log").write_bytes(b'{"n":0}\n')
    scandir = os.scandir

    def refused(path: str) -> Any:
        if str(path) in (str(logs / "closed"), str(logs / "other")):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    def run_once() -> tuple[str, int, bool]:
        patterns = {"pattern": "**/*.log", "exclude": (f"{logs}/other/**",)}
        done = ndjson_service(logs, FakeSink(), tmp_path / "state", **patterns).run_once()
        return done.logs[0].unreadable, done.shipped, done.complete

    assert run_once() == ("", 1, True)
    monkeypatch.setattr(os, "scandir", refused)
    assert run_once() == (f"{logs / 'closed'} cannot be listed (Permission denied)", 0, False)
    packed = logs / "b.log.gz"
    packed.write_bytes(gzip.compress(b'{"n":1}\n' * 9)[:-9])
    os.utime(packed, (time.time(), time.time() - 3600))
    reason, _, complete = run_once()
    assert reason.startswith(f"{packed}: the compressed file is not whole")
    assert reason.endswith(" (and 1 more)")
    assert not complete


def test_the_lines_of_a_gzip_file_with_a_wrong_checksum_are_shipped_and_it_is_named(
    tmp_path: Path,
) -> None:
    packed, sink = tmp_path / "logs" / "a.log.gz", FakeSink()
    packed.parent.mkdir()
    content = bytearray(gzip.compress(b"".join(b'{"n":%d}\n' % n for n in range(5))))
    content[-8] ^= 1
    packed.write_bytes(content)
    os.utime(packed, (time.time(), time.time() - 3600))
    done = ndjson_service(packed.parent, sink, tmp_path / "state").run_once()
    assert sorted(message["n"] for message in messages(sink)) == [0, 1, 2, 3, 4]
    assert not done.complete
    assert "incorrect data check" in done.logs[0].unreadable


def test_a_refused_document_goes_to_quarantine_once_and_the_rest_on(tmp_path: Path) -> None:
    from shippers.outcome import INDEXED, quarantined

    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write(10)

    def answer(documents: Any) -> Any:
        return [quarantined("no") if b'"n":4,' in d.line else INDEXED for d in documents]

    sink.answer_documents = answer
    summary = ndjson_service(tmp_path / "logs", sink, tmp_path / "state").run_once()
    assert (summary.shipped, summary.quarantined) == (9, 1)
    shutil.rmtree(tmp_path / "state" / "source-cursors")
    again = ndjson_service(tmp_path / "logs", sink, tmp_path / "state").run_once()
    assert (again.shipped, again.duplicates, again.quarantined) == (0, 9, 1)
    path = tmp_path / "state" / "quarantine" / "fake.ndjson"
    (entry,) = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert (entry["log"], entry["document"]["source"]) == ("app", "app")
    assert orjson.loads(entry["line"])["n"] == 4


def test_what_was_taken_out_of_the_lines_is_counted_by_rule(tmp_path: Path) -> None:
    app, sink = App(tmp_path / "logs"), FakeSink()
    app.write(3, "password=hunter33y and pin: 4711")
    app.write(2, "nothing")
    shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state", redact=True)
    assert shipping.run_once().shipped == 5
    (stats,) = shipping.stats().logs
    assert stats.redactions == {"password": 3, "pin": 3}
    assert not any(b"hunter33y" in document.line for document in sink.documents.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "audit"},
        {"name": "audit-x"},
        {"name": "App"},
        {"name": ""},
        {"paths": ()},
        {"paths": ("relative/*.log",)},
        {"max_line_bytes": 10},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    fields = {"name": "app", "paths": ("/var/log/*.log",), "host": "hive1", **wrong}
    with pytest.raises(ValueError, match=r"name|path|max_line_bytes"):
        NdjsonOptions(**fields)


def test_files_that_only_links_name_are_shipped_while_they_grow(
    tmp_path: Path, running: Start
) -> None:
    app = App(tmp_path / "pods", "0.log")
    app.write(2)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "web.log").symlink_to(app.path)
    sink = FakeSink()
    running(ndjson_service(tmp_path / "logs", sink, tmp_path / "state"))
    eventually(lambda: len(sink.documents) == 2)
    app.write(3)
    eventually(lambda: found(sink) == sorted(app.lines))
    paths = {orjson.loads(d.line)["auditlog"]["source"]["path"] for d in sink.documents.values()}
    assert paths == {str(tmp_path / "logs" / "web.log")}


@pytest.mark.parametrize(
    ("content", "format_name"),
    [
        (b"\xfd7zXZ\x00\x00\x04", "xz"),
        (b"BZh91AY&SY", "bzip2"),
        (gzip.compress(b'{"a":1}\n', mtime=0), "gzip, and not named so"),
        (b"\xff\xfe{\x00}\x00\n\x00", "UTF-16"),
        (b"\x01\x02\x00\x00\x00\x00text\n" * 9, "binary"),
        ('{"n":1}\n{"n":2}\n'.encode("utf-16-le"), "binary"),
        (b"app.log".ljust(100, b"\0") + b"0000644\0".ljust(412, b"\0") + b'{"n":1}\n', "binary"),
    ],
)
def test_a_file_that_is_no_text_is_named_once_and_not_shipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, format_name: str
) -> None:
    app = App(tmp_path / "logs")
    app.write(2)
    other = tmp_path / "logs" / "app.log.1"
    other.write_bytes(content)
    sink = FakeSink()
    for _ in range(2):
        shipping = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
        assert shipping.run_once().complete
        assert shipping.stats().logs[0].lag_bytes == 0
    assert found(sink) == app.lines
    said = [record.message for record in caplog.records if str(other) in record.message]
    assert said == [f"{other} is not shipped: it is {format_name}"] * 2


ALIKE = {
    "a.log": [b'{"msg":"log opened"}', b'{"user":"alice","act":"login"}', b'{"msg":"tick"}'],
    "b.log": [b'{"msg":"log opened"}', b'{"user":"mallo","act":"login"}', b'{"msg":"tick"}'],
}


@pytest.mark.parametrize("order", [("a.log", "b.log"), ("b.log", "a.log")])
@pytest.mark.parametrize("together", [True, False])
def test_files_that_begin_and_end_alike_keep_their_unequal_lines(
    tmp_path: Path, order: tuple[str, str], together: bool
) -> None:
    (tmp_path / "logs").mkdir()
    sink = FakeSink()
    for name in order:
        (tmp_path / "logs" / name).write_bytes(b"\n".join(ALIKE[name]) + b"\n")
        if not together:
            assert ndjson_service(tmp_path / "logs", sink, tmp_path / "state").run_once().complete
    for _ in range(2):
        assert ndjson_service(tmp_path / "logs", sink, tmp_path / "state").run_once().complete
    users = {value["user"] for value in messages(sink) if "user" in value}
    assert users == {"alice", "mallo"}
    assert len(sink.documents) == 4, "equal lines at equal places are one document"
    again = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    assert (again.run_once().complete, again.stats().totals.written) == (True, 0)
    with (tmp_path / "logs" / order[0]).open("ab") as file:
        file.write(b'{"more":1}\n')
    assert again.run_once().shipped == 1


@pytest.mark.parametrize(("number", "suffix"), [(2000, ".log"), (4200, ".log.gz")])
def test_however_many_files_there_are_none_is_read_again(
    tmp_path: Path, number: int, suffix: str
) -> None:
    """More compressed ones than places are kept of files that are gone."""
    (tmp_path / "logs").mkdir()
    for n in range(number):
        line = b'{"n":%d}\n' % n
        content = gzip.compress(line, 1) if suffix.endswith(".gz") else line
        (tmp_path / "logs" / f"{n}{suffix}").write_bytes(content)
    sink = FakeSink()
    first = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    assert first.run_once().shipped == number
    for n in range(2):
        (tmp_path / "logs" / f"another{n}.log").write_bytes(b'{"another":%d}\n' % n)
        again = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
        assert (again.run_once().complete, again.stats().totals.written) == (True, 1)


@pytest.mark.parametrize(("before", "after"), [(1024, 4096), (4096, 1024)])
def test_another_limit_of_lines_reads_nothing_again(
    tmp_path: Path, before: int, after: int
) -> None:
    """Lines below both limits, between them, and above: what a file is depends on none of them."""
    app, sink = App(tmp_path / "logs"), FakeSink()
    for size in (2000, 10, 200_000, 300):
        app.write(3, "x" * size)
    logs, state = tmp_path / "logs", tmp_path / "state"
    assert ndjson_service(logs, sink, state, max_line_bytes=before).run_once().shipped == 12
    again = ndjson_service(logs, sink, state, max_line_bytes=after)
    assert (again.run_once().complete, again.stats().totals.written) == (True, 0)
    (tmp_path / "state").rename(tmp_path / "lost")
    anew = ndjson_service(logs, sink, state, max_line_bytes=after).run_once()
    assert (anew.shipped, anew.duplicates) == (0, 12)


FEW_DESCRIPTORS = """
import resource, socket, sys
from pathlib import Path
from tests.support.ndjson import ndjson_service
from tests.support.shipments import FakeSink

resource.setrlimit(resource.RLIMIT_NOFILE, (160, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
place, sink = Path(sys.argv[1]), FakeSink()

def connect(_):
    for connection in [socket.socket() for _ in range(40)]:
        connection.close()

sink.answer_documents = connect
summary = ndjson_service(place / "logs", sink, place / "state").run_once()
print(summary.shipped, summary.complete)
"""


def test_more_files_are_read_than_may_be_open(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for n in range(300):
        (tmp_path / "logs" / f"{n}.log").write_bytes(b'{"n":%d}\n' % n)
    command = [sys.executable, "-c", FEW_DESCRIPTORS, tmp_path]
    run = subprocess.run(
        command, cwd=Path(__file__).parents[4], capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("300 True\n", "")


def test_places_of_an_older_version_are_taken_as_they_are(tmp_path: Path) -> None:
    app = App(tmp_path / "logs")
    app.write(5)
    sink = FakeSink()
    assert ndjson_service(tmp_path / "logs", sink, tmp_path / "state").run_once().shipped == 5
    cursors = CursorStore(tmp_path / "state")
    cursor = cursors.load_source("fake", "ndjson", "app")
    assert cursor is not None
    files = [fields[:5] for fields in cursor.place["files"]]
    cursors.save_source("fake", replace(cursor, place={"files": files}))
    app.write(1)
    again = ndjson_service(tmp_path / "logs", sink, tmp_path / "state")
    assert (again.run_once().shipped, again.stats().totals.written) == (1, 1)


def test_files_of_short_lived_pods_in_new_directories_all_arrive(
    tmp_path: Path, running: Start
) -> None:
    """Each is seen when it appears: the directories are not listed anew within this test."""
    pods, sink = tmp_path / "pods", FakeSink()
    pods.mkdir()
    shipping = ShippingOptions(rescan_interval=dt.timedelta(hours=1))
    sources = [ndjson_source(pods, "*/*/*.log")]
    running(ShippingService([], [sink], tmp_path / "state", shipping, sources=sources))
    written: list[bytes] = []
    for number in range(3):
        app_directory = pods / f"job-{number}" / "worker"
        app_directory.mkdir(parents=True)
        app = App(app_directory, f"{number}.log")
        app.write(5)
        written += app.lines
        eventually(lambda: sorted(written) == found(sink), "the pod's lines arrive")  # noqa: B023  (called at once)
        shutil.rmtree(pods / f"job-{number}")
