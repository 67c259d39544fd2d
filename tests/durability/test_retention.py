"""Retention is killed, and fails, at every system call that changes anything.

After each strike every segment is there in one whole form or has a durable tombstone, and the
directory verifies; the next run brings about what an undisturbed one does.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
from collections import Counter
from typing import TYPE_CHECKING, Final

from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import tombstones_in
from auditlog.verification.verify import verify
from tests.support.retention_task import prepare, prune

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.forked import ForkServer
    from tests.support.logs import LogBuilder

CALLS: Final = (
    "openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink", "fchmod",
    "chmod", "utimensat", "mkdir", "flock",
)  # fmt: skip
ERRORS: Final = ("ENOSPC", "EIO", "EACCES", "EROFS")
EVERY_PAIR: Final = os.environ.get("AUDITLOG_RETENTION_FAULTS") == "all"


def start(server: ForkServer, place: Path, *strace: str) -> tuple[int, str, LogBuilder, Path]:
    """A run under strace: its exit status, the trace, the log and the report."""
    directory, report = place / "audit", place / "report"
    built = prepare(directory)
    child = server.start(
        "tests.support.retention_task:prune_forked", directory=directory, report=report
    )
    status, trace = child.run([*strace])
    return status, trace, built, report


def steps(trace: str) -> Iterator[tuple[str, int]]:
    """Every call and its number, as strace counts them: for each thread by itself."""
    counted: Counter[tuple[str, str]] = Counter()
    seen: set[tuple[str, int]] = set()
    for thread, call in re.findall(r"^(\d+) +(\w+)\(", trace, re.MULTILINE):
        if call in CALLS:
            counted[thread, call] += 1
            seen.add((call, counted[thread, call]))
    yield from sorted(seen)


def nothing_lost(built: LogBuilder) -> None:
    logs = scan(built.directory).logs
    present = {file.name for files in logs.values() for file in files}
    buried = {found.segment for found in tombstones_in(logs)}
    for name in built.names:
        assert name in present or name.logical in buried, f"{name} is gone without proof"
    report = verify(built.directory)
    assert report.ok, report.findings


def healed(built: LogBuilder) -> None:
    assert prune(built.directory).ok
    found = sorted(path.name for path in built.directory.iterdir() if "queen-rbee" in path.name)
    names = [path.name for path in built.paths]
    assert found == [f"{names[1]}.zst", f"{names[2]}.zst", names[3]]
    logs = scan(built.directory).logs
    assert [tombstone.segment for tombstone in tombstones_in(logs)] == names[:1]
    assert verify(built.directory).ok


def undisturbed(server: ForkServer, place: Path) -> list[tuple[str, int]]:
    status, trace, built, report = start(server, place, "-e", f"trace={','.join(CALLS)}")
    assert (status, json.loads(report.read_text())) == (0, [])
    healed(built)
    found = list(steps(trace))
    assert {"openat", "write", "fsync", "fdatasync", "rename", "unlink"} <= {c for c, _ in found}
    assert len(found) > 40
    return found


def test_killed_at_every_call(places: Callable[[], Path], traced: ForkServer) -> None:
    killed = 0
    for call, number in undisturbed(traced, places()):
        strike = f"inject={call}:signal=KILL:when={number}"
        status, _, built, _ = start(traced, places(), "-e", strike)
        killed += status == -signal.SIGKILL
        nothing_lost(built)
        healed(built)
    assert killed > 40


def test_every_call_fails(places: Callable[[], Path], traced: ForkServer) -> None:
    """Each with one error, in turn; AUDITLOG_RETENTION_FAULTS=all: each with each."""
    told = 0
    errors = itertools.cycle(ERRORS)
    for call, number in undisturbed(traced, places()):
        for error in ERRORS if EVERY_PAIR else (next(errors),):
            strike = f"inject={call}:error={error}:when={number}"
            status, _, built, report = start(traced, places(), "-e", strike)
            assert status == 0, strike
            told += json.loads(report.read_text()) != []
            nothing_lost(built)
            healed(built)
    assert told > 20


def test_dry_run_touches_nothing(places: Callable[[], Path], traced: ForkServer) -> None:
    """No file is opened for writing, and nothing is written, renamed, removed or changed."""
    place = places()
    built = prepare(place / "audit")
    child = traced.start("tests.support.retention_task:dry_run_forked", directory=built.directory)
    status, trace = child.run(["-e", "trace=file,desc"])
    assert status == 0
    assert str(built.paths[0]) in trace
    changing = re.compile(
        r"^\d+ +(?:(?:p?write\w*|f?truncate|rename\w*|unlink\w*|mkdir\w*|link\w*|symlink\w*"
        r"|f?chmod\w*|f?chown\w*|utime\w*|fallocate|fsync|fdatasync)\(|openat\(.*(?:O_WRONLY|O_RDWR|O_CREAT))",
        re.MULTILINE,
    )
    found = [line for line in trace.splitlines() if changing.match(line)]
    assert found == []
