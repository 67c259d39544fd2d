"""The demo's processes; what a person sees of it is in test_terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from auditctl.demo.rewrite import rewrite
from auditctl.demo.stage import AgentProcess, DemoFailed, WitnessProcess, Writer

if TYPE_CHECKING:
    from pathlib import Path


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
