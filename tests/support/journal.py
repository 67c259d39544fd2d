"""Real journal files, made by systemd-journal-remote from the journal's export format.

    journal = Journal(tmp_path / "journal")
    journal.add(MESSAGE="hello", PRIORITY="6")      # an entry in the active file
    journal.rotate()                                # the next entries go into a new file
    journal.vacuum()                                # all files but the active one are gone

Where the programs are missing, the tests do not run (tests/support/programs.py).
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

from tests.support.programs import not_run

__all__ = ["UNIT", "Journal", "need_journal"]

UNIT = "queen-rbee.service"
_REMOTE = Path("/lib/systemd/systemd-journal-remote")
_BOOT = "0123456789abcdef0123456789abcdef"
_START = 1_795_000_000_000_000  # in November 2026


def need_journal() -> None:
    """Skip the test, or fail it, where journal files cannot be made and read."""
    missing = [
        name
        for name, there in (
            ("journalctl", shutil.which("journalctl")),
            ("systemd-journal-remote", _REMOTE.exists()),
        )
        if not there
    ]
    if missing:
        not_run("PROGRAMS", f"{' and '.join(missing)} missing (Debian: systemd-journal-remote)")


class Journal:
    """A directory of journal files; entries are a second apart."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.entries = 0
        self._files = 0

    @property
    def active(self) -> Path:
        return self.directory / f"hive1-{self._files:04}.journal"

    def add(self, count: int = 1, **fields: str | bytes | list[str]) -> None:
        """Add entries of the unit; a value of bytes is written as such, a list as several."""
        blocks = []
        for _ in range(count):
            self.entries += 1
            given = {
                "MESSAGE": f"entry {self.entries}",
                "PRIORITY": "6",
                "_SYSTEMD_UNIT": UNIT,
                "_HOSTNAME": "hive1",
                "_PID": "4711",
                **fields,
            }
            blocks.append(self._encode(given))
        done = subprocess.run(
            [str(_REMOTE), f"--output={self.active}", "-"],
            input=b"".join(blocks),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()

    def rotate(self) -> None:
        self._files += 1

    def vacuum(self) -> None:
        for path in self.directory.glob("*.journal"):
            if path != self.active:
                path.unlink()

    def damage(self, entry: int) -> None:
        """Overwrite an entry's message and what lies around it, as a bad block of a disk does."""
        with self.active.open("r+b") as file:
            place = file.read().index(b"entry %d\0" % entry)
            file.seek(place - 64)
            file.write(b"\xa5" * 256)

    def _encode(self, fields: dict[str, str | bytes | list[str]]) -> bytes:
        at = _START + self.entries * 1_000_000
        lines = [
            b"__REALTIME_TIMESTAMP=%d\n" % at,
            b"__MONOTONIC_TIMESTAMP=%d\n" % (at - _START),
            b"_BOOT_ID=%b\n" % _BOOT.encode(),
        ]
        for name, value in fields.items():
            for one in value if isinstance(value, list) else [value]:
                data = one if isinstance(one, bytes) else one.encode()
                lines.append(b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(data)), data))
        return b"".join(lines) + b"\n"
