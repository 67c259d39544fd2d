"""rsyslog and syslog-ng from Debian, side by side and without installing either.

As packages they exclude each other; unpacked into ``.cache/peers`` they do not.  Needs ``apt-get``
and ``dpkg`` with their lists, and no rights.  Raises Unavailable, saying what is missing.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["CACHE", "Programs", "Unavailable", "succeed", "unpack"]

CACHE: Final = Path(__file__).parents[2] / ".cache" / "peers"
_PACKAGES: Final = (
    "rsyslog",
    "rsyslog-elasticsearch",
    "syslog-ng-core",
    "syslog-ng-mod-http",
    # Dependencies that a small image lacks.
    "libestr0",
    "libfastjson4",
    "libivykis0",
    "libjson-c5",
    "liblognorm5",
    "libnet1",
    "libpcre3",
    "libwrap0",
)


class Unavailable(Exception):
    """The programs cannot be had here."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where they lie below ``root``, and the environment they need to run from there."""

    root: Path

    @property
    def rsyslogd(self) -> Path:
        return self.root / "usr/sbin/rsyslogd"

    @property
    def rsyslog_modules(self) -> Path:
        return self.root / f"usr/lib/{_triplet()}/rsyslog"

    @property
    def syslog_ng(self) -> Path:
        return self.root / "usr/sbin/syslog-ng"

    @property
    def syslog_ng_modules(self) -> Path:
        return next(self.root.glob("usr/lib/syslog-ng/*/libhttp.so")).parent

    @property
    def environment(self) -> Mapping[str, str]:
        libraries = (f"usr/lib/{_triplet()}", f"lib/{_triplet()}", "usr/lib/syslog-ng")
        paths = ":".join(str(self.root / path) for path in libraries)
        return {**os.environ, "LD_LIBRARY_PATH": paths}


def _triplet() -> str:
    return str(sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu")


def unpack() -> Programs:
    """Fetch and unpack them, once."""
    root = CACHE / "root"
    done = CACHE / "unpacked"
    if not done.exists():
        archives = CACHE / "debs"
        archives.mkdir(parents=True, exist_ok=True)
        succeed(["apt-get", "download", "-qq", *_PACKAGES], archives)
        root.mkdir(exist_ok=True)
        for archive in sorted(archives.glob("*.deb")):
            succeed(["dpkg", "-x", str(archive), str(root)], archives)
        done.touch()
    return Programs(root)


def succeed(command: list[str], place: Path) -> None:
    """Run a command in a directory.  Raises Unavailable unless it succeeds."""
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not there; the peer needs it") from error
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:2])} failed: {(done.stdout + done.stderr)[-500:]}")
