"""Reading the content of a foreign file."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import threading
import time
import tracemalloc
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from auditlog.cursors import CursorStore
from auditlog.format.foreign_files import decode_places
from retention.errors import SegmentDamaged, Stopped
from retention.foreign_content import inspect_foreign, last_time
from retention.holds import Hold
from retention.subjects import ForeignContent
from tests.support.foreign import NOW, leave
from tests.support.ndjson import ndjson_service
from tests.support.shipments import FakeSink

LEGACY = Path(__file__).parents[1] / "data" / "legacy" / "2026-11-23.audit"
FIELDS = ("@timestamp", "timestamp")
MANY_ZEROS = bytes(17 << 20)  # more than a line may be long


def read(path: Path, form: str = "", *holds: Hold) -> ForeignContent:
    return inspect_foreign(path, form, FIELDS, threading.Event(), holds)[0]


def test_the_old_crates_own_file_is_read() -> None:
    content = read(LEGACY)
    assert content.lines == LEGACY.read_bytes().count(b"\n")
    assert content.untimed == 0
    assert content.first_at is not None
    assert content.last_at is not None
    assert content.first_at <= content.last_at
    assert content.first_at.isoformat().startswith("2026-11-23T13:10:58")
    assert last_time(LEGACY, FIELDS) == content.last_at


def test_all_forms(tmp_path: Path) -> None:
    plain = LEGACY.read_bytes()
    (tmp_path / "a.gz").write_bytes(gzip.compress(plain[:999]) + gzip.compress(plain[999:]))
    (tmp_path / "a.zst").write_bytes(zstandard.compress(plain))
    assert read(tmp_path / "a.gz", ".gz") == read(tmp_path / "a.zst", ".zst") == read(LEGACY)


@pytest.mark.parametrize(
    "content",
    [
        LEGACY.read_bytes(),
        b'{"a":1}\r\n{"a":2}\r\n\n  \n',
        b'\0\0\0{"a":1}\n',
        b"no json\n" + b"x" * 70_000 + b"\n",
        b"x" * 70_000 + b'\n{"a":1}\n',
        b'{"a":1}\n{"a":2}\n' + bytes(4096),
        b'{"a":1}\n{"a":2}' + bytes(4096),
        b'{"a":1}\n{"a":2}' + MANY_ZEROS,
        b'{"a":1}' + bytes(4096),
        MANY_ZEROS + b'{"a":1}\n{"a":2}\n' + MANY_ZEROS,
        b'{"a":1}\n{"a":' + MANY_ZEROS + b'{"a":2}\n',
    ],
    ids=["legacy", "ends", "hole", "long", "long_first", "padded", "padded_without_lf", "reserved",
         "one_line", "long_holes", "cut_off"],
)  # fmt: skip
def test_same_end(tmp_path: Path, content: bytes) -> None:
    path, state = tmp_path / "app.log", tmp_path / "state"
    path.write_bytes(content)
    os.utime(path, (NOW.timestamp(), time.time() - 3600))
    end = read(path).end
    assert end is not None
    assert ndjson_service(tmp_path, FakeSink(), state).run_once().complete
    cursor = CursorStore(state).load_source("fake", "ndjson", "app")
    assert cursor is not None
    (place,) = decode_places(cursor.place)
    assert place._replace(offset=0) == end._replace(offset=0)


@pytest.mark.parametrize("end", [b"\n", b""], ids=["whole", "without_lf"])
def test_zeros_behind_the_last_line_do_not_hide_its_time(tmp_path: Path, end: bytes) -> None:
    path = leave(tmp_path, "a.ndjson", dt.timedelta(1))
    path.write_bytes(path.read_bytes().rstrip(b"\n") + end + bytes(4096))
    assert last_time(path, FIELDS) == read(path).last_at == NOW - dt.timedelta(1)
    assert read(path).untimed == 0


HOLD = Hold("x", "legal", "audit", actor="älice", correlation_id="r-1")


@pytest.mark.parametrize(
    ("line", "matched"),
    [
        ('{"who":"älice","id":"r-1"}', True),
        ('{"a":{"b":["\\u00e4lice r-1"]}}', True),
        ('{"who":"älice","id":"r-2"}', False),
        ('{"who":"bob","text":"r-1 \\n"}', False),
        ("\\ broken", True),
        ("älice did r-1, in plain text", True),
    ],
)
def test_doubt(tmp_path: Path, line: str, matched: bool) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(f'{{"n":1}}\n{line}\n', "utf-8")
    assert (read(path, "", HOLD).matches == {"x"}) == matched


def test_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson.gz"
    line = orjson.dumps({"timestamp": "2026-01-01T00:00:00Z", "text": "x" * 400}) + b"\n"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(40):
            file.write(line * 1000)
    tracemalloc.start()
    try:
        assert read(path, ".gz").lines == 40_000
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_line_without_end_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(gzip.compress(b"x" * (17 << 20)))
    with pytest.raises(SegmentDamaged, match="longer than 16 MiB"):
        read(path, ".gz")


@given(st.lists(st.integers(0, 9999) | st.sampled_from(["no", '{"timestamp":"1970"}']), max_size=9))
def test_the_newest_and_the_oldest_time_are_found_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, seconds: list[int | str]
) -> None:
    lines = [
        text if isinstance(text, str) else f'{{"timestamp":"{NOW + dt.timedelta(seconds=text)}"}}'
        for text in seconds
    ]
    path = tmp_path_factory.getbasetemp() / "times.ndjson"
    path.write_text("\n".join(lines))
    times = [NOW + dt.timedelta(seconds=text) for text in seconds if not isinstance(text, str)]
    content = read(path)
    path.unlink()
    assert content.untimed == len(seconds) - len(times)
    assert (content.first_at, content.last_at) == (
        min(times, default=None),
        max(times, default=None),
    )


def test_a_stop_is_heeded(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        inspect_foreign(leave(tmp_path, "a.ndjson", dt.timedelta(1)), "", FIELDS, stop)
