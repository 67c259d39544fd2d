from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from auditctl.cli import COMMANDS
from auditctl.main import main
from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result

UNWANTED = (
    "apscheduler",
    "auditlog",
    "elasticsearch",
    "prometheus_client",
    "retention",
    "rich",
    "shippers",
    "sqlite3",
    "watchdog",
)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"], ["no-such-command"]])
def test_lazy(arguments: list[str]) -> None:
    code = (
        "import sys; before = set(sys.modules); from auditctl.main import main; "
        f"main({arguments!r}); "
        "loaded = set(sys.modules) - before; "
        f"unwanted = [name for name in loaded if name.split('.')[0] in {UNWANTED!r}]; "
        "unwanted += [name for name in loaded if name.startswith('auditctl.commands.')]; "
        "sys.exit(' '.join(unwanted) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lazy_prune_loads_neither_the_vocabulary_nor_the_redaction(tmp_path: Path) -> None:
    code = (
        "import sys; from auditctl.main import main; "
        f"code = main(['prune', {str(tmp_path)!r}]); "
        "unwanted = [n for n in sys.modules if n.startswith(('auditlog.events', 'auditlog.reda'))];"
        "sys.exit(' '.join(unwanted) or code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_its_summary(name: str, run: Callable[..., Result]) -> None:
    result = run(name, "--help")
    assert result.code == 0
    assert " ".join(COMMANDS[name].split()) in " ".join(result.out.split())
    assert result.err == ""


def test_version_names_the_program(run: Callable[..., Result]) -> None:
    assert run("--version").out.startswith("auditctl ")


def test_without_arguments_the_help_comes_as_talk(run: Callable[..., Result]) -> None:
    result = run()
    assert (result.code, result.out) == (2, "")
    assert "Commands:" in result.err


@pytest.mark.parametrize(("typed", "meant"), [("tial", "tail"), ("verfy", "verify"), ("xyzzy", "")])
def test_an_unknown_command_is_answered_with_the_nearest(
    typed: str, meant: str, run: Callable[..., Result]
) -> None:
    result = run(typed)
    assert result.code == 2
    assert f"There is no command '{typed}'" in result.err
    assert ("Did you mean" in result.err) == bool(meant)
    assert meant in result.err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams(closed: str, tmp_path: Path) -> None:
    """streams: standard input, output and error may be closed"""
    code = []
    for command in (
        ["emit", tmp_path / "audit", "a.b", "--service", "s"],
        ["report", tmp_path / "audit", "-o", tmp_path / "report.html"],
        ["ship", tmp_path / "audit", "--to", tmp_path / "audit.sqlite", "--once"],
        ["verify", tmp_path / "audit"],
        ["verify", tmp_path / "none"],
    ):
        shell = f'exec "$@" {closed}'
        program = [sys.executable, "-m", "auditctl", *command]
        done = subprocess.run(["sh", "-c", shell, "sh", *program], capture_output=True, check=False)
        assert b"unexpected" not in done.stderr
        code.append(done.returncode)
    assert code == [0, 0, 0, 0, 2]


def test_one_paragraph(run: Callable[..., Result], tmp_path: Path) -> None:
    for arguments in (["verify", tmp_path / "none"], ["verify", "--jsn", "x"], ["nonsense"]):
        result = run(*arguments)
        assert result.err.startswith("auditctl: ")
        assert result.err.count("\n") == 1


def test_no_traceback(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the payload of a record")

    monkeypatch.setattr("auditctl.commands.verify.verify_logs", fail)
    result = run("verify", tmp_path)
    assert result.code == 1
    assert "ZeroDivisionError" in result.err
    assert "Traceback" not in result.err
    assert "payload" not in result.err
    monkeypatch.setenv("AUDITLOG_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["verify", str(tmp_path)])


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['click'] = None; from auditctl.main import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'llama-orch-auditlog[agent]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_ends_it_silently(tmp_path: Path) -> None:
    write_log(tmp_path, records=2000)
    command = [sys.executable, "-m", "auditctl", "tail", "-n", "2000", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=1)
    command = [sys.executable, "-m", "auditctl", "tail", "-f", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # it runs, and has shown what was there
        built.append(1)
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""
