"""Writers, the agent's shippers and its retention at work on one directory, by a policy of seconds.

AUDITLOG_ALL_AT_ONCE_SECONDS=300 runs it for five minutes.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import pytest

import auditlog
from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import tombstones_in
from auditlog.verification.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

_LONGER: Final = "AUDITLOG_ALL_AT_ONCE_SECONDS"
SECONDS: Final = float(os.environ.get(_LONGER, "15"))
ENVIRONMENT: Final = {name: os.environ[name] for name in os.environ if name != _LONGER}
"""Without ours, which the programs would refuse as no setting of theirs."""

SERVICES: Final = ("queen-rbee", "rbee-hive")
CONFIG: Final = """
directories = ["{place}/audit"]
state_dir = "{place}/state"
metrics = ""
host = "hive1"
[sinks.main]
kind = "sqlite"
path = "{place}/records.sqlite"
[retention]
compress_after = "1s"
delete_after = "3s"
max_delete_fraction = 1.0
every = "1s"
"""


def write(directory: Path, service: str, until: float, promised: dict[str, int]) -> None:
    with auditlog.open(
        directory, service=service, host="hive1", flush="batched", max_segment_bytes=1 << 17
    ) as log:
        ticket = log.emit("load.began")
        while time.monotonic() < until:
            for _ in range(200):
                ticket = log.emit("load.event", details={"text": "x" * 100})
            ticket.wait()
            promised[ticket.log] = ticket.seq


@pytest.mark.timeout(300 + SECONDS)
def test_nothing_is_lost_and_nothing_doubled(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    directory.mkdir(mode=0o700)
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(place=tmp_path))
    auditctl = [sys.executable, "-m", "auditctl"]
    promised: dict[str, int] = {}
    with (tmp_path / "agent.log").open("wb") as output:
        agent = subprocess.Popen(
            [*auditctl, "agent", "--config", config], env=ENVIRONMENT, stderr=output
        )
        try:
            until = time.monotonic() + SECONDS
            writers = [
                threading.Thread(target=write, args=(directory, service, until, promised))
                for service in SERVICES
            ]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            until = time.monotonic() + 60
            while not list(tombstones_in(scan(directory).logs)) and time.monotonic() < until:
                time.sleep(0.2)  # on a loaded machine retention may come late
            assert agent.poll() is None, (tmp_path / "agent.log").read_text()
        finally:
            agent.terminate()
            assert agent.wait(60) == 0, (tmp_path / "agent.log").read_text()
    report = verify(directory)
    assert report.ok, report.findings
    heads = {log.log: log.last_seq for log in report.logs}
    assert all((heads[log] or 0) >= seq for log, seq in promised.items())
    assert len(promised) == len(SERVICES)
    assert list(tombstones_in(scan(directory).logs))

    once = subprocess.run(
        [*auditctl, "ship", "--config", config, "--once"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert once.returncode == 0, once.stderr
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        for log, head in heads.items():
            row = connection.execute(
                "SELECT count(*), min(seq), max(seq) FROM records WHERE log = ?", (log,)
            ).fetchone()
            assert row == (head, 1, head), log
    connection.close()
    assert not (tmp_path / "state/quarantine/main.ndjson").exists(), "a break of the chain"
