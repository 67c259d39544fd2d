"""The programs that operators use, and the files in deploy/ that they read."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

__all__ = ["DEPLOY", "PROGRAMS", "alerts", "loaded", "loaded_toml", "missing", "ran"]

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
PROGRAMS: Final = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "systemd-analyze": "systemd",
    "systemd-sysusers": "systemd",
    "systemd-tmpfiles": "systemd",
}
"""Each program and the Debian package that brings it."""


def missing(program: str) -> str:
    """Why the program cannot be run, or ""."""
    if shutil.which(program) is not None:
        return ""
    return f"{program} is missing (Debian: apt-get install {PROGRAMS[program]})"


def ran(*command: object, code: int = 0, **options: Any) -> str:
    """Return a program's output; its exit code must be the given one."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    assert done.returncode == code, f"{command} exits with {done.returncode}:\n{done.stdout}"
    return done.stdout


def loaded(path: Path) -> Any:
    """A YAML file of deploy/ or of a test."""
    return yaml.safe_load(path.read_text("utf-8"))


def loaded_toml(path: Path) -> Any:
    """A TOML file of deploy/."""
    return tomllib.loads(path.read_text("utf-8"))


def alerts() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every alert of every rule file, with its file."""
    for path in sorted((DEPLOY / "prometheus/rules").glob("*.yml")):
        for group in loaded(path)["groups"]:
            for rule in group["rules"]:
                yield path, rule
