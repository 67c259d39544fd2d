"""120 days of retention, a run a day but for downtime; and the cron job it replaces beside it.

The cron job is the one that this set-up had before, run by the real find(1) and gzip(1) under
faketime(1): what it does to the same files is asserted here, and told in docs/retention.md.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import subprocess
from pathlib import Path
from typing import Final

import pytest

from auditlog.cursors import Cursor, CursorStore
from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import tombstones_in
from auditlog.verification.verify import verify
from retention.policy import RetentionPolicy
from retention.service import run_retention
from tests.support.logs import LogBuilder
from tests.support.programs import require

DAY: Final = dt.timedelta(days=1)
START: Final = dt.datetime(2026, 8, 1, 9, tzinfo=dt.UTC)
DAYS: Final = 120
STUCK_AFTER: Final = 20
"""From this day on the sink of the second log acknowledges nothing more."""

CRON: Final = """
find "$AUDIT_DIR" -name "*.ndjson"    -mtime +30 -exec gzip {} \\;
find "$AUDIT_DIR" -name "*.ndjson.gz" -mtime +90 -delete
"""


def run_days() -> set[int]:
    """Three weeks without any run, and one day in five missed at random; the last one is not."""
    rng = random.Random(7)
    return {d for d in range(DAYS) if rng.random() > 0.2 and not 40 <= d < 61} | {DAYS - 1}


def write_day(built: LogBuilder, day: int) -> None:
    built.at = START + day * DAY
    built.append(3)
    os.utime(built.active, (built.at.timestamp(), built.at.timestamp()))


def acknowledge(built: LogBuilder, state: Path) -> None:
    header, path = built.headers[-1], built.active
    cursor = Cursor(built.log, path.name, path.stat().st_size, header.seq, header.hash, built.at)
    CursorStore(state).save("main", cursor)


def test_120_days(tmp_path: Path) -> None:
    directory, state = tmp_path / "audit", tmp_path / "state"
    directory.mkdir(mode=0o700)
    shipped = LogBuilder(directory, "queen-rbee@hive1")
    stuck = LogBuilder(directory, "rbee-hive@hive1")
    ran = run_days()
    for day in range(DAYS):
        write_day(shipped, day)
        write_day(stuck, day)
        acknowledge(shipped, state)
        if day < STUCK_AFTER:
            acknowledge(stuck, state)
        if day not in ran:
            continue
        now = START + day * DAY + dt.timedelta(hours=3)
        result = run_retention(
            directory, RetentionPolicy(), state, ("main",), now, host="hive1", simulated=True
        )
        assert result.ok, result.failures
        _as_old_as_they_may_be(shipped, now, DAYS)
        _as_old_as_they_may_be(stuck, now, STUCK_AFTER)
        report = verify(directory)
        assert report.ok, report.findings
    logs = scan(directory).logs
    buried = sorted(found.segment for found in tombstones_in(logs))
    gone = [name.logical for name in shipped.names[:30]] + [
        name.logical for name in stuck.names[:STUCK_AFTER]
    ]
    assert buried == sorted(gone)
    by_log = {log.log: log for log in verify(directory).logs}
    assert sum(stone.records for stone in by_log[shipped.log].deleted) == 30 * 3
    assert by_log[shipped.log].verified_through_seq == shipped.seq


def _as_old_as_they_may_be(built: LogBuilder, now: dt.datetime, shipped: int) -> None:
    """Every segment is in the form its age asks for; what was not shipped is plain and there."""
    for index, (name, path) in enumerate(zip(built.names, built.paths, strict=True)):
        last_at = START + index * DAY + 2 * built.step
        age = now - last_at
        plain, packed = path.exists(), path.with_name(f"{name}.zst").exists()
        if index >= shipped or age < 30 * DAY:
            assert (plain, packed) == (True, False), name
        elif age < 90 * DAY:
            assert (plain, packed) == (False, True), name
        else:
            assert (plain, packed) == (False, False), name


@pytest.fixture
def faketime() -> str:
    return require("faketime")


def cron(faketime: str, directory: Path, at: dt.datetime) -> str:
    """Run the cron job at that instant; what it says."""
    done = subprocess.run(
        [faketime, f"{at:%Y-%m-%d %H:%M:%S}", "sh", "-c", CRON],
        env={
            **os.environ,
            "AUDIT_DIR": str(directory),
            "TZ": "UTC",
            "NO_FAKE_STAT": "1",  # the files' times are simulated already
            "FAKE_UTIME": "0",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def test_the_cron_job_killed_while_compressing_does_not_go_on(
    tmp_path: Path, faketime: str
) -> None:
    built = LogBuilder(tmp_path)
    write_day(built, 0)
    torn = built.paths[0].with_name(f"{built.paths[0].name}.gz")
    torn.write_bytes(b"\x1f\x8b")
    os.utime(torn, (START.timestamp(), START.timestamp()))
    assert "already exists" in cron(faketime, tmp_path, START + 40 * DAY)
    assert built.paths[0].exists()
    assert torn.read_bytes() == b"\x1f\x8b"


def test_the_cron_job_takes_everything_when_the_clock_jumps(tmp_path: Path, faketime: str) -> None:
    built = LogBuilder(tmp_path)
    for day in range(3):
        write_day(built, day)
    cron(faketime, tmp_path, START + 200 * DAY)
    assert list(tmp_path.iterdir()) == []  # the active segment too


def test_the_cron_job_on_the_same_files(tmp_path: Path, faketime: str) -> None:
    directory = tmp_path / "audit"
    directory.mkdir(mode=0o700)
    built = LogBuilder(directory)
    seen: dict[int, tuple[int | None, int | None]] = {}  # day -> compressed, deleted on which day
    for day in range(DAYS):
        write_day(built, day)
        if day == 10:
            os.utime(built.paths[5], ((START + 60 * DAY).timestamp(),) * 2)  # touch, rsync, restore
        if day in run_days():
            at = START + day * DAY + dt.timedelta(hours=3)
            cron(faketime, directory, at)
        for index, path in enumerate(built.paths):
            compressed, deleted = seen.get(index, (None, None))
            packed = path.with_name(f"{path.name}.gz")
            if compressed is None and packed.exists():
                compressed = day
            if deleted is None and not packed.exists() and not path.exists():
                deleted = day
            seen[index] = (compressed, deleted)
    # A day late, since find rounds ages down; only the runs' own days count.
    ran = sorted(run_days())
    first_run_from = {day: min(d for d in ran if d >= day) for day in range(DAYS)}
    assert seen[0] == (first_run_from[31], first_run_from[91])
    assert seen[25] == (first_run_from[56], first_run_from[116])
    # By modification time: the touched file outlives its records' 90 days.
    assert seen[5][1] is None
    assert built.paths[5].with_name(f"{built.paths[5].name}.gz").exists()
    # cron asks no shipper and leaves no tombstone.
    report = verify(directory)
    assert not report.ok
    assert "missing_segment" in {finding.kind for finding in report.findings}
