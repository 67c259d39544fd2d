"""The interactive parts, as a person has them: on a terminal, with keys."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.logs import write_log
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

RED, CYAN = "\x1b[31m", "\x1b[36m"


def test_tail_follows_in_colour_until_ctrl_c(tmp_path: Path) -> None:
    built = write_log(tmp_path / "audit", records=2)
    with Terminal(tmp_path) as terminal:
        terminal.start("auditctl tail -f audit")
        terminal.shows("queen-rbee@hive1#2")
        built.append(1, event_type="auth_failure", severity="critical", outcome="failure")
        built.rotate()
        built.append(1)
        built.compress(0)
        terminal.shows("queen-rbee@hive1#4")
        seen = terminal.screen(colours=True)
        assert f"{RED}auth_failure[critical]" in seen
        assert f"{CYAN}queen-rbee@hive1#3" in seen
        assert seen.count("queen-rbee@hive1#3") == 1
        terminal.press("C-c")
        assert terminal.code() == 130
        assert "Traceback" not in terminal.screen()


def test_no_color_is_heeded_on_a_terminal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "audit", records=1, severity="critical")
    monkeypatch.setenv("NO_COLOR", "1")
    with Terminal(tmp_path) as terminal:
        terminal.start("auditctl tail audit")
        assert terminal.code() == 0
        assert "task_submitted[critical]" in terminal.screen()
        assert "\x1b[3" not in terminal.screen(colours=True)


def test_search_draws_bars_as_wide_as_the_terminal_and_follows(tmp_path: Path) -> None:
    built = write_log(tmp_path / "audit", records=5)
    with Terminal(tmp_path, columns=60) as terminal:
        terminal.start("auditctl search '' audit --by hour")
        assert terminal.code() == 0
        (line,) = [line for line in terminal.screen().splitlines() if "2026-11-23T07" in line]
        assert len(line) == 60
        assert line.endswith("\u2588")
        terminal.start("auditctl search 'seq>4' audit --follow")
        terminal.shows("hive1#5")
        built.append(1)
        terminal.shows("hive1#6")
        terminal.press("C-c")
        assert terminal.code() == 130


def test_status_looks_again_in_its_place_until_ctrl_c(tmp_path: Path) -> None:
    built = write_log(tmp_path / "audit", records=5)
    with Terminal(tmp_path) as terminal:
        terminal.start("auditctl status --watch audit")
        terminal.shows("1-5")
        built.append(2)
        # It is drawn line by line, and looked at in the middle of that now and then.
        eventually(
            lambda: "1-7" in (seen := terminal.screen()) and seen.count("queen-rbee@hive1") == 1,
            "the log once, with what was appended",
        )
        terminal.press("C-c")
        assert terminal.code() == 130
        assert "Traceback" not in terminal.screen()


def test_the_demo_shows_how_far_it_is_and_ends_whole_at_ctrl_c(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        terminal.start("auditctl demo --keep kept")
        row = re.compile(r"acknowledged \u2501.* [1-9]\d*/60000")  # with its bar
        eventually(lambda: row.search(terminal.screen()), "events that were acknowledged")
        assert "\x1b[" in terminal.screen(colours=True)
        assert processes_of(tmp_path / "kept")
        terminal.press("C-c")
        assert terminal.code() == 130
        assert "Traceback" not in terminal.screen()
    eventually(lambda: not processes_of(tmp_path / "kept"), "the demo's processes are gone")


def test_the_demo_is_plain_in_a_pipe(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "auditctl", "demo", "--keep", str(tmp_path / "kept")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.match(rb" +\d+\.\d s  \w", first)
    shown = first + out + err
    signs = (b"\x1b", b"\r", "\u2501".encode(), b"Traceback")
    assert not [sign for sign in signs if sign in shown]
    eventually(lambda: not processes_of(tmp_path / "kept"), "the demo's processes are gone")


def test_a_service_of_the_demo_ends_silently_with_it(tmp_path: Path) -> None:
    """Ctrl-C may come after the service was started and before the demo knows its process."""
    command = [sys.executable, "-m", "auditctl.demo.traffic", str(tmp_path / "audit")]
    command += ["queen-rbee@hive1", "--count=20000", "--rate=20000", "--seed=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def processes_of(directory: Path) -> list[int]:
    """Those that were started with something in the directory, and still run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.startswith(f"{directory}/") for word in words):
            found.append(process.pid)
    return found
