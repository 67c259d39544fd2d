"""Plan and write the files of ``auditctl install``: units, users, directories, configuration.

The files are those of deploy/systemd, which stand for themselves: names of users, the directory and
the program are exchanged where others are wanted.

    etc/systemd/system/auditlog-agent.service, auditlog-retention.service
    etc/systemd/system/<service>.service.d/50-auditlog.conf     for each service that writes
    etc/sysusers.d/auditlog.conf, etc/tmpfiles.d/auditlog.conf
    etc/auditlog/config.toml                                    once; then it is the operator's

Invariants (tests of the same name in tests/auditctl/test_installation.py):
  idempotent   a second installation finds everything as it is, and changes nothing
  yours        a configuration that is there is never overwritten
  whole_words  a name is exchanged where it stands alone, never inside another one
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

from auditctl.errors import CommandFailed
from auditlog import durable_fs
from auditlog.errors import InvalidName

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["InstallStep", "Installation", "StepState"]

StepState = Literal["create", "update", "unchanged", "yours"]

_PROGRAM: Final = "/usr/bin/auditctl"
_DIRECTORY: Final = "/var/log/llama-orch/audit"
_AGENT: Final = "auditlog"
_WRITER: Final = "llama-orch"
_NAME: Final = re.compile(r"[a-z_][a-z0-9_-]{0,30}")  # useradd(8)
_SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@-]{0,200}")  # systemd.unit(5)
_HIDDEN_FROM_UNITS: Final = ("/root", "/home", "/run/user", "/tmp", "/var/tmp")  # noqa: S108  (named to be refused)
_PATH: Final = re.compile(r"/[A-Za-z0-9._/+-]+")  # needs no quotes in units, tmpfiles.d, TOML


@dataclass(frozen=True, slots=True)
class InstallStep:
    """One file and its state; ``path`` is below the root."""

    path: Path
    text: str
    state: StepState


@dataclass(frozen=True, slots=True)
class Installation:
    """Users, directory, program and services of an installation.  Raises InvalidName."""

    program: str = _PROGRAM
    directory: str = _DIRECTORY
    agent: str = _AGENT
    writer: str = _WRITER
    services: tuple[str, ...] = ("queen-rbee", "rbee-hive")

    def __post_init__(self) -> None:
        for what, value, allowed in (
            ("the user", self.agent, _NAME),
            ("the writers' user", self.writer, _NAME),
            ("the program", self.program, _PATH),
            ("the directory", self.directory, _PATH),
            *(("the service", service, _SERVICE) for service in self.services),
        ):
            if allowed.fullmatch(value) is None:
                raise InvalidName(
                    f"{what} {value!r} cannot be used in a unit",
                    hint="Letters, digits, and _ - are allowed; in an absolute path also . / +.",
                )
        if self.agent == self.writer:
            raise InvalidName(
                f"the shipper and the writers are both to be {self.agent}",
                hint="Give them different users: the shipper must not be able to change the logs.",
            )

    def plan(self, root: Path) -> tuple[InstallStep, ...]:
        """The steps of an installation below the root.  Raises OSError."""
        return tuple(
            InstallStep(
                root / target,
                text := self._text(source),
                _state(root / target, text, keep=target.suffix == ".toml"),
            )
            for source, target in self._targets()
        )

    def check_program(self) -> None:
        """Raise CommandFailed for a program of this host that the units could not execute."""
        program = Path(self.program)
        files = [program, program.resolve()]
        with suppress(OSError), program.open("rb") as file:
            if (found := re.match(rb"#!\s*(/\S+)", file.readline(4096))) is not None:
                interpreter = Path(os.fsdecode(found[1]))
                files += [interpreter, interpreter.resolve()]
        for path in files:
            hidden = any(path.is_relative_to(place) for place in _HIDDEN_FROM_UNITS)
            if hidden or not _executable_by_others(path):
                why = "is hidden from the units" if hidden else "is not executable for their users"
                raise CommandFailed(
                    f"the units could not start {program}: this file {why}",
                    path=path,
                    hint="Install the package where every user can run it, such as /opt or "
                    "/usr/local, and name it with --program.",
                )

    def apply(self, steps: tuple[InstallStep, ...]) -> None:
        """Carry out the steps, durably.  Raises OSError."""
        for step in steps:
            if step.state in ("create", "update"):
                _make_directory(step.path.parent)
                durable_fs.replace_durably(step.path, step.text.encode())
                step.path.chmod(0o644)  # they hold no secrets, and users of systemd must read them

    def _targets(self) -> list[tuple[str, PurePosixPath]]:
        units = PurePosixPath("etc/systemd/system")
        found = [(f"auditlog-{name}.service", units) for name in ("agent", "retention")]
        targets = [(name, where / name) for name, where in found]
        for service in self.services:
            name = service.removesuffix(".service")
            targets.append(("audit-writer.conf", units / f"{name}.service.d/50-auditlog.conf"))
        return [
            *targets,
            ("sysusers.conf", PurePosixPath("etc/sysusers.d/auditlog.conf")),
            ("tmpfiles.conf", PurePosixPath("etc/tmpfiles.d/auditlog.conf")),
            ("config.toml", PurePosixPath("etc/auditlog/config.toml")),
        ]

    def _text(self, source: str) -> str:
        text = _templates().joinpath(source).read_text("utf-8")
        exchanged = {
            _PROGRAM: self.program,
            _DIRECTORY: self.directory,
            _AGENT: self.agent,
            _WRITER: self.writer,
        }
        # One pass, so that no replacement is replaced again.
        # A path may follow a hyphen (systemd.exec(5): it need not be there); a name is a word.
        words = "|".join(
            (r"(?<![\w./])" if word.startswith("/") else r"(?<![\w./-])") + re.escape(word)
            for word in exchanged
        )
        return re.sub(rf"(?:{words})(?![\w.-])", lambda found: exchanged[found[0]], text)


def _executable_by_others(path: Path) -> bool:
    try:
        modes = [each.stat().st_mode for each in (path, *path.parents)]
    except OSError:
        return False
    return all(mode & stat.S_IXOTH for mode in modes)


def _make_directory(path: Path) -> None:
    """Make it with its parents, readable for all whatever the umask is."""
    if not path.is_dir():
        _make_directory(path.parent)
        path.mkdir()
        path.chmod(0o755)


def _state(path: Path, text: str, *, keep: bool) -> StepState:
    try:
        there = path.read_text("utf-8")
    except FileNotFoundError:
        return "create"
    except UnicodeDecodeError:
        there = ""
    if there == text:
        return "unchanged"
    return "yours" if keep else "update"


def _templates() -> Traversable:
    """deploy/systemd: inside the wheel, or beside the package in a checkout."""
    inside = resources.files("auditctl").joinpath("deploy/systemd")
    if inside.is_dir():
        return inside
    beside = Path(__file__).parent.parent / "deploy" / "systemd"
    if beside.is_dir():
        return beside
    raise CommandFailed(
        "the units are missing from this installation", hint="Install the package again."
    )
