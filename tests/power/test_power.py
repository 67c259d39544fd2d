"""One cut of the power of a virtual machine with every file system; `make power` makes more.

What says whether a disk is sound is tried here without a machine.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from tests.power.__main__ import CACHE, main
from tests.power.cuts import Cuts, Series
from tests.power.disk_log import replay_flushed, replay_some
from tests.power.machine import FILESYSTEMS, Machine, Unavailable
from tests.power.words import Words
from tests.support.programs import not_run

SECTOR = 512
FLUSH = 1


@pytest.mark.timeout(4 * 1200)  # two boots, with two waits each
def test_nothing_acknowledged_is_lost_when_the_power_is_cut(tmp_path: Path) -> None:
    """Writers on every file system, and one with an agent beside it, in one machine.

    The clock is set back between the two boots.  The last disk's writer never syncs, and so loses.
    """
    try:
        machine = Machine.prepare(CACHE, tmp_path)
        series = [Series(tmp_path / f, "writer", f) for f in FILESYSTEMS]
        series.append(Series(tmp_path / "agent", "agent", "ext4", states=2))
        series.append(Series(tmp_path / "unsynced", "unsynced", "xfs"))
        cuts = Cuts(machine, series, random.Random(1), 20, 2, clock_ahead=(6 * 3600, 0))
        cuts.cut()
        with pytest.raises(AssertionError, match=r"^unsynced on xfs: \d+ acknowledged"):
            cuts.look(last=True)
    except Unavailable as error:
        not_run("POWER", f"a machine that loses power: {error}")
    assert all(each.acknowledged for each in series)
    assert [each.lost for each in series[:-1]] == [0] * 4


def test_what_is_missing_for_a_machine_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"qemu-system-x86_64 is missing .* qemu-system-x86"):
        Machine.prepare(tmp_path, tmp_path)


# Without a machine -------------------------------------------------------------------------------


def start_guest(disk: Path, *arguments: str) -> subprocess.Popen[str]:
    """The agent's guest on a directory of this machine, in a process group of its own."""
    command = [sys.executable, str(Path(__file__).with_name("agent_guest.py")), *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "DISK": str(disk)},
        process_group=0,
    )


def look(disk: Path) -> list[str]:
    said, _ = start_guest(disk, "look").communicate(timeout=120)
    return said.splitlines()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return the files and the acknowledgements of a writer and an agent that were killed."""
    disk = tmp_path_factory.mktemp("disk")
    guest = start_guest(disk)
    assert guest.stdout is not None
    promises = {}
    compressed = deleted = False
    for line in guest.stdout:
        word, *rest = line.split()
        assert word != "DAMAGED", line
        if word == "ACK":
            promises[rest[0]] = rest[1]
        compressed |= "retention: compressed queen-rbee" in line
        deleted |= "retention: deleted queen-rbee" in line
        if compressed and deleted and len(promises) > 30:
            break
    os.killpg(guest.pid, signal.SIGKILL)
    guest.communicate()
    return disk, promises


def test_a_sound_disk_is_called_sound(killed: tuple[Path, dict[str, str]]) -> None:
    disk, promises = killed
    lines = look(disk)
    assert "VERIFIED" in lines
    assert not [line for line in lines if line.startswith("DAMAGED")]
    found = dict(line.split()[1:] for line in lines if line.startswith("FOUND "))
    assert promises.items() <= found.items()
    assert any(line.startswith("SIGNED ") for line in lines)
    assert any(line.startswith("ENTRY ") for line in lines)


def lose_a_row(disk: Path) -> None:
    with sqlite3.connect(disk / "index.sqlite") as connection:
        connection.execute("DELETE FROM records WHERE log = 'queen-rbee@vm' AND seq = 3")
    connection.close()


def lose_tombstones(disk: Path) -> None:
    for path in (disk / "audit").glob("retention@vm*"):
        path.unlink()


def lose_quarantine(disk: Path) -> None:
    path = disk / "state/quarantine/main.ndjson"
    lines = path.read_bytes().splitlines(keepends=True)
    lines.remove(next(line for line in lines if b'"kind":"not_a_record"' in line))
    path.write_bytes(b"".join(lines))


def have_two_forms(disk: Path) -> None:
    """Add a compressed form to a plain one, as retention has it while it compresses."""
    path = min((disk / "audit").glob("queen-rbee@vm*.ndjson"))
    compressed = path.with_name(f"{path.name}.zst")
    compressed.write_bytes(zstandard.compress(path.read_bytes()))


def change_a_form(disk: Path) -> None:
    have_two_forms(disk)
    path = min((disk / "audit").glob("queen-rbee@vm*.ndjson"))
    path.write_bytes(path.read_bytes().replace(b"pool.drained", b"pool.dropped", 1))


def lose_a_segment(disk: Path) -> None:
    sorted((disk / "audit").glob("queen-rbee@vm*"))[-2].unlink()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lose_a_row, "the sink has"),
        (lose_tombstones, "missing_segment"),
        (lose_quarantine, "quarantine lacks"),
        (lose_a_segment, "missing"),
        (change_a_form, "the forms of"),
    ],
)
def test_a_disk_that_lost_something_is_called_damaged(
    killed: tuple[Path, dict[str, str]], tmp_path: Path, loss: Callable[[Path], None], words: str
) -> None:
    disk = tmp_path / "disk"
    shutil.copytree(killed[0], disk)
    loss(disk)
    damages = [line for line in look(disk) if line.startswith("DAMAGED")]
    assert any(words in line for line in damages), damages


def test_a_segment_in_two_equal_forms_is_sound(
    killed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    shutil.copytree(killed[0], disk)
    have_two_forms(disk)
    assert not [line for line in look(disk) if line.startswith("DAMAGED")]


def test_a_run_with_a_loss_fails_and_its_summary_tells_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Machine, "prepare", lambda *_: None)

    def run(machine: Machine, place: Path, program: str, *others: object) -> Iterator[Series]:
        for lost in (0, 3):
            series = Series(place / str(lost), program, "ext4")
            yield series
            series.cuts += 1
            series.acknowledged = {str(seq): "hash" for seq in range(10)}
            words = Words()
            for line in ("VERIFIED", *(f"FOUND {seq} hash" for seq in range(lost, 10))):
                words.add(line)
            series.check_promises(words)

    monkeypatch.setattr("tests.power.__main__.run", run)
    assert main(["2", "1", "writer"]) == 1
    out, err = capsys.readouterr()
    row = out.splitlines()[-1].split()
    assert row == ["writer", "on", "ext4", "2", "0", "0", "20", "3", "0"]
    assert "3 acknowledged records are gone" in err
    assert list(tmp_path.glob("auditlog-power-*/3/disk.img")), "the disks are kept"


def write_disk_log(path: Path, count: int, *entries: tuple[int, int, bytes]) -> None:
    """``entries``: where, flags, content; ``count`` of them are noted by the last flush."""
    content = struct.pack("<QQQI", 0x6A736677736872, 1, count, SECTOR).ljust(SECTOR, b"\0")
    for where, flags, written in entries:
        head = struct.pack("<QQQQ", where, len(written) // SECTOR, flags, 0)
        content += head.ljust(SECTOR, b"\0") + written
    path.write_bytes(content)


def test_what_was_not_flushed_is_dropped(tmp_path: Path) -> None:
    log, image = tmp_path / "log", tmp_path / "image"
    first, second = b"a" * SECTOR, b"b" * SECTOR
    write_disk_log(log, 2, (1, 0, first), (0, FLUSH, b""), (2, 0, second))
    image.write_bytes(bytes(3 * SECTOR))
    assert replay_flushed(log, image) == (2, 1)
    assert image.read_bytes() == bytes(SECTOR) + first + bytes(SECTOR)


def test_a_disk_of_another_instant_has_all_of_a_flush_and_any_of_what_followed(
    tmp_path: Path,
) -> None:
    """a, flush, b and c, flush, d: d never comes without b and c."""
    log, image = tmp_path / "log", tmp_path / "image"
    a, b, c, d = (letter * SECTOR for letter in (b"a", b"b", b"c", b"d"))
    flush = (0, FLUSH, b"")
    write_disk_log(log, 5, (0, 0, a), flush, (1, 0, b), (2, 0, c), flush, (3, 0, d))
    seen = set()
    for seed in range(200):
        image.write_bytes(b"." * 4 * SECTOR)
        replay_some(log, image, random.Random(seed))
        seen.add(image.read_bytes()[::SECTOR].decode())
    assert seen == {"a...", "ab..", "a.c.", "abc.", "abcd"}
