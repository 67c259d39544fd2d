"""A terminal that a test looks at and types into: tmux, on a socket of its own.

with Terminal(tmp_path, columns=80) as terminal:
    terminal.start("auditctl tail -f audit")
    terminal.shows("queen-rbee@hive1#1")
    terminal.press("C-c")
    assert terminal.code() == 130
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

from tests.support.programs import require
from tests.support.waiting import eventually

__all__ = ["Terminal"]

ROOT: Final = Path(__file__).parents[2]


class Terminal:
    """``directory`` is where commands run; ``auditctl`` there is ours."""

    def __init__(self, directory: Path, *, columns: int = 100, lines: int = 30) -> None:
        self._tmux = [require("tmux"), "-S", "tmux.socket", "-f", "/dev/null"]
        self._directory = directory
        self._size = ["-x", str(columns), "-y", str(lines)]

    def __enter__(self) -> Self:
        environment = {
            **{name: text for name, text in os.environ.items() if name != "TMUX"},
            "LC_ALL": "C.UTF-8",
            "PS1": "$ ",
        }
        self._call("new-session", "-d", *self._size, "sh", env=environment)
        return self

    def __exit__(self, *_: object) -> None:
        self._call("kill-server")

    def start(self, command: str) -> None:
        """Type a command whose first word is auditctl; its exit code is shown when it ends."""
        rest = command.removeprefix("auditctl ")
        program = f"{shlex.quote(sys.executable)} -m auditctl"
        self._send(f"clear; PYTHONPATH={shlex.quote(str(ROOT))} {program} {rest}; echo code=$?")
        self.press("Enter")

    def press(self, key: str) -> None:
        self._call("send-keys", key)

    def screen(self, *, colours: bool = False) -> str:
        """Return the screen's text, with escape sequences where ``colours``."""
        return self._call("capture-pane", "-p", *(["-e"] if colours else []))

    def shows(self, text: str) -> None:
        """Wait until the text is to be seen; fails with what is there instead."""
        try:
            eventually(lambda: text in self.screen(), text, seconds=60)
        except AssertionError:
            raise AssertionError(f"no {text!r} on the screen:\n{self.screen()}") from None

    def code(self) -> int:
        """Wait for the command's end; its exit code."""
        eventually(lambda: re.search(r"code=\d", self.screen()), "the command's end", seconds=60)
        (code,) = re.findall(r"code=(\d+)", self.screen())
        return int(code)

    def _send(self, text: str) -> None:
        self._call("send-keys", "-l", text)

    def _call(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments],
            cwd=self._directory,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"tmux {arguments}: {done.stderr}"
        return done.stdout
