"""Tickets: done when durable or never, and futures told on their own loop."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading

import pytest

from auditlog.errors import LogFailed
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.writer.ticket import Commit, Ticket, Waiter
from tests.support.waiting import eventually

SEGMENT = SegmentName(LogId("queen-rbee", "hive1"), dt.date(2026, 11, 23), 1)
FAILURE = LogFailed("records could not be made durable", path="/x", errno=5, hint="Mend it.")


class Committer:
    """Stands in for the committer: hands out waiters, and resolves when the test says so."""

    def __init__(self) -> None:
        self.commit = Commit(SEGMENT, 0, 1)
        self.asked: list[float | None] = []

    def wait(self, commit: Commit, timeout: float | None) -> bool:
        self.asked.append(timeout)
        if timeout == 0:
            return commit.done
        waiter = Waiter()
        commit.waiters.append(waiter)
        if commit.done:  # resolved before there was anybody to wake
            return True
        return waiter.sleep(timeout) and commit.done

    def ticket(self, seq: int = 7) -> Ticket:
        return Ticket(self.commit, self.wait, seq, "ab" * 32)

    def resolve_soon(self, error: LogFailed | None = None) -> threading.Thread:
        def work() -> None:
            eventually(lambda: self.asked)
            self.commit.resolve(error)

        thread = threading.Thread(target=work)
        thread.start()
        return thread


def test_durable_only() -> None:
    committer = Committer()
    ticket = committer.ticket()
    assert not ticket.done()
    assert "pending" in repr(ticket)
    with pytest.raises(TimeoutError, match="seq 7"):
        ticket.wait(timeout=0.001)
    thread = committer.resolve_soon()
    assert ticket.wait() is ticket
    thread.join()
    assert ticket.done()
    assert "durable" in repr(ticket)
    assert (ticket.log, ticket.seq, ticket.hash) == ("queen-rbee@hive1", 7, "ab" * 32)


def test_durable_only_or_never() -> None:
    committer = Committer()
    first, second = committer.ticket(7), committer.ticket(8)
    committer.commit.resolve(FAILURE)
    raised = []
    for ticket in (first, second, second):
        with pytest.raises(LogFailed) as refusal:
            ticket.wait()
        raised.append(refusal.value)
        assert str(refusal.value) == str(FAILURE)
        assert ticket.done()
        assert "failed" in repr(ticket)
    assert len({id(error) for error in raised}) == 3, "each with a traceback of its own"


def test_a_timeout_may_be_a_timedelta() -> None:
    committer = Committer()
    with pytest.raises(TimeoutError, match="seq 7"):
        committer.ticket().wait(dt.timedelta(milliseconds=1))
    assert committer.asked == [pytest.approx(0.001, rel=0.5)]


def test_own_loop() -> None:
    committer = Committer()
    threads: list[int] = []

    async def await_it() -> Ticket:
        ticket = await committer.ticket()
        threads.append(threading.get_ident())
        return ticket

    async def main() -> list[Ticket]:
        return await asyncio.gather(*(await_it() for _ in range(5)))

    committing = committer.resolve_soon()
    tickets = asyncio.run(main())
    committing.join()
    assert len(tickets) == 5
    assert set(threads) == {threading.get_ident()}
    assert set(committer.asked) == {0}, "a loop is never blocked"


def test_own_loop_of_each_of_several() -> None:
    committer = Committer()
    loops = 3
    results: list[bool] = []

    async def await_it() -> None:
        results.append((await committer.ticket()).done())

    threads = [threading.Thread(target=asyncio.run, args=(await_it(),)) for _ in range(loops)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(committer.commit.loops) == loops)
    committer.commit.resolve(None)
    for thread in threads:
        thread.join()
    assert results == [True] * loops


def test_own_loop_that_was_closed_meanwhile_is_nobody_to_tell() -> None:
    committer = Committer()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(await_it(), 0.01)

    async def await_it() -> None:
        await committer.ticket()

    asyncio.run(give_up())
    committer.commit.resolve(None)
    assert committer.ticket().done()


def test_awaiting_a_ticket_that_failed_raises() -> None:
    committer = Committer()

    async def await_it() -> None:
        await committer.ticket()

    committing = committer.resolve_soon(FAILURE)
    with pytest.raises(LogFailed):
        asyncio.run(await_it())
    committing.join()
    with pytest.raises(LogFailed):
        asyncio.run(await_it())


def test_a_waiter_sleeps_until_it_is_woken() -> None:
    waiter = Waiter()
    assert not waiter.sleep(0)
    assert not waiter.sleep(0.001)
    assert not waiter.sleep(-1), "a deadline that has passed"
    waiter.wake()
    assert waiter.sleep(None)
