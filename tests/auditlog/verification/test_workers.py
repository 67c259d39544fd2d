from __future__ import annotations

import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditlog.format.segment_names import SegmentName
from auditlog.verification import workers
from auditlog.verification.chain import ChainCheck
from auditlog.verification.verify import verify
from tests.support.logs import write_log


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches of a few records, so that a small log has many."""
    monkeypatch.setattr(workers, "STRETCH_BYTES", 3000)


def _harm(path: Path, rng: random.Random) -> None:
    """Change, remove, repeat or swap lines, or tear the last one off."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = rng.randrange(1, len(lines) - 1)
    match rng.randrange(6):
        case 0:
            byte = rng.randrange(len(lines[at]))
            lines[at] = lines[at][:byte] + bytes([rng.randrange(256)]) + lines[at][byte + 1 :]
        case 1:
            del lines[at]
        case 2:
            lines.insert(at, lines[at])
        case 3:
            lines[at - 1], lines[at] = lines[at], lines[at - 1]
        case 4:
            lines[-1] = lines[-1][: rng.randrange(1, len(lines[-1]))]
        case 5:
            lines.insert(at, b"x" * rng.randrange(1, 9000))
    path.write_bytes(b"".join(lines))


@pytest.mark.usefixtures("small")
def test_same_report(tmp_path: Path) -> None:
    write_log(tmp_path, records=200)
    [path] = tmp_path.glob("*.ndjson")
    whole = path.read_bytes()
    rng = random.Random(7)
    for harms in [0, *[1] * 8, *[2] * 3]:
        path.write_bytes(whole)
        for _ in range(harms):
            _harm(path, rng)
        assert verify(tmp_path, jobs=2) == verify(tmp_path)


@pytest.mark.usefixtures("small")
def test_responses_that_a_caller_left_are_not_the_next_ones(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=200)
    path, log, day = built.active, str(built.log), built.headers[0].day
    with path.open("rb") as stream:
        first = len(stream.readline())
        cut = list(workers.cuts(stream, first, path.stat().st_size))
    with workers.Workers(2) as pool:
        whole = list(pool.checked(path, log, day, cut))
        left = pool.checked(path, log, day, cut)
        assert next(left) == whole[0]
        left.close()  # type: ignore[attr-defined]  # it is a generator
        assert list(pool.checked(path, log, day, cut[5:])) == whole[5:]


@pytest.mark.usefixtures("small")
def test_the_work_is_done_by_the_processes(tmp_path: Path) -> None:
    write_log(tmp_path, records=200)
    [path] = tmp_path.glob("*.ndjson")
    with path.open("rb") as stream, workers.Workers(2) as pool:
        first = len(stream.readline())
        cut = list(workers.cuts(stream, first, path.stat().st_size))
        log, _, _ = path.name.partition(".2")
        day = next(iter(auditlog.read(path, log_events=True))).header.day
        found = [intact for _, _, intact in pool.checked(path, log, day, cut)]
    assert len(cut) > 10
    assert all(found)
    for one, following in itertools.pairwise(found):
        assert one is not None
        assert following is not None
        assert (following.first_seq, following.prev_hash) == (
            one.first_seq + one.records,
            one.last_hash,
        )


@pytest.mark.usefixtures("small")
def test_fallen_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_log(tmp_path, records=200)
    real = workers.Workers.__init__

    def killed(self: workers.Workers, processes: int) -> None:
        real(self, processes)
        self._processes[0].kill()
        self._processes[0].wait()

    monkeypatch.setattr(workers.Workers, "__init__", killed)
    assert verify(tmp_path, jobs=2) == verify(tmp_path)


def test_ctrl_c_reaches_whoever_asked_and_not_the_processes(tmp_path: Path) -> None:
    """A terminal sends it to every process in front; theirs would each end with a traceback."""
    path = write_log(tmp_path, records=50).active
    code = (
        "import os, pathlib, signal, sys\n"
        "from auditlog.verification.workers import Workers\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "asked = path, sys.argv[2], '2026-11-23', [(0, path.stat().st_size)] * 2\n"
        "with Workers(2) as workers:\n"
        "    before = list(workers.checked(*asked))\n"
        "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "    os.killpg(0, signal.SIGINT)\n"
        "    assert list(workers.checked(*asked)) == before\n"
        "    assert all(intact for _, _, intact in before)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, path, path.name.partition(".2")[0]],
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_flat(tmp_path: Path) -> None:
    """A log six times as long takes no more memory, neither where it is asked for nor in a worker.

    In a program of its own, and VmHWM: ru_maxrss begins with what whoever started it had.
    """
    code = (
        "import resource, sys; from auditlog import verify\n"
        "assert verify(sys.argv[1], jobs=2).ok\n"
        "status = open('/proc/self/status').read().split()\n"
        "print(status[status.index('VmHWM:') + 1])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    peaks = []
    for records in (300, 1800):
        log = write_log(tmp_path / str(records), records=records, details={"pad": "x" * 60_000})
        assert log.active.stat().st_size > 4 * workers.STRETCH_BYTES
        ran = subprocess.run(
            [sys.executable, "-c", code, log.directory], capture_output=True, check=True, text=True
        )
        peaks.append([int(kib) << 10 for kib in ran.stdout.split()])
    grown = [after - before for before, after in zip(*peaks, strict=True)]
    assert max(grown) < 24 << 20, peaks


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_process_at_all_is_refused(tmp_path: Path, jobs: Any) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        verify(tmp_path, jobs=jobs)


def test_a_stretch_joins_only_where_number_and_hash_fit(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=4)
    [path] = tmp_path.glob("*.ndjson")
    first, *rest = path.read_bytes().splitlines(keepends=True)
    log, name = str(built.log), SegmentName.parse(path.name)
    intact = workers.check_stretch(log, name.day.isoformat(), rest)
    assert intact is not None
    for given, joins in [
        (intact, True),
        (intact._replace(prev_hash="0" * 64), False),
        (intact._replace(first_seq=intact.first_seq + 1), False),
    ]:
        check = ChainCheck(log)
        check.segment(name)
        check.line(first, 0)
        assert check.join(given, path.stat().st_size) is joins
        assert (check.records, check.last_seq) == ((4, 4) if joins else (1, 1))
    assert workers.check_stretch(log, "2000-01-01", rest) is None
    assert workers.check_stretch("other@hive1", name.day.isoformat(), rest) is None
    assert workers.check_stretch(log, name.day.isoformat(), [*rest, b"x\n"]) is None
