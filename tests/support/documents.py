"""Runs what a document tells its reader to run.

    document = Document.read(root / "README.md")
    outputs = document.run(tmp_path, skip={"make": "makes an environment of its own"})

Blocks marked ``python`` and ``sh`` run in their order, in one directory; python blocks share their
names, as in one session.  A block marked ``python file=app.py`` is also written there under that
name.  ``auditctl`` and ``python`` are on the PATH.  Blocks of any other language are not run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

__all__ = ["Block", "Document"]

ROOT: Final = Path(__file__).parents[2]
_FENCED: Final = re.compile(
    r"^```(?P<language>\w+)(?: file=(?P<file>[\w.]+))?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_MAX_SECONDS: Final = 240.0  # for all blocks together
_LISTENER: Final = """
import json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    text, where = json.loads(line)
    exec(compile(text, where, "exec"), names)
    print("\\0", flush=True)
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; ``line`` is that of its first line of text."""

    language: str
    file: str | None
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """A Markdown file and its blocks that can be run."""

    path: Path
    blocks: tuple[Block, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        text = path.read_text("utf-8")
        assert text.count("```") % 2 == 0, f"{path.name}: a block is not closed"
        found = [
            Block(m["language"], m["file"], m["text"], text.count("\n", 0, m.start("text")) + 1)
            for m in _FENCED.finditer(text)
        ]
        return cls(path, tuple(block for block in found if block.language in ("python", "sh")))

    def run(self, place: Path, *, skip: Mapping[str, str] | None = None) -> list[str]:
        """Return the output of each block, stderr included.

        ``skip`` maps a word to the reason why blocks with it are not run.  Raises AssertionError
        naming file and line when a block fails, or when nothing has to be skipped for a word.
        """
        outputs = []
        unused = set(skip or {})
        programs = place / ".bin"
        _write_programs(programs)
        with _Session(place, programs) as session:
            for block in self.blocks:
                words = {word for word in skip or {} if word in block.text}
                unused -= words
                if words:
                    continue
                if block.file is not None:
                    (place / block.file).write_text(block.text, "utf-8")
                where = f"{self.path.name}:{block.line}"
                run = session.run_python if block.language == "python" else session.run_shell
                outputs.append(run(block.text, where))
        assert not unused, f"{self.path.name}: no block has {', '.join(unused)}"
        return outputs


class _Session:
    """One Python process for the python blocks, and a shell for each of the others."""

    def __init__(self, place: Path, programs: Path) -> None:
        self._place = place
        self._environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        self._python = subprocess.Popen(
            [sys.executable, "-u", "-W", "error", "-c", _LISTENER],
            cwd=place,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._watch = threading.Timer(_MAX_SECONDS, self._python.kill)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        rest, _none = self._python.communicate()
        self._watch.cancel()
        assert kind is not None or self._python.returncode == 0, f"at the end: {rest}"

    def run_python(self, text: str, where: str) -> str:
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps([text, where]) + "\n")
        self._python.stdin.flush()
        printed = ""
        for line in self._python.stdout:
            if line == "\0\n":
                return printed
            printed += line
        raise AssertionError(f"{where} failed:\n{printed}")

    def run_shell(self, text: str, where: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self._place,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_MAX_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{where} exits with {done.returncode}:\n{done.stdout}"
        return done.stdout


def _write_programs(directory: Path) -> None:
    directory.mkdir()
    for name, arguments in (("auditctl", "-m auditctl "), ("python", "")):
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        program.chmod(0o755)
