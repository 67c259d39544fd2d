from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.logs import write_log
from tests.support.programs import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.auditctl.conftest import Result

ROOT = Path(__file__).parents[3]


def complete(place: Path, *words: str) -> list[str]:
    """Return bash's completions, with the script installed as a user does."""
    place.mkdir(exist_ok=True)
    program = place / "auditctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m auditctl "$@"\n')
    program.chmod(0o755)
    typed = " ".join(f"'{word}'" for word in words)
    script = (
        "source <(auditctl completion bash)\n"
        f"COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1}\n"
        "_auditctl_completion auditctl\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [require("bash"), "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["auditctl", "sea"], ["search"]),
        (["auditctl", "config", "sh"], ["show"]),
        (["auditctl", "search", "x", "--ver"], ["--verified"]),
        (["auditctl", "tail", "-o", "v"], ["verbose"]),
        (["auditctl", "xyz"], []),
    ],
)
def test_bash_completes(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    assert complete(tmp_path / "bin", *words) == offered


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["search", "x", "DIR", "--log", "q"], ["queen-rbee@hive1"]),
        (["export", "DIR", "--since", "today", "--log", "r"], ["rbee-hive@gpu1"]),
        (["export", "--log", ""], ["queen-rbee@hive1", "rbee-hive@gpu1"]),
        (["tail", "--config", "CONFIG", "--log", "rbee"], ["rbee-hive@gpu1"]),
        (["hold", "add", "case-1", "--logs", "q"], ["queen-rbee@hive1"]),
        (["search", "x", "--source", "m"], ["main"]),
        (["reconcile", "--sink", ""], ["main", "second"]),
        (["quarantine", "retry", "--sink", "s"], ["second"]),
        (["verify", "--against", "s"], ["second"]),
        (["prune", "--sink", "x"], []),
        (["export", "EMPTY", "--log", ""], []),
        (["export", "GONE", "--log", ""], []),
    ],
)
def test_bash_completes_the_names_of_logs_and_sinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], offered: list[str]
) -> None:
    audit, config = tmp_path / "audit", tmp_path / "config.toml"
    write_log(audit, records=1)
    write_log(audit, "rbee-hive@gpu1", records=1)
    (tmp_path / "empty").mkdir()
    config.write_text(
        f"directories = ['{audit}']\n"
        "[sinks.main]\nkind = 'sqlite'\npath = '/nowhere/a.sqlite'\n"
        "[sinks.second]\nkind = 'sqlite'\npath = '/nowhere/b.sqlite'\n"
    )
    places = {"DIR": audit, "CONFIG": config, "EMPTY": tmp_path / "empty", "GONE": tmp_path / "no"}
    monkeypatch.setenv("AUDITLOG_CONFIG", str(config))
    typed = ["auditctl", *(str(places.get(word, word)) for word in words)]
    assert complete(tmp_path / "bin", *typed) == offered


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("status a", "dir"),
        ("search x --log q a", "dir"),
        ("hold list --dir a", "dir"),
        ("verify a", "file"),
        ("export -o a", "file"),
    ],
)
def test_a_shell_is_asked_for_directories_where_one_is_meant(
    program: Callable[..., Result], words: str, kind: str
) -> None:
    typed = {"COMP_WORDS": f"auditctl {words}", "COMP_CWORD": str(len(words.split()))}
    found = program(env={"_AUDITCTL_COMPLETE": "bash_complete", **typed})
    assert (found.code, found.out) == (0, f"{kind},a\n")


def test_a_configuration_that_cannot_be_used_offers_nothing_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("directries = []\n")
    monkeypatch.setenv("AUDITLOG_CONFIG", str(config))
    assert complete(tmp_path / "bin", "auditctl", "reconcile", "--sink", "") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_ask_the_program(
    shell: str, run: Callable[..., Result], program: Callable[..., Result]
) -> None:
    script = run("completion", shell)
    assert script.code == 0
    assert f"_AUDITCTL_COMPLETE={shell}_complete" in script.out
    asked = {
        "_AUDITCTL_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "auditctl sta" if shell == "zsh" else "auditctl",
        "COMP_CWORD": "1" if shell == "zsh" else "sta",
    }
    found = program(env=asked)
    assert (found.code, "status" in found.out, "search" in found.out) == (0, True, False)


def test_completing_the_commands_loads_none_of_them() -> None:
    code = (
        "import sys; from auditctl.main import main; main([]); "
        "sys.exit(' '.join(name for name in sys.modules if name.startswith('auditctl.commands')))"
    )
    asked = {"_AUDITCTL_COMPLETE": "bash_complete", "COMP_WORDS": "auditctl s", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip() == ""
    assert "search" in done.stdout
