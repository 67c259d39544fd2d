"""The writer's promises, seen from outside: files, processes, clocks."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import auditlog
from auditlog import durable_fs, events
from auditlog.events.actor import Actor
from tests.support.unmeasured import unmeasured
from tests.support.waiting import eventually, impatient

ALICE = Actor(user_id="alice", ip="192.0.2.7", auth_method="bearer_token")
DAY_NS = 86_400_000_000_000
NOON = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z


class Clock:
    """A wall clock that a test moves."""

    def __init__(self, now_ns: int = NOON) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def open_log(directory: Path, **options: Any) -> auditlog.Log:
    return auditlog.open(directory, service="queen-rbee", host="hive1", **options)


def event_types(directory: Path) -> list[str]:
    return [record.event_type for record in auditlog.read(directory, log_events=True)]


WRITER = """
import os, sys, auditlog
log = auditlog.open(sys.argv[1], service="queen-rbee", host="hive1", flush=sys.argv[2],
                    max_segment_bytes=1 << 17)
waiting = []
number = 0
while True:
    number += 1
    waiting.append(log.emit("load.test", details={"number": number}, durable=number % 40 == 0))
    while waiting and waiting[0].done():
        ticket = waiting.pop(0)
        os.write(1, f"{ticket.seq} {ticket.hash}\\n".encode())
"""


@pytest.mark.parametrize("flush", ["immediate", "batched", "hybrid"])
def test_acknowledged(tmp_path: Path, flush: str) -> None:
    """Whatever a killed process had acknowledged is in the file, and the chain goes on."""
    acknowledged: dict[int, str] = {}
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path, flush], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        first = b"".join(process.stdout.readline() for _ in range(12))
        time.sleep(random.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        process.stdout.close()
        for line in (first + rest).splitlines(keepends=True):
            if line.endswith(b"\n"):
                seq, digest = line.split()
                acknowledged[int(seq)] = digest.decode()
        report = auditlog.verify(tmp_path)
        assert report.ok, report.findings
    assert len(acknowledged) > 40
    open_log(tmp_path).close()
    on_disk = {record.seq: record.hash for record in auditlog.read(tmp_path, log_events=True)}
    assert acknowledged.items() <= on_disk.items()
    assert sorted(on_disk) == list(range(1, len(on_disk) + 1))
    assert auditlog.verify(tmp_path).ok


def test_one_writer(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        with pytest.raises(auditlog.LogLocked, match=rf"pid {os.getpid()}.*instance="):
            open_log(tmp_path)
        with auditlog.open(tmp_path, service="queen-rbee", host="hive1", instance="auto") as second:
            assert str(second.id) == "queen-rbee@hive1+1"
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                log.emit("from.child")
            except auditlog.ForkedLog as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        assert b"instance=" in os.read(reading, 1000)
        os.close(reading)
        log.emit("from.parent")
    assert "from.child" not in event_types(tmp_path)
    assert auditlog.verify(tmp_path).ok


def test_a_forked_child_does_not_keep_the_log_locked(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)  # for as long as the parent is there
        os._exit(0)
    try:
        log.close()
        with open_log(tmp_path) as again:
            assert again.emit("while.the.child.lives").done()
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the child was there all the time"
    finally:
        os.close(writing)
        os.waitpid(child, 0)
        os.close(reading)


def test_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue blocks, then refuses; what was refused is counted in the chain."""
    with open_log(tmp_path, flush="batched", max_queue_bytes=100_000) as log:
        refused = accepted = 0
        with stalled_disk(monkeypatch), impatient(log, 0.05):
            for _ in range(40):
                try:
                    log.emit("load.test", details={"pad": "x" * 10_000})
                    accepted += 1
                except auditlog.BufferFull:
                    refused += 1
                assert log.stats().queued_bytes <= 100_000
            assert refused > 0
            assert log.stats().refused == refused
        log.flush()
        log.emit("after.it", durable=True)
    counts = [
        record.fields["details"]["count"]
        for record in auditlog.read(tmp_path, log_events=True)
        if record.event_type == "log.events_refused"
    ]
    assert sum(counts) == refused
    assert event_types(tmp_path).count("load.test") == accepted


def test_batched_is_durable_within_max_delay_although_no_further_event_comes(
    tmp_path: Path,
) -> None:
    policy = auditlog.FlushPolicy.batched(max_delay=0.05)
    with open_log(tmp_path, flush=policy) as log:
        ticket = log.emit("only.one")
        eventually(ticket.done)
        assert "only.one" in event_types(tmp_path)


def test_hybrid_makes_critical_and_durable_events_durable_before_it_returns(tmp_path: Path) -> None:
    policy = auditlog.FlushPolicy.hybrid(max_delay=3600)
    with open_log(tmp_path, flush=policy) as log:
        assert not log.emit("not.urgent").done()
        assert log.emit("auth_failure", details={"ip": "192.0.2.7"}).done()
        waiting = log.emit("not.urgent")
        assert log.emit("asked.for", durable=True).done()
        assert waiting.done(), "what was queued before goes out with it"
        last = log.emit("not.urgent")
        assert last.wait().done()


def test_ticket_names_log_seq_and_hash_of_its_record(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        ticket = log.emit(events.PoolDeleted(actor=ALICE, pool_id="pool-1"))
    record = next(r for r in auditlog.read(tmp_path, log_events=True) if r.seq == ticket.seq)
    assert (record.log, record.hash) == (ticket.log, ticket.hash)


def test_emit_from_many_threads_gives_one_chain(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:

        def work() -> None:
            for _ in range(50):
                assert log.emit("from.thread").done()

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.stats().commits < 16 * 50, "commits are shared"
    assert event_types(tmp_path).count("from.thread") == 800
    assert auditlog.verify(tmp_path).ok


def test_aemit_awaits_durable_without_blocking_the_loop(tmp_path: Path) -> None:
    async def main(log: auditlog.Log) -> int:
        async def one() -> auditlog.Ticket:
            return await log.aemit("from.task")

        before = threading.active_count()
        tickets = await asyncio.gather(*(one() for _ in range(200)))
        assert threading.active_count() <= before
        assert all(ticket.done() for ticket in tickets)
        return len({ticket.seq for ticket in tickets})

    with open_log(tmp_path) as log:
        assert asyncio.run(main(log)) == 200
        assert log.stats().commits < 200


@contextlib.contextmanager
def stalled_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[threading.Event, threading.Event]]:
    """fdatasync(2) sets the first event when it is called and returns after the second."""
    sync, began, let_go = os.fdatasync, threading.Event(), threading.Event()

    def slow(fd: int) -> None:
        began.set()
        let_go.wait()
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", slow)
    try:
        yield began, let_go
    finally:
        let_go.set()
        monkeypatch.undo()


def test_stats_tell_queued_written_and_durable_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(tmp_path, flush="batched") as log:
        opened = log.stats()
        assert (opened.written, opened.durable, opened.queued) == (2, 2, 0)
        with stalled_disk(monkeypatch) as (began, _):
            first = log.emit("some.event")
            assert began.wait(60)
            stats = log.stats()
            assert (stats.queued, stats.written, stats.durable) == (1, 3, 2)
            second = log.emit("some.event")
            stats = log.stats()
            assert (stats.queued, stats.written, stats.durable) == (2, 3, 2)
        first.wait(60)
        second.wait(60)
        stats = log.stats()
        assert (stats.queued, stats.written, stats.durable) == (0, 4, 4)
        [segment] = tmp_path.glob("*.ndjson")
        assert stats.durable_bytes == segment.stat().st_size
    with open_log(tmp_path) as log:
        assert log.stats().durable_bytes < 1000, "of this opening alone"


def test_flush_that_takes_too_long_says_so_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(tmp_path, flush="batched") as log:
        with stalled_disk(monkeypatch):
            ticket = log.emit("some.event")
            with pytest.raises(TimeoutError, match=r"queen-rbee@hive1.* 0\.05 s"):
                log.flush(timeout=0.05)
            assert not ticket.done()
        log.flush(timeout=60)
        assert ticket.done()


def _calls_that_wait(log: auditlog.Log) -> list[Callable[[], object]]:
    ip, batched = {"ip": "192.0.2.7"}, log._options.flush.mode == "batched"
    return [
        lambda: log.emit("waits.durable", durable=True),
        lambda: log.emit("auth_failure", durable=batched, details=ip),
        lambda: log.emit("waits.shortly", durable=True, timeout=0.01),
        lambda: asyncio.run(_a(log.aemit("waits.async"))),
        lambda: asyncio.run(_a(log.aemit("waits.async", timeout=0.01))),
        log.flush,
        lambda: log.flush(0.01),
    ]


async def _a(awaitable: Awaitable[object]) -> object:
    return await awaitable


@contextlib.contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """write(2) says ENOSPC inside."""

    def no_room(_fd: int, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(durable_fs, "write_all", no_room)
        yield


@pytest.mark.parametrize("flush", ["immediate", "batched", "hybrid"])
@pytest.mark.parametrize("disk", [stalled_disk, full_disk])
def test_bounded_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: str, disk: Callable[..., Any]
) -> None:
    """Every call gives up after its timeout, and loses nothing."""
    with open_log(tmp_path, flush=flush) as log:
        calls = _calls_that_wait(log)
        with disk(monkeypatch), impatient(log, 0.05):
            for call in calls:
                with pytest.raises(auditlog.NotDurableYet, match="slow or full"):
                    call()
        log.flush()
    types = event_types(tmp_path)
    assert [types.count(kind) for kind in ("waits.durable", "auth_failure", "waits.async")] == [
        *(1, 1, 2)
    ]
    assert auditlog.verify(tmp_path).ok


def test_bounded_wait_of_many_tasks_that_await_one_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its own timeout, whatever the others have."""

    async def main(log: auditlog.Log, let_go: threading.Event) -> list[object]:
        tasks = [
            asyncio.create_task(log.aemit("from.task", timeout=600 if patient else 0.02))
            for patient in [*[True] * 5, *[False] * 20, *[True] * 5]
        ]
        done, waiting = await asyncio.wait(tasks, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 20:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert all(isinstance(task.exception(), auditlog.NotDurableYet) for task in done)
        let_go.set()
        return await asyncio.gather(*waiting)

    with open_log(tmp_path) as log, stalled_disk(monkeypatch) as (_, let_go):
        assert len(asyncio.run(main(log, let_go))) == 10
    assert event_types(tmp_path).count("from.task") == 30


def test_bounded_wait_to_close_and_the_log_stays_locked_until_the_disk_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path, flush="batched")
    with stalled_disk(monkeypatch) as (began, _):
        ticket = log.emit("not.yet")
        assert began.wait(60)
        with pytest.raises(auditlog.LogFailed, match="closed while events could not"):
            log.close(timeout=0.05)
        with pytest.raises(auditlog.LogFailed):
            ticket.wait(60)
        with pytest.raises(auditlog.LogLocked):  # the commit thread may still write
            open_log(tmp_path)

    def opened() -> auditlog.Log | None:
        try:
            return open_log(tmp_path)
        except auditlog.LogLocked:
            return None

    eventually(opened).close()
    assert auditlog.verify(tmp_path).ok


def test_a_log_without_patience_opens_writes_and_closes_on_a_healthy_disk(tmp_path: Path) -> None:
    with open_log(tmp_path, flush="batched", block_timeout=0) as log:
        log.emit("some.event")
    assert event_types(tmp_path)[-2:] == ["some.event", "log.closed"]


def test_reopen_goes_on_after_a_failure_and_counts_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path)
    log.reopen()  # does nothing: it has not failed
    durable = log.emit("before.it")

    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(durable_fs, "fdatasync", broken)
        with pytest.raises(auditlog.LogFailed, match="Input/output"):
            log.emit("lost.one")
        for _ in range(3):
            with pytest.raises(auditlog.LogFailed, match=r"reopen\(\)"):
                log.emit("refused.one")
        with pytest.raises(auditlog.LogFailed):
            log.reopen()
    log.reopen()
    assert log.emit("after.it").seq > durable.seq
    assert not log.stats().failed
    log.close()
    with pytest.raises(auditlog.LogClosed):
        log.reopen()
    records = list(auditlog.read(tmp_path, log_events=True))
    types = [record.event_type for record in records if not record.event_type.startswith("log.")]
    assert types == ["before.it", "after.it"]
    [refused] = [r.fields["details"] for r in records if r.event_type == "log.events_refused"]
    assert refused == {"count": 3}
    assert auditlog.verify(tmp_path).ok


def test_reopen_after_the_directory_was_removed_makes_a_new_one(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    log = open_log(directory, flush="batched")
    shutil.rmtree(directory)
    eventually(lambda: log.stats().failed)
    log.reopen()
    log.emit("after.it")
    log.close()
    assert "after.it" in event_types(directory)


def test_a_log_keeps_its_directory_when_the_process_changes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = open_log(Path("audit"), flush="batched")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    log.emit("some.event", durable=True)
    log.close()
    assert event_types(tmp_path / "audit")[-1] == "log.closed"


def test_emit_that_waits_in_a_running_event_loop_warns_once(tmp_path: Path) -> None:
    async def main(log: auditlog.Log) -> None:
        with pytest.warns(RuntimeWarning, match=r"await log\.aemit") as warned:
            log.emit("stops.the_loop")
        assert warned[0].filename == __file__
        log.emit("stops.the_loop")

    with open_log(tmp_path) as log:
        asyncio.run(main(log))
        log.emit("no.loop")


@pytest.mark.parametrize("block_timeout", [0.05, 60])
def test_aemit_waits_for_room_and_the_loop_goes_on_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_timeout: float
) -> None:
    """As long as emit would; then it is refused and counted as there."""
    patient = block_timeout == 60
    with open_log(tmp_path, flush="batched", max_queue_bytes=70_000) as log:
        with stalled_disk(monkeypatch) as (began, let_go), impatient(log, block_timeout):

            async def main() -> int:
                first = log.emit("fills.it", details={"pad": "x" * 50_000})
                waiting = asyncio.ensure_future(
                    log.aemit("comes.later", details={"pad": "x" * 30_000})
                )
                turns = 0
                while not began.is_set() or turns < 20:
                    await asyncio.sleep(0.001)
                    turns += 1
                if patient:
                    assert not waiting.done()
                    assert log.stats().queued_bytes < 60_000, "it is not queued beyond the bound"
                    let_go.set()
                    assert (await waiting).done()
                    assert first.done()
                else:
                    with pytest.raises(auditlog.BufferFull):
                        await waiting
                return log.stats().refused

            assert asyncio.run(main()) == (0 if patient else 1)
        log.flush()
        log.emit("after.it")
    types = event_types(tmp_path)
    assert types.count("comes.later") == patient
    assert types.count("log.events_refused") == (not patient)
    assert auditlog.verify(tmp_path).ok


def test_flush_and_close_can_be_repeated(tmp_path: Path) -> None:
    log = open_log(tmp_path, flush="batched")
    ticket = log.emit("one.more")
    log.flush()
    log.flush()
    assert ticket.done()
    log.close()
    log.close()
    with pytest.raises(auditlog.LogClosed):
        log.emit("too.late")
    assert event_types(tmp_path)[-1] == "log.closed"


def test_exit_without_close_flushes(tmp_path: Path) -> None:
    code = (
        "import auditlog, sys\n"
        "log = auditlog.open(sys.argv[1], service='queen-rbee', host='hive1',"
        " flush=auditlog.FlushPolicy.batched(max_delay=60))\n"
        "log.emit('just.before')\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert event_types(tmp_path)[-2:] == ["just.before", "log.closed"]


def test_midnight_starts_a_new_segment_and_no_record_sits_in_the_wrong_day(tmp_path: Path) -> None:
    clock = Clock(NOON + DAY_NS // 2 - 1)
    with open_log(tmp_path, clock=clock) as log:
        log.emit("last.of.day")
        clock.now_ns += 1
        log.emit("first.of.day")
    names = sorted(path.name for path in tmp_path.glob("*.ndjson"))
    assert names == [
        "queen-rbee@hive1.2026-11-23.0001.ndjson",
        "queen-rbee@hive1.2026-11-24.0001.ndjson",
    ]
    assert [r.event_type for r in auditlog.read(tmp_path / names[1], log_events=True)][:2] == [
        "log.segment_opened",
        "first.of.day",
    ]
    opened = next(iter(auditlog.read(tmp_path / names[1], log_events=True))).fields["details"]
    assert opened["previous_segment"] == names[0]
    assert opened["previous_bytes"] == (tmp_path / names[0]).stat().st_size
    assert auditlog.verify(tmp_path).ok


def test_a_clock_that_no_record_can_have_refuses_events_until_it_is_right(tmp_path: Path) -> None:
    clock = Clock(10**30)
    with pytest.raises(auditlog.ClockUnusable, match="Set the clock"):
        open_log(tmp_path, clock=clock)
    clock.now_ns = NOON
    log = open_log(tmp_path, clock=clock)
    log.emit("before.it")
    clock.now_ns = 10**30
    for durable in (False, True):
        with pytest.raises(auditlog.ClockUnusable, match="Set the clock"):
            log.emit("far.away", durable=durable)
    clock.now_ns = NOON + 1000
    log.emit("after.it")
    clock.now_ns = -(10**30)
    log.close()
    assert event_types(tmp_path)[-3:] == ["before.it", "after.it", "log.closed"]
    assert auditlog.verify(tmp_path).ok


def test_a_full_segment_is_followed_by_the_next_part(tmp_path: Path) -> None:
    with open_log(tmp_path, max_segment_bytes=70_000) as log:
        for _ in range(10):
            log.emit("big.one", details={"pad": "x" * 20_000})
    sizes = [path.stat().st_size for path in tmp_path.glob("*.ndjson")]
    assert len(sizes) >= 3
    assert max(sizes) <= 70_000
    assert auditlog.verify(tmp_path).ok


def test_reopening_goes_on_in_the_same_segment_and_chain(tmp_path: Path) -> None:
    for _ in range(3):
        with open_log(tmp_path) as log:
            log.emit("one.run")
    assert len(list(tmp_path.glob("*.ndjson"))) == 1
    report = auditlog.verify(tmp_path)
    assert report.ok
    assert report.logs[0].last_seq == 1 + 3 * 3


def test_a_torn_tail_is_cut_kept_and_recorded(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.emit("one.run")
    segment = next(tmp_path.glob("*.ndjson"))
    with segment.open("ab") as file:
        file.write(b'{"v":1,"log":"queen-r')
    with open_log(tmp_path) as log:
        log.emit("next.run")
    recovered = next(
        r for r in auditlog.read(tmp_path, log_events=True) if r.event_type == "log.recovered"
    )
    details = recovered.fields["details"]
    assert details["bytes"] == 21
    assert (tmp_path / ".auditlog" / details["kept"]).read_bytes() == b'{"v":1,"log":"queen-r'
    assert auditlog.verify(tmp_path).ok


def _link_elsewhere(directory: Path, segment: Path) -> None:
    elsewhere = directory / "elsewhere"
    segment.rename(elsewhere)
    segment.symlink_to(elsewhere)


def _another_file(directory: Path, segment: Path) -> None:
    segment.unlink()
    segment.touch()


def _another_directory(directory: Path, segment: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))
    directory.mkdir()


def _append(directory: Path, segment: Path) -> None:
    with segment.open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize(
    "harm",
    [
        lambda _, segment: segment.unlink(),
        lambda directory, segment: segment.rename(directory / "elsewhere"),
        lambda _, segment: os.truncate(segment, 10),
        _another_file,
        _link_elsewhere,
        _append,
        lambda directory, _: shutil.rmtree(directory),
        lambda directory, _: directory.rename(directory.with_name("elsewhere")),
        _another_directory,
    ],
    ids=[
        *("removed", "renamed", "truncated", "replaced", "symlink", "appended to"),
        *("directory removed", "directory renamed", "directory replaced"),
    ],
)
def test_foreign_hands_on_the_active_segment_are_reported(
    tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    directory = tmp_path / "audit"
    log = open_log(directory)
    log.emit("before.it")
    segment = next(directory.glob("*.ndjson"))
    harm(directory, segment)
    eventually(lambda: log.stats().failed, "noticed although nothing is emitted")
    with pytest.raises(auditlog.LogFailed, match=r"by another (process|file)"):
        log.emit("after.it")
    with pytest.raises(auditlog.LogFailed):
        log.close()


def test_disk_full_loses_nothing_and_goes_on_by_itself(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    log = open_log(small_disk / "audit", flush="batched", space_low_bytes=0, space_critical_bytes=0)
    log.emit("before.it", durable=True)
    try:
        with ballast.open("wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
    except OSError:
        pass
    tickets = [log.emit("while.full", details={"pad": "x" * 1000}) for _ in range(20)]
    eventually(lambda: log._commits.stalled_by is not None)
    assert not tickets[-1].done()
    ballast.unlink()
    assert tickets[-1].wait(timeout=60).done()
    log.close()
    assert event_types(small_disk / "audit").count("while.full") == 20
    assert auditlog.verify(small_disk / "audit").ok


def test_a_file_size_limit_poisons_the_log_and_reopening_goes_on(tmp_path: Path) -> None:
    """RLIMIT_FSIZE gives EFBIG, an error that does not pass: nothing is acknowledged any more."""
    code = """
import auditlog, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = auditlog.open(sys.argv[1], service="queen-rbee", host="hive1")
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
durable = 0
try:
    while True:
        durable = log.emit("load.test", details={"pad": "x" * 3000}).seq
except auditlog.LogFailed as error:
    print(durable, error)
try:
    log.emit("load.test")
except auditlog.LogFailed:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env=unmeasured(),
    )
    first, second = done.stdout.splitlines()
    assert "File too large" in first
    assert ".ndjson" in first
    assert second == "refused"
    with open_log(tmp_path) as log:
        log.emit("after.it")
    records = {record.seq for record in auditlog.read(tmp_path, log_events=True)}
    assert set(range(1, int(first.split()[0]) + 1)) <= records
    assert auditlog.verify(tmp_path).ok


def test_invalid_events_queue_nothing(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        before = log.stats().last_seq
        for fields in (
            {"reason": "\ud800"},
            {"actor": {"name": "alice"}},
            {"details": [1]},
            {"outcome": "maybe"},
        ):
            with pytest.raises(auditlog.InvalidEvent):
                log.emit("some.event", **fields)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(auditlog.InvalidEvent):
            log.emit("log.closed")
        with pytest.raises(auditlog.InvalidEvent):
            log.emit("Not A Type")
        with pytest.raises(auditlog.RecordTooLarge, match="65535"):
            log.emit("some.event", details={"pad": "x" * 70_000})
        assert log.stats().last_seq == before


def test_bind_fills_what_an_event_leaves_open(tmp_path: Path) -> None:
    with open_log(tmp_path) as log, auditlog.bind(correlation_id="req-1", actor=ALICE):
        log.emit("inside.one")
        log.emit("inside.two", correlation_id="req-2")
    records = {
        record.event_type: record.fields for record in auditlog.read(tmp_path, log_events=True)
    }
    assert records["inside.one"]["correlation_id"] == "req-1"
    assert records["inside.one"]["actor"]["user_id"] == "alice"
    assert records["inside.two"]["correlation_id"] == "req-2"


def test_no_secret_reaches_the_file(tmp_path: Path) -> None:
    secret = "hunter2-very-secret"
    with open_log(tmp_path) as log:
        log.emit("some.event", details={"password": secret, "nested": [{"api_key": secret}]})
        log.emit("some.event", reason=f"Authorization: Bearer {secret}{secret}7Q")
    content = next(tmp_path.glob("*.ndjson")).read_bytes()
    assert secret.encode() not in content
    assert content.count(b"[redacted:password]") == 1
    assert content.count(b"hmac-sha256:") >= 1


def test_no_input_makes_two_lines_of_one_event(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.emit("some.event", reason='a\n{"v":1,"log":"x"}\r\n\x1b[31mred\u202egnp\u2028')
    content = next(tmp_path.glob("*.ndjson")).read_bytes()
    assert content.count(b"\n") == 4
    assert b"\x1b" not in content
    assert "\u202e".encode() not in content
    assert orjson.loads(content.splitlines()[2])["event_type"] == "some.event"


def test_disabled_writes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "never"
    with auditlog.open(directory, service="queen-rbee", flush="disabled") as log:
        assert log.emit("some.event", details={"x": object()}).wait().done()
        log.flush()
    assert not directory.exists()


def test_directories_and_files_are_private_unless_asked_otherwise(tmp_path: Path) -> None:
    for name, options, directory_mode, file_mode in (
        ("private", {}, 0o700, 0o600),
        ("group", {"group_readable": True}, 0o750, 0o640),
    ):
        directory = tmp_path / name
        open_log(directory, **options).close()
        assert directory.stat().st_mode & 0o777 == directory_mode
        assert next(directory.glob("*.ndjson")).stat().st_mode & 0o777 == file_mode


def test_retention_may_compress_a_sealed_segment_while_the_log_is_open(tmp_path: Path) -> None:
    import zstandard

    with open_log(tmp_path, max_segment_bytes=70_000) as log:
        for _ in range(8):
            log.emit("big.one", details={"pad": "x" * 20_000})
        first = min(tmp_path.glob("*.ndjson"))
        content = zstandard.ZstdCompressor().compress(first.read_bytes())
        first.with_name(first.name + ".zst").write_bytes(content)
        first.unlink()
        log.emit("after.it")
    assert auditlog.verify(tmp_path).ok


def test_a_record_behind_its_segments_day_has_one_details_member(tmp_path: Path) -> None:
    now = [int(dt.datetime(2026, 11, 23, 0, 30, tzinfo=dt.UTC).timestamp()) * 1_000_000_000]
    with open_log(tmp_path, clock=lambda: now[0]) as log:
        now[0] -= 3600 * 1_000_000_000
        log.emit("pool.drained", details={"pool": "a"})
    for record in auditlog.read(tmp_path, log_events=True):
        assert record.line.count(b'"details":') <= 1
    (drained,) = auditlog.read(tmp_path, types="pool.drained")
    assert set(drained.details) == {"pool", "clock_at"}
