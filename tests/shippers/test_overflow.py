"""The kernel's queue of events overflows, for real: the shipper is stopped while others write."""

from __future__ import annotations

import ctypes
import os
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from shippers.sinks.sqlite.sink import SqliteSink
from tests.support.logs import LogBuilder, write_log
from tests.support.ndjson import App
from tests.support.waiting import eventually

QUEUED_EVENTS = Path("/proc/sys/fs/inotify/max_queued_events")
IN_MODIFY, IN_CREATE, IN_Q_OVERFLOW = 0x2, 0x100, 0x4000
HEAD = struct.Struct("iIII")  # wd, mask, cookie, length of the name: inotify(7)

CHILD = """
import datetime as dt, sys, threading
from pathlib import Path
from shippers.service import ShippingOptions, ShippingService
from shippers.sinks.sqlite.sink import SqliteSink
from shippers.sources.ndjson.source import NdjsonSource
from shippers.sources.ndjson.options import NdjsonOptions


class Told(NdjsonSource):
    def look(self, changed, *, strict=False):
        print("looks", flush=True)
        return super().look(changed, strict=strict)


place = Path(sys.argv[1])
source = Told(NdjsonOptions("app", (f"{place}/*.log*",), "hive1"))
options = ShippingOptions(rescan_interval=dt.timedelta(seconds=1))
sink = SqliteSink("main", place / "state" / "index.sqlite")
ShippingService([place], [sink], place / "state", options, sources=[source]).run(threading.Event())
"""


@contextmanager
def unread_queue(directory: Path) -> Iterator[int]:
    """An inotify queue on the directory that nobody reads, as that of a stopped process."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    try:
        watch = libc.inotify_add_watch(fd, os.fsencode(directory), IN_MODIFY | IN_CREATE)
        assert watch >= 0, os.strerror(ctypes.get_errno())
        yield fd
    finally:
        os.close(fd)


def has_overflowed(fd: int) -> bool:
    last = 0
    try:
        while data := os.read(fd, 1 << 20):
            offset = 0
            while offset < len(data):
                _, last, _, length = HEAD.unpack_from(data, offset)
                offset += HEAD.size + length
    except BlockingIOError:
        return last == IN_Q_OVERFLOW
    return False


def flood(directory: Path) -> None:
    """More events than the queue holds; two in a row that are the same would be one."""
    with (
        (directory / "one.noise").open("ab", 0) as one,
        (directory / "two.noise").open("ab", 0) as two,
    ):
        for _ in range(int(QUEUED_EVENTS.read_text()) // 2 + 1):
            one.write(b".")
            two.write(b".")


def test_what_happens_while_the_queue_of_events_overflows_is_found_by_looking(
    tmp_path: Path,
) -> None:
    log, app = write_log(tmp_path, records=5), App(tmp_path)
    app.write(5)
    for name in ("one.noise", "two.noise"):
        (tmp_path / name).touch()  # a new name would have everything looked at
    (tmp_path / "state").mkdir()
    index = tmp_path / "state" / "index.sqlite"
    SqliteSink("main", index).close()

    def arrived(*logs: LogBuilder) -> bool:
        connection = sqlite3.connect(index)
        records = [line for (line,) in connection.execute("SELECT line FROM records")]
        documents = [line for (line,) in connection.execute("SELECT line FROM documents")]
        connection.close()
        shipped = sorted(orjson.loads(line)["n"] for line in documents)
        written = sorted(orjson.loads(line)["n"] for line in app.lines)
        lines = sorted(line for log in logs for line in log.lines)
        return (sorted(records), shipped) == (lines, written)

    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as shipper:
        try:
            assert shipper.stdout is not None
            for _ in range(2):  # at its start, and once more when the directory is watched
                assert shipper.stdout.readline() == b"looks\n"
            eventually(lambda: arrived(log), "it ships", 60)
            shipper.send_signal(signal.SIGSTOP)
            with unread_queue(tmp_path) as queue:
                flood(tmp_path)
                log.append(5)  # of what follows no event is left
                log.rotate()
                log.append(5)
                other = write_log(tmp_path, "rbee-hive@hive1", records=5)
                app.write(5)
                app.rename()
                app.write(5)
                app.copytruncate()
                app.write(5)
                assert has_overflowed(queue)
            shipper.send_signal(signal.SIGCONT)
            eventually(lambda: arrived(log, other), "what nobody told of", 60)
        finally:
            shipper.kill()
