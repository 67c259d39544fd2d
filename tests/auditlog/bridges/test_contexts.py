"""Where code of others meets the writer's: signal handlers, event loops, threads."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditlog import durable_fs


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Handle SIGUSR1 with a function."""
    before = signal.getsignal(signal.SIGUSR1)

    def install(handler: Callable[[], object]) -> None:
        signal.signal(signal.SIGUSR1, lambda _number, _frame: handler())

    yield install
    signal.signal(signal.SIGUSR1, before)


def types_in(directory: Path) -> list[str]:
    return [record.event_type for record in auditlog.read(directory, log_events=True)]


@pytest.mark.parametrize("flush", ["immediate", "batched"])
def test_an_event_of_a_signal_handler_that_interrupts_emit_is_recorded(
    tmp_path: Path, on_signal: Callable[[Callable[[], object]], None], flush: str
) -> None:
    """It is queued; the handler cannot wait for it, the main program can."""
    main = threading.get_ident()
    armed = False
    tickets: list[auditlog.Ticket] = []
    refused: list[str] = []

    def clock() -> int:  # read inside emit, with the log's lock held; and by the commit thread
        nonlocal armed
        if armed and threading.get_ident() == main:
            armed = False
            signal.raise_signal(signal.SIGUSR1)
        return time.time_ns()

    def handler() -> None:
        tickets.append(log.emit("from.handler"))
        for wait in (lambda: tickets[0].wait(60), log.flush, log.close):
            try:
                wait()
            except auditlog.AuditLogError as error:
                refused.append(str(error))

    with auditlog.open(
        tmp_path, service="queen-rbee", host="hive1", flush=flush, clock=clock
    ) as log:
        on_signal(handler)
        log.emit("before.it")
        armed = True
        log.emit("interrupted.by_it")
        (ticket,) = tickets
        assert ticket.wait(60).done()
        log.emit("after.it")
    assert len(refused) == 3
    assert all("signal handler" in text for text in refused)
    types = types_in(tmp_path)
    assert [kind for kind in types if not kind.startswith("log.")] == [
        "before.it",
        "interrupted.by_it",
        "from.handler",
        "after.it",
    ]
    record = next(
        r for r in auditlog.read(tmp_path, log_events=True) if r.event_type == "from.handler"
    )
    assert (record.seq, record.hash) == (ticket.seq, ticket.hash)
    assert auditlog.verify(tmp_path).ok


def test_a_signal_handler_that_interrupts_a_wait_for_the_disk_may_emit_and_wait(
    tmp_path: Path,
    on_signal: Callable[[Callable[[], object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fdatasync, handled = durable_fs.fdatasync, threading.Event()

    def interrupted(descriptor: int) -> None:
        if not handled.is_set():
            os.kill(os.getpid(), signal.SIGUSR1)
            handled.wait(60)
        fdatasync(descriptor)

    def handler() -> None:
        handled.set()
        assert log.emit("from.handler").done()

    with auditlog.open(tmp_path, service="queen-rbee", host="hive1") as log:
        on_signal(handler)
        monkeypatch.setattr(durable_fs, "fdatasync", interrupted)
        log.emit("interrupted.by_it")
        log.emit("after.it")
    types = [kind for kind in types_in(tmp_path) if not kind.startswith("log.")]
    assert types == ["interrupted.by_it", "from.handler", "after.it"]
    assert auditlog.verify(tmp_path).ok


def test_whoever_awaits_a_ticket_goes_on_in_its_own_loop_and_thread(tmp_path: Path) -> None:
    """Callbacks never run on the thread that commits."""
    ran_on: dict[str, set[int]] = {"first": set(), "second": set()}
    own: dict[str, int] = {}

    async def work(log: auditlog.Log, name: str) -> None:
        own[name] = threading.get_ident()

        async def one() -> None:
            ticket = await log.aemit("from.task")
            assert ticket.done()
            ran_on[name].add(threading.get_ident())

        waiting = [asyncio.ensure_future(one()) for _ in range(200)]
        for task in waiting:
            task.add_done_callback(lambda _task: ran_on[name].add(threading.get_ident()))
        await asyncio.gather(*waiting)

    with auditlog.open(tmp_path, service="queen-rbee", host="hive1") as log:
        threads = [
            threading.Thread(target=lambda name=name: asyncio.run(work(log, name)))
            for name in ran_on
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ran_on == {name: {own[name]} for name in own}
    assert types_in(tmp_path).count("from.task") == 400


def test_a_thousand_tasks_need_no_thread_each(tmp_path: Path) -> None:
    async def main(log: auditlog.Log) -> tuple[int, list[Any]]:
        before = threading.active_count()
        tasks = [asyncio.create_task(log.aemit("from.task")) for _ in range(1000)]
        await asyncio.sleep(0)
        during = threading.active_count()
        return during - before, await asyncio.gather(*tasks)

    with auditlog.open(tmp_path, service="queen-rbee", host="hive1") as log:
        more, tickets = asyncio.run(main(log))
    assert more == 0
    assert sorted(ticket.seq for ticket in tickets) == list(range(3, 1003))


def test_a_task_that_is_canceled_while_it_waits_takes_nobody_with_it(tmp_path: Path) -> None:
    async def main(log: auditlog.Log) -> None:
        tasks = [asyncio.create_task(log.aemit("from.task")) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, auditlog.Ticket) for result in done[1::2])

    with auditlog.open(tmp_path, service="queen-rbee", host="hive1") as log:
        asyncio.run(main(log))
    assert types_in(tmp_path).count("from.task") == 50
    assert auditlog.verify(tmp_path).ok
