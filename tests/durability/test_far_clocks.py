"""Writer, shipper and retention under a clock that is far from the present (faketime).

Linux itself sets no clock before 1970 or after 2232; libfaketime shows one to the programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import auditlog
from tests.support.logs import write_log
from tests.support.programs import require

NAMES: Final = {"service": "queen-rbee", "host": "hive1"}
WRITE: Final = """
import sys, auditlog
with auditlog.open(sys.argv[1], service="queen-rbee", host="hive1") as log:
    for number in range(3):
        print(log.emit("far.away", details={"number": number}).seq)
"""
BEFORE_1970: Final = ("1969-12-31 12:00:00", "1901-12-13 20:45:51", "1700-01-01 00:00:00")
LAST: Final = "2262-04-11 12:00:00"
AFTER_2262: Final = ("2262-04-12 00:00:00", "2300-01-01 00:00:00", "+8000y")


def under(clock: str, *command: object) -> subprocess.CompletedProcess[str]:
    """Run Python under that clock."""
    if not clock.startswith("+"):
        clock = f"@{clock}"  # from there on it runs
    return subprocess.run(
        [require("faketime"), "-f", clock, sys.executable, *map(str, command)],
        env={
            **os.environ,
            "TZ": "UTC",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def auditctl(clock: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return under(clock, "-m", "auditctl", *arguments)


def files(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def emitted(directory: Path) -> list[tuple[str, object]]:
    found = auditlog.read(directory)
    return [(f"{each.at:%Y-%m-%d}", each.details.get("number")) for each in found]


@pytest.mark.parametrize("optimised", [(), ("-O",)], ids=["asserting", "optimised"])
@pytest.mark.parametrize("clock", [*BEFORE_1970, LAST])
def test_a_clock_that_python_can_read_is_recorded_and_the_log_goes_on(
    tmp_path: Path, clock: str, optimised: tuple[str, ...]
) -> None:
    done = under(clock, *optimised, "-c", WRITE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "4", "5"]
    with auditlog.open(tmp_path, service="queen-rbee", host="hive1") as log:
        log.emit("back.again")
    assert emitted(tmp_path)[:3] == [(clock[:10], 0), (clock[:10], 1), (clock[:10], 2)]
    assert len(emitted(tmp_path)) == 4
    assert auditlog.verify(tmp_path).ok


@pytest.mark.parametrize("clock", AFTER_2262)
def test_a_clock_that_python_cannot_read_ends_a_program_before_it_changes_anything(
    tmp_path: Path, clock: str
) -> None:
    done = under(clock, "-c", WRITE, tmp_path / "new")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("OverflowError: timestamp too large")
    assert not (tmp_path / "new").exists()
    built = write_log(tmp_path / "audit", segments=4, days=1, records=2)
    before = files(tmp_path)
    sink = tmp_path / "index.sqlite"
    for command in (("ship", "--to", sink, "--once"), ("prune",), ("verify",)):
        done = auditctl(clock, command[0], built.directory, *command[1:])
        assert done.returncode == 1
        said = (
            "auditctl: the clock shows a year after 2262, which Python cannot read. Set the clock."
        )
        assert done.stderr == f"{said}\n"
    assert files(tmp_path) == before


@pytest.mark.parametrize("clock", [*BEFORE_1970, LAST])
def test_what_is_there_is_shipped_and_kept_whatever_the_clock_says(
    tmp_path: Path, clock: str
) -> None:
    built = write_log(tmp_path / "audit", segments=4, days=1, records=2)
    before = files(built.directory)
    sink = tmp_path / "index.sqlite"
    done = auditctl(clock, "ship", built.directory, "--to", sink, "--once")
    assert done.returncode == 0, done.stderr
    assert auditctl(clock, "verify", built.directory).returncode == 0
    done = auditctl(clock, "prune", built.directory)
    assert "unexpected" not in done.stderr
    assert done.returncode == 4, done.stderr
    assert before.items() <= files(built.directory).items()
