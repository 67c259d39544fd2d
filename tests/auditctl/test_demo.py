"""The demo's processes; what a person sees of it is in test_terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import auditlog
from auditctl.demo.archiving import BUCKET, archive_table, prove_from_bucket
from auditctl.demo.rewrite import rewrite
from auditctl.demo.stage import AgentProcess, Auditctl, DemoFailed, WitnessProcess, Writer
from tests.support.logs import write_log

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.s3 import S3Server


class Struck(subprocess.Popen[Any]):
    """Ctrl-C comes when the process runs, and before whoever starts it knows it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        signal.raise_signal(signal.SIGINT)


def agent(place: Path) -> AgentProcess:
    return AgentProcess([sys.executable, "-c", "import time; time.sleep(60)"], place / "agent.log")


def writer(place: Path) -> Writer:
    return Writer(place / "audit", "queen-rbee@hive1", count=1_000_000, rate=1.0)


@pytest.mark.parametrize("made", [agent, writer])
def test_ctrl_c_while_a_process_is_started_leaves_none_behind(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", Struck)
    process = made(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        process.start()
    assert process.running(), "it is known"
    process.close()
    assert not process.running()


class Quiet:
    """Shows nothing."""

    def step(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def progress(self, **counts: int) -> None:
        pass


def test_a_log_that_is_written_anew_is_found_from_the_first_forged_record_on(
    tmp_path: Path,
) -> None:
    found = rewrite(tmp_path, "abc", Quiet())
    assert found.verified_before
    assert found.chain_verified_after, "its hashes fit"
    assert found.signing_refused
    assert found.seq == found.kept + 1
    assert found.witnessed > found.kept


def test_a_witness_that_cannot_serve_ends_the_demo(tmp_path: Path) -> None:
    with (
        pytest.raises(DemoFailed, match="does not serve"),
        WitnessProcess(tmp_path / "w", tmp_path),
    ):
        pass


def test_everything_local_is_deleted_and_proven_from_the_bucket(
    tmp_path: Path, s3_server: S3Server
) -> None:
    s3_server.make_bucket(name=BUCKET)
    written = write_log(tmp_path / "audit", "queen-rbee@demo", records=20, segments=3)
    config = tmp_path / "config.toml"
    config.write_text(
        f'host = "demo"\ndirectories = ["{written.directory}"]\nstate_dir = "{tmp_path}/state"\n'
        + archive_table(tmp_path, s3_server.url, "writer")
    )
    (tmp_path / "sink.sqlite").touch()
    Auditctl(f"--config={config}").json("archive", "upload")
    on_disk = {(record.log, record.seq, record.hash) for record in auditlog.read(written.directory)}
    found = prove_from_bucket(tmp_path, "demo", s3_server.url, on_disk, Quiet())
    assert (found.records, found.missing, found.verified, found.refused) == (40, 0, True, True)
    gone = ("audit", "state", "sink.sqlite")
    assert not any((tmp_path / name).exists() for name in gone)
