"""Run and supervise journalctl as a child process, and read its lines ahead in a thread.

The child starts with the entry of the cursor itself.  If that entry is gone, as after a rotation or
a vacuum, the journal is read from its oldest entry, which costs time and duplicates, and never an
entry.

journalctl leaves the rest of a damaged file out, and ends well: what it says of that is for its
log level debug alone, so it runs with that, and its words are read while it runs.

A child that ends is started again from the last entry that was read.  It ends by itself when this
process is gone: journalctl watches its standard output.

Invariants (tests of the same name in tests/shippers/sources/journald/test_source.py):
  resumes     from any cursor exactly the entries behind it follow
  cursor_lost a cursor whose entry is gone is logged, counted, and costs no entry
  damaged     a file that is damaged, and of which journalctl leaves entries out, is named
  no_zombie   no child outlives its reader, or this process
"""

from __future__ import annotations

import logging
import os
import random
import re
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shippers.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

__all__ = ["JournalReader"]

_logger = logging.getLogger("auditlog.shippers")

_AHEAD_BYTES: Final = 4 << 20
_LINE_BYTES: Final = 8 << 20
_CURSOR: Final = re.compile(rb'"__CURSOR":"([^"\\]+)"')
_STOP_SECONDS: Final = 2.0
_SAID_BYTES: Final = 4096
_SPEAKING: Final = {"SYSTEMD_LOG_LEVEL": "debug", "SYSTEMD_LOG_TARGET": "console-prefixed"}
_LEVEL: Final = re.compile(r"<(\d{1,3})>")
_NOTICE: Final = 5  # syslog(3), with the facility above it: the rest is chatter, apart from damage
# Of libsystemd's messages about journal files, those after which entries are left out.
_DAMAGE: Final = re.compile(
    r"(?:Can't iterate|[Jj]ournal file|Failed to (?:open|read|map)).*?(/\S+\.journal~?)"
    r".*(?:Bad message|truncated|corrupt|unsupported|Input/output error|No data available)"
)


class JournalReader:
    """``command`` prints entries as JSON; it gets ``--cursor`` or ``first`` appended.

    ``wake`` is called when there is something to take.
    """

    def __init__(
        self,
        command: Sequence[str],
        first: Sequence[str],
        cursor: str | None,
        wake: Callable[[], None],
        *,
        again: bool,
    ) -> None:
        self.trouble = ""
        self._damage = ""
        self._damaged: Path | None = None
        self.restarts = 0
        self.ended = False
        self._command = list(command)
        self._first = list(first)
        self._cursor = cursor
        self._wake = wake
        self._again = again
        self._lost = False
        self._lines: deque[bytes] = deque()
        self._ahead_bytes = 0
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="auditlog-journal", daemon=True)
        self._thread.start()

    @property
    def damage(self) -> str:
        """Return journalctl's words about a damaged file, as long as that is there; else ""."""
        damaged = self._damaged
        return self._damage if damaged is not None and damaged.exists() else ""

    @property
    def ahead_bytes(self) -> int:
        """Bytes that were read and not taken yet."""
        return self._ahead_bytes

    def take(self, max_bytes: int, max_lines: int) -> list[bytes]:
        """The next lines, at least one if there is any; never waits."""
        taken: list[bytes] = []
        size = 0
        with self._changed:
            while self._lines and len(taken) < max_lines and (not taken or size < max_bytes):
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self._ahead_bytes -= size
            self._changed.notify_all()
        return taken

    def close(self) -> None:
        """End the child; when this returns there is none."""
        self._stopped.set()
        with self._changed:
            child = self._child
            self._changed.notify_all()
        if child is not None:
            child.terminate()
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive() and child is not None:
            child.kill()
            self._thread.join(_STOP_SECONDS)

    # -- the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        backoff, rng, failures = Backoff(), random.Random(), 0  # noqa: S311  (jitter, no secret)
        while not self._stopped.is_set():
            progress = self._read_child()
            if self._stopped.is_set() or not (self._again or self._lost):
                break
            self.restarts += 1
            if self._lost:
                self._lost = False
                continue
            failures = 0 if progress else failures + 1
            self._wake()
            self._stopped.wait(backoff.delay(failures, rng).total_seconds())
        self.ended = True
        self._wake()

    def _read_child(self) -> bool:
        """Run one child to its end; whether it gave anything."""
        cursor = self._cursor
        where = self._first if cursor is None else [f"--cursor={cursor}"]
        try:
            child = subprocess.Popen(  # noqa: S603  (arguments are ours, and no shell)
                [*self._command, *where],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **_SPEAKING},
            )
        except OSError as error:
            self.trouble = f"journalctl cannot be started: {error.strerror}"
            return False
        complaint: list[str] = []
        with child:
            with self._changed:
                self._child = child
            if self._stopped.is_set():
                child.terminate()
            assert child.stdout is not None  # noqa: S101  (both are pipes)
            assert child.stderr is not None  # noqa: S101  (as above)
            listener = threading.Thread(target=self._listen, args=(child.stderr, complaint))
            listener.start()
            progress = self._read_lines(child.stdout, cursor)
            child.terminate()  # it may have been left in the middle
            listener.join()
        said = complaint[0] if complaint else ""
        if not progress and cursor is not None and "cursor" in said:
            self._lose_cursor(said)
        elif not progress and not self._lost and child.returncode > 0:
            self.trouble = f"journalctl ended with {child.returncode}: {said or 'no reason given'}"
        return progress

    def _read_lines(self, output: IO[bytes], cursor: str | None) -> bool:
        first, progress = True, False
        while line := output.readline(_LINE_BYTES):
            while not line.endswith(b"\n"):  # its beginning is enough to say that it was there
                rest = output.readline(_LINE_BYTES)
                if not rest:
                    return progress  # it was killed in the middle of an entry, which comes again
                line = line[: _LINE_BYTES // 2] + (b"\n" if rest[-1:] == b"\n" else b"")
            found = _CURSOR.search(line)
            if first and cursor is not None:
                first = False
                if found is None or found[1].decode() != cursor:
                    self._lose_cursor("its entry is not in the journal any more")
                    break
                continue
            first = False
            self.trouble = ""
            if not self._put(line):
                break
            progress = True
            if found is not None:
                self._cursor = found[1].decode()
        return progress

    def _listen(self, errors: IO[bytes], complaint: list[str]) -> None:
        """Take what the child says: its first complaint, and any damage at once."""
        while line := errors.readline(_SAID_BYTES):
            said = line.decode("utf-8", "replace").strip()
            if (level := _LEVEL.match(said)) is not None:
                said = said[level.end() :]
            if said and not complaint and (level is None or int(level[1]) & 7 <= _NOTICE):
                complaint.append(said[:500])
            if (found := _DAMAGE.search(said)) is not None:
                self._note_damage(Path(found[1]), said)

    def _note_damage(self, path: Path, said: str) -> None:
        if path != self._damaged:
            _logger.error(
                "entries of the journal are not shipped, since a file of it is damaged: "
                "journalctl says %r; see journalctl --verify --file=%s",
                said,
                path,
            )
        self._damaged = path
        self._damage = f"a file of the journal is damaged, entries are left out: {said}"

    def _lose_cursor(self, why: str) -> None:
        _logger.warning(
            "the journal has lost the entry at the cursor (%s); it is read from its oldest one", why
        )
        self._cursor, self._first, self._lost = None, [], True

    def _put(self, line: bytes) -> bool:
        with self._changed:
            while self._ahead_bytes >= _AHEAD_BYTES and not self._stopped.is_set():
                self._changed.wait()
            if self._stopped.is_set():
                return False
            was_empty = not self._lines
            self._lines.append(line)
            self._ahead_bytes += len(line)
            is_full = self._ahead_bytes >= _AHEAD_BYTES
        if was_empty or is_full:  # who lingers for more waits in vain from here on
            self._wake()
        return True
