"""The services of deploy/docker/compose.yml as processes of this machine, without any image.

    with Composed.prepare(place, secrets) as composed:       raises Unavailable, saying why
        composed.start("seaweedfs")
        composed.healthy("seaweedfs")
        composed.run("auditlog-agent", "auditctl", "verify")

Each has the command, the environment, the user, the mounts and the secrets that the file gives it,
in one network and one file system, which is an overlay of this machine's root.  The users and their
directories are made by the command of the Containerfile.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

from tests.support.operations import DEPLOY, loaded
from tests.support.overlay import Unavailable, hold_overlay
from tests.support.waiting import eventually

__all__ = ["Composed", "Unavailable"]

_ROOT: Final = DEPLOY.parent
_HERE: Final = DEPLOY / "docker"
# All processes go with the first of the namespace: the one that waits for the end of its input.
_PREPARE: Final = """
mount --rbind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
ip link set lo up
ip link add eth0 type veth peer name eth1
ip address add 10.7.7.2/24 dev eth0
ip link set eth0 up
ip link set eth1 up
"""
_IMAGES: Final = {"prometheus": "nobody", "alertmanager": "nobody"}
"""The users of others' images, where they are not root."""


class Composed:
    """One network and file system; every service that was started ends with it."""

    def __init__(self, holder: subprocess.Popen[str], place: Path) -> None:
        self.services: dict[str, dict[str, Any]] = loaded(_HERE / "compose.yml")["services"]
        self.programs: dict[str, list[str]] = {}
        self._holder = holder
        self._place = place
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        self._inside = int(children[0])

    @classmethod
    def prepare(cls, place: Path, secrets: Path) -> Self:
        """Make the file system below an empty directory, and the users.  Raises Unavailable."""
        holder = hold_overlay(
            place,
            _PREPARE,
            namespaces=("--net", "--pid", "--fork", "--kill-child"),
            programs=("chroot", "setpriv", "ip"),
            packages="util-linux, coreutils, iproute2",
        )
        composed = cls(holder, place)
        composed._make_users()
        composed._mount(secrets)
        return composed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.communicate()
        for process in self._started.values():
            process.wait()

    @property
    def root(self) -> Path:
        """The file system, seen from outside."""
        return Path(f"/proc/{self._inside}/root") / self._place.relative_to("/") / "root"

    def user(self, name: str) -> str:
        user: str = self.services[name].get("user", _IMAGES.get(name, "root"))
        return user

    def start(self, name: str) -> None:
        """Start a service with its command, or with the one of ``programs`` and its arguments."""
        service = self.services[name]
        command = [*service.get("entrypoint", ()), *service.get("command", ())]
        if name in self.programs:
            command = [*self.programs[name], *service.get("command", ())]
        with self._log(name).open("wb") as output:
            self._started[name] = subprocess.Popen(
                self._entered(name, command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def ended(self, name: str) -> int:
        """Wait for the end of a service, and return its exit code."""
        return self._started[name].wait(300)

    def healthy(self, name: str) -> None:
        """Wait until the health check of a service succeeds."""
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"

        def is_healthy() -> bool:
            assert self._started[name].poll() is None, f"{name} ended: {self.said(name)}"
            done = subprocess.run(self._entered(name, command), capture_output=True, check=False)
            return done.returncode == 0

        eventually(is_healthy, f"{name} is healthy: {self.said(name)}", 300)

    def run(self, name: str, *command: str, code: int = 0) -> str:
        """Return the output of a command in a service, as ``compose exec`` runs it."""
        done = subprocess.run(
            self._entered(name, command), capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def said(self, name: str) -> str:
        """The end of a service's output."""
        return self._log(name).read_text("utf-8", "replace")[-2000:]

    def _log(self, name: str) -> Path:
        return self._place.parent / f"{name}.log"

    def _entered(self, name: str, command: Any) -> list[str]:
        service = self.services[name]
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(_ROOT / "examples"),
            "PYTHONUNBUFFERED": "1",
            "HOME": "/tmp",  # of the overlay
            **{key: str(value) for key, value in service.get("environment", {}).items()},
        }
        user = self.user(name)
        group = "nogroup" if user == "nobody" else user
        enter = ["nsenter", f"--target={self._inside}", "--mount", "--net", "--pid"]
        enter += ["chroot", str(self._place / "root")]
        if user != "root":
            enter += ["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups"]
            enter += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        assigned = [f"{key}={value}" for key, value in environment.items()]
        return [*enter, "env", "--ignore-environment", *assigned, *command]

    def _give(self, place: str, user: str) -> None:
        enter = ["nsenter", f"--target={self._inside}", "--mount", "chroot"]
        subprocess.run([*enter, str(self._place / "root"), "chown", user, place], check=True)

    def _make_users(self) -> None:
        """Run what the Containerfile runs, and let the users come to this Python."""
        text = (_HERE / "Containerfile").read_text("utf-8").replace("\\\n", "")
        (made,) = re.findall(r"^RUN (groupadd .*)$", text, re.MULTILINE)
        enter = ["nsenter", f"--target={self._inside}", "--mount", "--pid", "chroot"]
        done = subprocess.run(
            [*enter, str(self._place / "root"), "bash", "-euc", made],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        for place in (sys.prefix, sys.base_prefix, str(_ROOT), str(self._place)):
            for parent in (Path(place), *Path(place).parents):
                inside = self.root / parent.relative_to("/")
                with contextlib.suppress(FileNotFoundError):
                    inside.chmod(inside.stat().st_mode | 0o055)

    def _mount(self, secrets: Path) -> None:
        """Copy what the file mounts to where it mounts it; a volume is a directory."""
        found: dict[str, str] = {}
        owners: dict[str, str] = {}
        for name, service in self.services.items():
            for volume in service.get("volumes", ()):
                source, target, *_ = volume.split(":")
                found[target] = source
                owners.setdefault(target, self.user(name))
            for secret in service.get("secrets", ()):
                found[f"/run/secrets/{secret}"] = f"./secrets/{secret}"
            for target in service.get("tmpfs", ()):
                found[target.split(":")[0]] = ""
                owners[target.split(":")[0]] = self.user(name)
        for target, source in sorted(found.items()):  # parents first
            inside = self.root / target.lstrip("/")
            if not source.startswith("."):
                if not inside.exists():
                    inside.mkdir(parents=True)
                    self._give(target, owners[target])
                continue
            given = _HERE / source
            if source.startswith("./secrets"):
                given = secrets / Path(source).relative_to("secrets")
            if given.is_dir():
                shutil.copytree(given, inside, dirs_exist_ok=True)
            elif source == "./models":
                inside.mkdir(parents=True, exist_ok=True)
            else:
                inside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(given, inside)
