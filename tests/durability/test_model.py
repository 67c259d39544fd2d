"""The writer against a list: whatever happens in whatever order, the file holds what it must.

The model knows which events were promised and which still wait in memory.  A kill is a copy of the
directory as it is, without closing the log.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import auditlog
from auditlog import FlushPolicy, durable_fs
from tests.support.oracle import Line, whole_chain
from tests.support.writers import DAY_NS, NOON_NS

SECOND_NS = 1_000_000_000
EXAMPLES = int(os.environ.get("AUDITLOG_MODEL_EXAMPLES", "60"))


class Writer(RuleBasedStateMachine):
    """``promised`` and ``waiting`` are the events' numbers, in order."""

    def __init__(self) -> None:
        super().__init__()
        shm = Path("/dev/shm")
        self.home = Path(tempfile.mkdtemp(dir=shm if os.access(shm, os.W_OK) else None))
        self.lives = 0
        self.directory = self.home / "0"
        self.now_ns = self.latest_ns = NOON_NS
        self.number = 0
        self.promised: list[int] = []
        self.hashes: dict[int, tuple[int, str]] = {}
        self.waiting: list[tuple[int, Any]] = []
        self.seen: list[tuple[int, str]] = []
        self.names: set[str] = set()
        self.log: auditlog.Log | None = None

    @initialize()
    def open_it(self) -> None:
        # A clock that is further behind makes another log go on: see test_opening.
        self.now_ns = max(self.now_ns, self.latest_ns - DAY_NS)
        self.log = auditlog.open(
            self.directory,
            service="queen-rbee",
            host="hive1",
            flush=FlushPolicy.batched(max_delay=3600, max_events=10**9, max_bytes=1 << 20),
            max_segment_bytes=66_000,
            space_low_bytes=0,
            space_critical_bytes=0,
            clock=lambda: self.now_ns,
        )

    def _keep_promises(self) -> None:
        for number, ticket in self.waiting:
            assert ticket.done()
            ticket.wait(0)
            self.hashes[number] = ticket.seq, ticket.hash
            self.promised.append(number)
        self.waiting = []

    @rule(size=st.sampled_from([0, 10, 4000, 20_000, 60_000]), durable=st.booleans())
    def emit(self, size: int, durable: bool) -> None:
        assert self.log is not None
        self.number += 1
        self.now_ns += 1000
        details = {"number": self.number, "pad": "x" * size}
        if len(self.waiting) > 12:
            durable = True  # a commit takes 1 MiB; more would start one by itself
        ticket = self.log.emit("crash.test", details=details, durable=durable)
        self.waiting.append((self.number, ticket))
        if durable:
            self._keep_promises()
        else:
            assert not ticket.done()

    @rule()
    def flush(self) -> None:
        assert self.log is not None
        self.log.flush()
        self._keep_promises()

    @rule(seconds=st.sampled_from([1, 3600, 43_200, 86_400, 365 * 86_400, -2, -3600, -86_400]))
    def step_clock(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND_NS
        self.latest_ns = max(self.latest_ns, self.now_ns)

    @rule()
    def close_and_open(self) -> None:
        assert self.log is not None
        self.log.close()
        self._keep_promises()
        self.open_it()

    def _kill(self) -> None:
        assert self.log is not None
        old, self.lives = self.directory, self.lives + 1
        self.directory = self.home / str(self.lives)
        shutil.copytree(old, self.directory)
        self.waiting = []
        with suppress(auditlog.LogFailed):
            self.log.close()
        shutil.rmtree(old)

    @rule(tail=st.sampled_from([b"", b"\0" * 5000, b'{"v":1,"log":"queen', b"\0\n", b"x" * 70_000]))
    def kill_and_open(self, tail: bytes) -> None:
        self._kill()
        newest = max(self.directory.glob("*.ndjson"))
        with newest.open("ab") as file:
            file.write(tail)
        self.open_it()

    @rule(cut=st.integers(1, 200))
    @precondition(lambda self: not self.waiting)
    def kill_within_a_write(self, cut: int) -> None:
        """The next commit is written by a part only, and nobody was promised anything."""
        assert self.log is not None
        before = {path.name: path.stat().st_size for path in self.directory.glob("*.ndjson")}
        self.log.emit("crash.test", details={"torn": True}, durable=True)
        self._kill()
        newest = max(self.directory.glob("*.ndjson"))
        kept = before.get(newest.name, 0)
        with newest.open("r+b") as file:
            file.truncate(min(max(kept, newest.stat().st_size - cut), newest.stat().st_size))
        if newest.name not in before:
            # A crash before the segment's first sync: the note of it was not written either.
            shutil.rmtree(self.directory / ".auditlog")
        self.open_it()

    @rule(call=st.sampled_from(["write_all", "fdatasync"]), rotate=st.booleans())
    def disk_error(self, call: str, rotate: bool) -> None:
        assert self.log is not None
        if rotate:
            self.now_ns += DAY_NS
            self.latest_ns = max(self.latest_ns, self.now_ns)

        def failing(*arguments: object) -> None:
            raise OSError(5, "Input/output error")

        self.number += 1
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(durable_fs, call, failing)
            with pytest.raises(auditlog.LogFailed):
                self.log.emit("crash.test", details={"number": self.number}, durable=True)
        with pytest.raises(auditlog.LogFailed):
            self.log.emit("crash.test")
        for number, ticket in self.waiting:
            assert ticket.done()
            # Those of earlier segments may have become durable before the error.
            with suppress(auditlog.LogFailed):
                ticket.wait(0)
                self.hashes[number] = ticket.seq, ticket.hash
                self.promised.append(number)
        self.waiting = []
        with suppress(auditlog.LogFailed):
            self.log.close()
        self.open_it()

    @invariant()
    def the_file_holds_what_was_promised_and_no_more(self) -> None:
        if self.log is None:
            return
        chain = whole_chain(self.directory)
        there = [line for line in chain if line.number is not None]
        assert [line.number for line in there] == self.promised
        for line in there:
            assert line.number is not None
            assert (line.seq, line.hash) == self.hashes[line.number]
        self._history_is_kept(chain)

    def _history_is_kept(self, chain: list[Line]) -> None:
        """No record that was ever seen durable becomes another; no segment's name comes twice."""
        now = [(line.seq, line.hash) for line in chain]
        assert now[: len(self.seen)] == self.seen
        self.seen = now
        opened = [line.segment for line in chain if line.event_type == "log.segment_opened"]
        assert len(opened) == len(set(opened))
        assert opened == sorted(opened)

    def teardown(self) -> None:
        if self.log is not None:
            self.log.close()
            report = auditlog.verify(self.directory)
            assert report.ok, report.findings
        shutil.rmtree(self.home)


def test_the_writer_behaves_as_a_list_that_survives() -> None:
    run_state_machine_as_test(
        Writer,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            derandomize=EXAMPLES <= 100,
            suppress_health_check=list(HealthCheck),
        ),
    )
