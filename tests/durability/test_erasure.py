"""An erasure is killed, and fails, at every system call that changes anything.

After each strike the line is whole or erased, the directory verifies, and every stub is on record;
the same command then finishes, and the erased text is nowhere.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from auditlog.format.record import stub_leaf
from auditlog.reading.inventory import scan
from auditlog.reading.reader import iter_lines, open_segment
from auditlog.verification.verify import verify
from tests.durability.test_retention import CALLS, steps
from tests.support.erase_task import NAME, erase, prepare
from tests.support.erasures import stub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.forked import ForkServer
    from tests.support.logs import LogBuilder

ERASED = (4, 8)


def start(server: ForkServer, place: Path, *strace: str) -> tuple[int, str, LogBuilder]:
    built = prepare(place / "audit")
    child = server.start("tests.support.erase_task:erase_forked", directory=built.directory)
    status, trace = child.run([*strace])
    return status, trace, built


def whole_or_erased(built: LogBuilder) -> None:
    """Every line is its record's, or the record's stub where that was to be erased."""
    found = {}
    for log, segments in scan(built.directory).logs.items():
        for segment in segments if str(log) == built.log else ():
            for form in segment.forms:
                with open_segment(segment.form_path(form)) as stream:
                    lines = [line for _, line in iter_lines(stream)]
                found.update(dict(enumerate(lines, len(found) + 1)))
    assert len(found) == len(built.lines)
    for seq, line in found.items():
        before = built.lines[seq - 1]
        assert line == before or (seq in ERASED and line == stub(before)), seq
    report = verify(built.directory)
    assert report.ok, report.findings
    ours = next(log for log in report.logs if log.log == built.log)
    stubs = {seq for seq, line in found.items() if stub_leaf(line) is not None}
    assert {one.seq for one in ours.erased} == stubs
    told = {one.seq for one in ours.findings}
    assert {one.kind for one in ours.findings} <= {"erasure_unfinished"}
    assert not told & stubs


def finished(built: LogBuilder) -> None:
    assert erase(built.directory) in (0, 1)  # 1: there was nothing left to find
    report = verify(built.directory)
    ours = next(log for log in report.logs if log.log == built.log)
    assert ([one.seq for one in ours.erased], ours.findings) == ([*ERASED], ())
    for path in built.directory.rglob("*"):
        if path.is_file():
            with open_segment(path) as stream:
                assert NAME.encode() not in stream.read(), path
    assert [path for path in built.directory.iterdir() if path.name.endswith(".tmp")] == []


def test_killed_at_every_call(places: Callable[[], Path], traced: ForkServer) -> None:
    status, trace, built = start(traced, places(), "-e", f"trace={','.join(CALLS)}")
    assert status == 0
    finished(built)
    calls = [step for step in steps(trace) if step[0] != "openat"]
    assert {"write", "fsync", "fdatasync", "rename", "utimensat"} <= {call for call, _ in calls}
    killed = 0
    for call, number in calls:
        strike = f"inject={call}:signal=KILL:when={number}"
        status, _, built = start(traced, places(), "-e", strike)
        killed += status == -signal.SIGKILL
        whole_or_erased(built)
        finished(built)
    assert killed > 20


def test_every_call_fails(places: Callable[[], Path], traced: ForkServer) -> None:
    _, trace, _ = start(traced, places(), "-e", f"trace={','.join(CALLS)}")
    for call, number in steps(trace):
        if call in ("fsync", "fdatasync", "rename", "write"):
            strike = f"inject={call}:error=EIO:when={number}"
            _, _, built = start(traced, places(), "-e", strike)
            whole_or_erased(built)
            finished(built)
