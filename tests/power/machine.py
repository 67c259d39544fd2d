"""A virtual machine whose power can be cut: QEMU with Debian's cloud kernel and an initrd of ours.

    machine = Machine.prepare(cache, place)     raises Unavailable, saying what is missing
    session = machine.boot([Disk(image, "xfs", "writer", log), …])   returns at once
    session.listen()                            session.words[0] is what the first disk's said
    session.cut()                               SIGKILL: its memory is gone
    machine.look([Disk(image, "xfs", "writer")])    only says what is on each disk, and ends

No KVM is needed.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from tests.power.initrd import pack
from tests.power.words import Words

__all__ = ["FILESYSTEMS", "Disk", "Machine", "Session", "Unavailable"]

FILESYSTEMS: Final = ("ext4", "xfs", "btrfs")
_IMAGE_BYTES: Final = 320 << 20  # the least that mkfs.xfs takes is 300 MiB
_FETCH_SECONDS: Final = 300
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
    """One boot; ``words`` are those of each disk, in their order."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path, disks: int) -> None:
        self.words = [Words() for _ in range(disks)]
        self.booted = False
        self._process = process
        self._console = console
        self._names = {f"vd{chr(ord('a') + number)}": self.words[number] for number in range(disks)}
        self._read_bytes = 0
        self._other: list[str] = []

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """The last lines that are of no disk."""
        return "\n".join(self._other[-30:])

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
            else:
                self._other.append(line)
                self.booted |= line == "BOOTED"

    def cut(self) -> None:
        self._process.kill()
        self._process.wait(60)
        self.listen()


class Machine:
    """Kernel and initrd, and the boots made of them."""

    def __init__(self, place: Path, kernel: Path, initrd: Path) -> None:
        self._place = place
        self._kernel = kernel
        self._initrd = initrd
        self._boots = 0

    @classmethod
    def prepare(cls, cache: Path, place: Path) -> Self:
        """Fetch the kernel into the cache once, and pack the initrd.  Raises Unavailable."""
        if platform.machine() != "x86_64":
            raise Unavailable(f"it would run this Python, which is of {platform.machine()}")
        for program, package in _PROGRAMS.items():
            if shutil.which(program) is None:
                raise Unavailable(f"{program} is missing (Debian: apt-get install {package})")
        unpacked = _kernel(cache)
        [kernel] = unpacked.glob("boot/vmlinuz-*")
        return cls(place, kernel, pack(unpacked, place))

    def boot(self, disks: Sequence[Disk]) -> Session:
        """Start the disks' programs; they work until the power is cut."""
        return self._start(disks, "")

    def look(self, disks: Sequence[Disk]) -> Session:
        """Only look at one disk after the other."""
        return self._start(disks, " look")

    def _start(self, disks: Sequence[Disk], words: str) -> Session:
        self._boots += 1
        console = self._place / f"console.{self._boots}"
        described = ",".join(f"{disk.filesystem}:{disk.program}" for disk in disks)
        words = f"console=ttyS0 loglevel=1 mitigations=off panic=-1 disks={described}{words}"
        # Should the test run itself be killed, the machine goes with it.
        command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]
        command += ["-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "2"]
        command += ["-display", "none", "-no-reboot", "-nodefaults"]
        command += ["-serial", f"file:{console}", "-kernel", str(self._kernel)]
        command += ["-initrd", str(self._initrd), "-append", words]
        for number, disk in enumerate(disks):
            for drive in _drives(number, disk):
                command += ["-blockdev", drive]
            command += ["-device", f"virtio-blk-pci,drive=disk{number}"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return Session(process, console, len(disks))


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
