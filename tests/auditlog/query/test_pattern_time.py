from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

import auditlog
from auditlog.errors import QueryError
from auditlog.query.pattern_time import searcher

_T = TypeVar("_T")

CATASTROPHIC = ["(a+)+$", "(a|a)*b", "(?:a*)*c", r"(a|aa)+$", "(" * 3 + "a*" + ")*" * 3 + "b"]


def in_thread(call: Callable[[], _T]) -> _T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_ended(pattern: str) -> None:
    with pytest.raises(QueryError, match="takes more than a second"):
        searcher(pattern, 0.05)("a" * 5000 + "!")


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_ended_in_another_thread(pattern: str) -> None:
    search = searcher(pattern, 0.05)
    with pytest.raises(QueryError, match="takes more than a second"):
        in_thread(lambda: search("a" * 5000 + "!"))
    assert in_thread(lambda: search("aaab" + "c")) == search("aaabc")  # it goes on


def test_ended_in_a_search_from_another_thread(tmp_path: Path) -> None:
    with auditlog.open(tmp_path, service="a", host="b") as log:
        log.emit("pool.drained", reason="a" * 5000 + "!")
        log.emit("pool.drained", reason="ab")

    def find(query: str) -> list[int]:
        return [record.seq for record in auditlog.search(tmp_path, query)]

    with pytest.raises(QueryError, match="takes more than a second"):
        in_thread(lambda: find('reason~"(a+)+$"'))
    assert in_thread(lambda: find('reason~"^a+b$"')) == find('reason~"^a+b$"') != []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        *(("a+b", "xaab"), ("a+b", "xaac"), ("^gr[üu]n?$", "grün"), ("(?i)A|B", "b"), ("x*", "")),
        *(("a+", "\ud800"), (r"\d{3}", "a\n123"), ("a.c", "abc"), ("[0-9]z", "5y")),
    ],
)
def test_same(pattern: str, text: str) -> None:
    search = searcher(pattern)
    assert in_thread(lambda: search(text)) == search(text)


def children() -> set[int]:
    """The processes that this one has started, such as servers that other tests share."""
    return {process.pid for process in psutil.Process().children()}


def test_the_process_of_another_thread_ends_with_the_search() -> None:
    before = children()
    searches = [searcher("a+b")]
    in_thread(lambda: searches[0]("xaab"))
    assert len(children() - before) == 1
    searches.clear()
    assert children() <= before


def test_a_process_that_cannot_be_started_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    search = searcher("a+b")
    with pytest.raises(QueryError, match=r"no process can be started.*: No such file"):
        in_thread(lambda: search("aab"))
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    search = searcher("a+b")
    with pytest.raises(QueryError, match=r"the process that searches .* ended with 1"):
        in_thread(lambda: search("aab"))


def test_a_pattern_that_cannot_backtrack_needs_no_process() -> None:
    search, before = searcher("^fail[ed]"), children()
    found, now = in_thread(lambda: (search("failed"), children()))
    assert found
    assert now <= before


def test_threads_may_share_a_search() -> None:
    search = searcher("a+b")
    texts = ["aab", "aac"] * 50
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(search, texts)) == [True, False] * 50


def test_what_was_set_up_for_the_signal_is_restored() -> None:
    before = signal.getsignal(signal.SIGVTALRM)
    assert searcher("a+b")("xaab")
    assert not searcher("a+b")("xaac")
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
