"""Check parts of a segment in worker processes, to use several cores.

A stretch is a run of whole lines of a plain segment.  A worker process checks that each line is the
successor of the one before, and returns the hashes at both ends; the check of the chain then only
joins the stretches.  A stretch that fails is read again line by line in the calling process, so the
report is the same with any number of processes.

The processes run ``work`` with the same interpreter: one request a line on stdin, one response a
line on stdout.  They end at the end of stdin.

Invariants (tests of the same name in tests/auditlog/verification/test_workers.py):
  same_report   the report does not depend on the number of processes, whatever the damage
  fallen_back   a process that dies costs time and does not change the report
  flat          memory does not grow with the log
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Self

import orjson

from auditlog.format.record import log_prefix, parse_header
from auditlog.reading.reader import iter_lines, open_segment
from auditlog.verification.chain import Intact
from auditlog.verification.fast_path import check_following, following_start

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["Workers", "check_stretch", "cuts", "work"]

STRETCH_BYTES: Final = 4 << 20
_MAX_LINE_BYTES: Final = 1 << 20


def check_stretch(log: str, day: str, lines: Iterable[bytes]) -> Intact | None:
    """Check the lines against each other; None unless each is the successor of the one before.

    ``day`` is the segment's, as in 2026-11-23.
    """
    prefix, day_bytes = log_prefix(log), day.encode("ascii")
    first: tuple[int, str] | None = None
    seq, last_hash = 0, ""
    for line in lines:
        if first is None:
            header = parse_header(line)
            if header is None:
                return None
            first = seq, last_hash = header.seq, header.prev_hash
        start = following_start(prefix, seq, last_hash)
        checked = check_following(line, start)
        if checked is None or not line.startswith(day_bytes, len(start)):
            return None
        last_hash = checked[0]
        seq += 1
    return None if first is None else Intact(*first, seq - first[0], last_hash)


def cuts(stream: BinaryIO, start: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut a stream of ``size`` bytes into stretches of whole lines, from ``start`` on.

    A rest that is too short for a stretch, or has no LF, is left at the end.
    """
    while start + STRETCH_BYTES <= size:
        stream.seek(start + STRETCH_BYTES - 1)
        rest = stream.readline(_MAX_LINE_BYTES)
        if not rest.endswith(b"\n"):
            return
        end = start + STRETCH_BYTES - 1 + len(rest)
        yield start, end
        start = end


class Workers:
    """A pool of processes that check stretches; a context manager."""

    def __init__(self, processes: int) -> None:
        self._asked: deque[tuple[int, int, subprocess.Popen[bytes]]] = deque()
        # Isolated, and with our own path: no module is imported from the current directory.
        code = (
            f"import sys; sys.path[:] = {sys.path!r};"
            " from auditlog.verification.workers import work; work()"
        )
        self._processes = [
            subprocess.Popen(  # noqa: S603  (this interpreter, and code of ours)
                [sys.executable, "-I", "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,  # Ctrl-C goes to the parent, which ends them
            )
            for _ in range(processes)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()  # it only reads
            process.wait()
            for pipe in (process.stdin, process.stdout):
                _close(pipe)

    def checked(
        self, path: Path, log: str, day: str, stretches: Iterable[tuple[int, int]]
    ) -> Iterator[tuple[int, int, Intact | None]]:
        """Yield each stretch in order with its result; None: the caller has to check it."""
        asked = self._asked
        while asked:
            _next(asked)  # the caller before has left early, and its responses are still to come
        for number, stretch in enumerate(stretches):
            process = self._processes[number % len(self._processes)]
            start, end = stretch
            question = {"path": str(path), "log": log, "day": day, "start": start, "end": end}
            _ask(process, question)
            asked.append((*stretch, process))
            if len(asked) == 2 * len(self._processes):
                yield _next(asked)
        while asked:
            yield _next(asked)


def _next(
    asked: deque[tuple[int, int, subprocess.Popen[bytes]]],
) -> tuple[int, int, Intact | None]:
    start, end, process = asked.popleft()
    return start, end, _answer(process)


def _ask(process: subprocess.Popen[bytes], question: dict[str, Any]) -> None:
    assert process.stdin is not None  # noqa: S101  (a pipe; for the type checker)
    try:
        process.stdin.write(orjson.dumps(question) + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return  # the process has died; there will be no response


def _answer(process: subprocess.Popen[bytes]) -> Intact | None:
    assert process.stdout is not None  # noqa: S101  (a pipe; for the type checker)
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        return None  # it is gone
    found = orjson.loads(line)
    return None if found is None else Intact(*found)


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        try:
            pipe.close()
        except BrokenPipeError:
            return  # a request that the process did not read


def work() -> None:
    """The main loop of a worker process: answer requests until the end of stdin."""
    answers = sys.stdout.buffer
    for line in sys.stdin.buffer:
        question = orjson.loads(line)
        try:
            with open_segment(question["path"], "") as stream:
                stream.seek(question["start"])
                content = stream.read(question["end"] - question["start"])
            lines = (line for _, line in iter_lines(io.BytesIO(content)))
            found = check_stretch(question["log"], question["day"], lines)
        except OSError:
            found = None  # compressed or deleted meanwhile: the caller checks it
        answers.write(orjson.dumps(None if found is None else list(found)) + b"\n")
        answers.flush()
