"""A service writes and stops for good: its agent alone brings the last record into the bucket."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import auditlog
from auditctl.demo.stage import AgentProcess, Auditctl
from auditlog.reading.inventory import scan
from tests.support.s3 import S3Bucket
from tests.support.waiting import eventually

LOG = "queen-rbee@hive1"
DAY = dt.timedelta(days=1)
RECORDS = 40  # of each of two days


def write_and_stop(directory: Path, ended: dt.timedelta) -> None:
    """Run a service on two days, the later of which is so long ago."""
    now = [time.time_ns() - int((ended + DAY).total_seconds() * 1e9)]
    with auditlog.open(directory, service="queen-rbee", host="hive1", clock=lambda: now[0]) as log:
        for number in range(2 * RECORDS):
            if number == RECORDS:
                now[0] += int(DAY.total_seconds() * 1e9)
            log.emit("task.done", actor={"user_id": "alice"}, details={"number": number})


def agent_of(place: Path, bucket: S3Bucket) -> Auditctl:
    config = place / "agent.toml"
    config.write_text(
        f"""
        host = "hive1"
        directories = ["{place}/audit"]
        state_dir = "{place}/state"
        metrics = ""
        [sinks.main]
        kind = "sqlite"
        path = "{place}/sink.sqlite"
        [retention]
        compress_after = "1d"
        delete_after = "2d"
        every = "1s"
        """
        + bucket.settings(place, manifest_every="1s")
    )
    return Auditctl(f"--config={config}")


def auditor_of(place: Path, bucket: S3Bucket) -> Auditctl:
    """Somebody with nothing of the host but a key that reads its bucket."""
    config = place / "auditor.toml"
    config.write_text(f'host = "hive1"\n{bucket.settings(place, "reader")}')
    return Auditctl(f"--config={config}")


def test_the_last_record_of_a_stopped_service_is_proven_from_the_bucket(
    tmp_path: Path, s3_bucket: S3Bucket
) -> None:
    audit = tmp_path / "audit"
    write_and_stop(audit, ended=7 * DAY)
    before = {record.seq: record.line for record in auditlog.read(audit, log_events=True)}
    older, newest = (segment.name.logical for segment in next(iter(scan(audit).logs.values())))
    program = agent_of(tmp_path, s3_bucket)
    auditor = auditor_of(tmp_path, s3_bucket)
    agent = AgentProcess(program.command("agent"), tmp_path / "agent.log")
    try:
        agent.start()
        eventually(lambda: (audit / f"{newest}.zst").exists() and not (audit / newest).exists())
        eventually(lambda: not list(audit.glob(f"{older}*")), "the older segment is deleted")

        def listed() -> bool:
            """Whether a manifest names the end of the log."""
            _, found = auditor.json("archive", "verify", codes=(0, 1))
            logs = {each["log"]: each for host in found["hosts"] for each in host["logs"]}
            return bool(logs.get(LOG, {}).get("last_seq") == len(before))

        eventually(listed)
    finally:
        agent.close()

    assert [path.name for path in audit.glob(f"{LOG}*")] == [f"{newest}.zst"]
    assert auditlog.verify(audit).ok, "a tombstone accounts for the deleted segment"

    code, verified = auditor.json("archive", "verify")
    assert (code, verified["ok"]) == (0, True)
    newest_line = before[len(before) - 1]  # the last is log.closed
    found = auditor.text("archive", "search", f"details.number={2 * RECORDS - 1}", "--json")
    assert found.encode() == newest_line
    restored = tmp_path / "restored"
    auditor.text("archive", "restore", f"--to={restored}")
    records = [r for r in auditlog.read(restored, log_events=True) if r.log == LOG]
    assert {record.seq: record.line for record in records} == before
    assert Auditctl().json("verify", str(restored))[0] == 0
