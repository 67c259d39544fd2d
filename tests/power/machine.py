"""A virtual machine whose power can be cut: QEMU with Debian's cloud kernel and an initrd of ours.

    machine = Machine.prepare(cache, place)     raises Unavailable, saying what is missing
    session = machine.boot([Disk(image, "xfs", "writer", log), …])   returns at once
    session.listen()                            session.words[0] is what the first disk's said
    session.cut()                               SIGKILL: its memory is gone
    machine.boot([Disk(image, "xfs", "writer")], look=True)    only says what is on each disk

No KVM is needed.  An emulated processor takes long to start a kernel and Python, so that is done
once, without any disk, and the machine's memory is saved; a boot goes on from there with its own
disks, as after a cold start, which ``cold=True`` makes.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from tests.power.initrd import pack
from tests.power.words import Words
from tests.support.waiting import eventually

__all__ = ["FILESYSTEMS", "Disk", "Machine", "Session", "Unavailable"]

FILESYSTEMS: Final = ("ext4", "xfs", "btrfs")
_IMAGE_BYTES: Final = 320 << 20  # the least that mkfs.xfs takes is 300 MiB
_ORDERS_BYTES: Final = 4096
_FETCH_SECONDS: Final = 300
_BOOT_SECONDS: Final = 900
_SAVE_SECONDS: Final = 300
_PROGRAMS: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "setpriv": "util-linux",
}
"""Each program and the Debian package that brings it."""


class Unavailable(Exception):
    """No machine can be run here; the text says what is missing."""


class Disk(NamedTuple):
    """An image, and the guest program that works on it; each write is noted in the log."""

    image: Path
    filesystem: str
    program: str
    log: Path | None = None

    def make_filesystem(self) -> None:
        with self.image.open("wb") as file:
            file.truncate(_IMAGE_BYTES)
        command = [f"mkfs.{self.filesystem}", "-q", str(self.image)]
        subprocess.run(command, check=True, capture_output=True)


class Session:
    """One boot; ``words`` are those of each disk, in their order.

    ``random_numbers`` are some that were drawn: by the kernel for this boot, from it, by Python.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], console: Path, errors: Path, disks: int
    ) -> None:
        self.words = [Words() for _ in range(disks)]
        self.random_numbers: set[str] = set()
        self._process = process
        self._console = console
        self._errors = errors
        self._names = {
            f"vd{chr(ord('b') + number)}": words for number, words in enumerate(self.words)
        }
        self._read_bytes = 0
        self._other: list[str] = []

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """The last lines that are of no disk, and what QEMU said."""
        return "\n".join([*self._other[-30:], self._errors.read_text()])

    def listen(self) -> None:
        """Take in what was said since the last time, whole lines only."""
        if not self._console.exists():
            return
        with self._console.open("rb") as console:
            console.seek(self._read_bytes)
            new = console.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.decode("utf-8", "replace").replace("\r", "").splitlines():
            name, _, text = line.partition(" ")
            if name in self._names:
                self._names[name].add(text)
                continue
            self._other.append(line)
            if name == "RANDOM":
                self.random_numbers = set(text.split())

    def wait_for(self, word: str) -> None:
        """Return as soon as the machine says it.  Raises Unavailable where it does not boot."""

        def said_or_ended() -> bool:
            running = self.running
            self.listen()
            return word in self._other or not running

        try:
            eventually(said_or_ended, word, _BOOT_SECONDS)
        except AssertionError as error:
            raise Unavailable(f"the machine does not boot: {error}\n{self.said}") from error
        if word not in self._other:
            raise Unavailable(f"the machine does not boot: {self.said}")

    def save(self, path: Path) -> None:
        """Write the memory and all else of the machine to a file, and end it."""
        commands = f"""migrate_set_parameter max-bandwidth 8G
            migrate "exec:cat >{shlex.quote(str(path))}"
            info status
            quit
        """
        try:
            said, _ = self._process.communicate(commands.encode(), timeout=_SAVE_SECONDS)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"QEMU has not saved the machine in {_SAVE_SECONDS} s") from None
        if b"postmigrate" not in said:
            raise Unavailable(f"QEMU cannot save the machine: {said.decode()[-300:]}")

    def cut(self) -> None:
        self._process.kill()
        self._process.wait(60)
        self.listen()


class Machine:
    """Kernel and initrd, and the boots made of them.

    ``random_numbers`` are those of all boots so far.
    """

    def __init__(self, place: Path, kernel: Path, initrd: Path) -> None:
        self._place = place
        self._kernel = kernel
        self._initrd = initrd
        self.random_numbers: set[str] = set()
        self._boots = 0
        self._saved = place / "saved"

    @classmethod
    def prepare(cls, cache: Path, place: Path) -> Self:
        """Fetch the kernel into the cache once, pack the initrd, and save a machine that runs.

        Raises Unavailable.
        """
        if platform.machine() != "x86_64":
            raise Unavailable(f"it would run this Python, which is of {platform.machine()}")
        for program, package in _PROGRAMS.items():
            if shutil.which(program) is None:
                raise Unavailable(f"{program} is missing (Debian: apt-get install {package})")
        unpacked = _kernel(cache)
        [kernel] = unpacked.glob("boot/vmlinuz-*")
        machine = cls(place, kernel, pack(unpacked, place))
        machine._save()
        return machine

    def boot(
        self,
        disks: Sequence[Disk],
        *,
        look: bool = False,
        cold: bool = False,
        clock_ahead: float = 0,
    ) -> Session:
        """Start the disks' programs; they work until the power is cut, or only look.

        The machine's clock is so many seconds ahead of this one's.
        """
        orders = {
            "clock_at": time.time() + clock_ahead,
            "entropy": os.urandom(64).hex(),
            "disks": [f"{disk.filesystem}:{disk.program}" for disk in disks],
            "look": look,
        }
        path = self._place / "orders.img"
        path.write_bytes(json.dumps(orders).encode().ljust(_ORDERS_BYTES, b"\0"))
        arguments = []
        for number, disk in enumerate([Disk(path, "", ""), *disks]):
            for drive in _drives(number, disk):
                arguments += ["-blockdev", drive]
            arguments += ["-device", f"virtio-blk-pci,drive=disk{number}"]
        if not cold:
            arguments += ["-incoming", f"exec:exec cat {shlex.quote(str(self._saved))}"]
        return self._start(arguments, len(disks))

    def _save(self) -> None:
        session = self._start(["-monitor", "stdio"], 0, subprocess.PIPE)
        try:
            session.wait_for("WAITING")
            session.save(self._saved)
        finally:
            session.cut()

    def _start(
        self, arguments: Sequence[str], disks: int, commands: int = subprocess.DEVNULL
    ) -> Session:
        self._boots += 1
        console = self._place / f"console.{self._boots}"
        # Should the test run itself be killed, the machine goes with it.
        command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]
        command += ["-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "2"]
        command += ["-display", "none", "-no-reboot", "-nodefaults"]
        command += ["-serial", f"file:{console}", "-kernel", str(self._kernel)]
        command += ["-initrd", str(self._initrd)]
        command += ["-append", "console=ttyS0 loglevel=1 mitigations=off panic=-1"]
        errors = self._place / f"errors.{self._boots}"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [*command, *arguments], stdin=commands, stdout=commands, stderr=file
            )
        return Session(process, console, errors, disks)


def _drives(number: int, disk: Disk) -> list[str]:
    image, name = f"image{number}", f"disk{number}"
    opened = f"driver=file,filename={disk.image},node-name={image}"
    if disk.log is None:
        return [opened, f"driver=raw,file={image},node-name={name}"]
    disk.log.write_bytes(b"")
    return [
        opened,
        f"driver=raw,file={image},node-name=raw{number}",
        f"driver=file,filename={disk.log},node-name=log{number}",
        f"driver=blklogwrites,file=raw{number},log=log{number},node-name={name}",
    ]


def _kernel(cache: Path) -> Path:
    """Debian's newest cloud kernel, unpacked."""
    unpacked = cache / "kernel"
    if list(unpacked.glob("boot/vmlinuz-*")):
        return unpacked
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Unavailable("only Debian has the kernel: no apt-get")
    asked = ["apt-cache", "depends", "linux-image-cloud-amd64"]
    depends = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if found is None:
        raise Unavailable("apt knows no linux-image-cloud-amd64 (apt-get update)")
    cache.mkdir(parents=True, exist_ok=True)
    limits = ["-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"]
    try:
        fetched = subprocess.run(
            ["apt-get", "download", *limits, found[1]],
            cwd=cache,
            capture_output=True,
            text=True,
            timeout=_FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{found[1]} was not fetched in {_FETCH_SECONDS} s") from None
    if fetched.returncode:
        raise Unavailable(f"{found[1]} cannot be fetched: {fetched.stderr.strip()[-300:]}")
    [archive] = cache.glob("linux-image-*.deb")
    partial = cache / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(["dpkg", "-x", str(archive), str(partial)], check=True)
    archive.unlink()
    return partial.rename(unpacked)
