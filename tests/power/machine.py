"""A virtual machine whose power can be cut: QEMU with Debian's cloud kernel and an initrd of ours.

    machine = Machine.prepare(cache, place, WRITER)   raises Unavailable, saying what is missing
    session = machine.boot(image, "xfs", log)         returns at once; session.said() is its console
    session.cut()                                     SIGKILL: its memory is gone
    session = machine.look([image, another], "xfs")   only says what is on each disk, and ends

The initrd holds busybox, this Python with its standard library, and what the guest's program needs.
No KVM is needed.
"""

from __future__ import annotations

import compileall
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

__all__ = ["AGENT", "FILESYSTEMS", "WRITER", "Guest", "Machine", "Session", "Unavailable"]

FILESYSTEMS: Final = ("ext4", "xfs", "btrfs")
_IMAGE_BYTES: Final = 320 << 20  # the least that mkfs.xfs takes is 300 MiB
_MODULES: Final = {
    "": "virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk",
    "ext4": "crc16 crc32c_generic mbcache jbd2 ext4",
    "xfs": "libcrc32c xfs",
    "btrfs": "libcrc32c xor raid6_pq zstd_compress blake2b_generic btrfs",
}
"""In their order; the kernel has some of them built in."""


class Guest(NamedTuple):
    """A program beside this file, and the packages and modules that it imports."""

    program: str
    packages: tuple[str, ...]


WRITER: Final = Guest("guest.py", ("orjson", "zstandard", "auditlog"))
AGENT: Final = Guest(
    "agent_guest.py",
    (
        *WRITER.packages,
        *("auditctl", "shippers", "retention"),
        *(
            "apscheduler",
            "click",
            "cryptography",
            "_cffi_backend",
            "prometheus_client",
            "tzlocal",
            "watchdog",
        ),
    ),
)
_INIT: Final = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for word in $($B cat /proc/cmdline); do
    case $word in fs=*) fs=${{word#fs=}} ;; look) look=look ;; last=*) last=${{word#last=}} ;; esac
done
for module in $($B cat /modules/.list /modules/$fs.list); do $B insmod /modules/$module.ko; done
export LD_LIBRARY_PATH={libraries} PYTHONPATH=/source HOME=/ TZ=UTC
until [ -b /dev/$last ]; do $B sleep 0.1; done
for disk in /dev/vd?; do
    echo "DISK $disk"
    $B mount -t $fs $disk /disk || echo "DAMAGED $fs cannot be mounted"
    {python} /source/{program} $look
    $B umount /disk
    # All disks were one, which btrfs remembers.
    [ -e /modules/$fs.ko ] && $B rmmod $fs && $B insmod /modules/$fs.ko
done
echo END
$B poweroff -f
"""


class Unavailable(Exception):
    """No machine can be run here; the text says what is missing."""


class Session:
    """One boot."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self._process = process
        self._console = console

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def said(self) -> list[str]:
        """The whole lines of its console so far."""
        text = self._console.read_bytes() if self._console.exists() else b""
        return (
            text[: text.rfind(b"\n") + 1].decode("utf-8", "replace").replace("\r", "").split("\n")
        )

    def cut(self) -> None:
        self._process.kill()
        self._process.wait(60)


class Machine:
    """Kernel and initrd, and the boots made of them."""

    def __init__(self, place: Path, kernel: Path, initrd: Path) -> None:
        self._place = place
        self._kernel = kernel
        self._initrd = initrd
        self._boots = 0

    @classmethod
    def prepare(cls, cache: Path, place: Path, guest: Guest) -> Self:
        """Fetch the kernel into the cache once, and pack the initrd.  Raises Unavailable."""
        for program in ("qemu-system-x86_64", "busybox", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"):
            if shutil.which(program) is None:
                raise Unavailable(f"{program} is missing")
        unpacked = _kernel(cache)
        [kernel] = unpacked.glob("boot/vmlinuz-*")
        return cls(place, kernel, _initrd(unpacked, place, guest))

    def make_image(self, path: Path, filesystem: str) -> None:
        """An empty file system."""
        with path.open("wb") as file:
            file.truncate(_IMAGE_BYTES)
        subprocess.run([f"mkfs.{filesystem}", "-q", str(path)], check=True, capture_output=True)

    def boot(self, image: Path, filesystem: str, log: Path) -> Session:
        """Boot from the image; each write and flush is noted in the log."""
        log.write_bytes(b"")
        noted = "driver=blklogwrites,file=disk0,log=log,node-name=noted"
        drives = [*_drive(0, image), f"driver=file,filename={log},node-name=log", noted]
        return self._start(filesystem, drives, ["noted"])

    def look(self, images: Sequence[Path], filesystem: str) -> Session:
        """Boot to look at one disk after the other."""
        drives = [drive for number, path in enumerate(images) for drive in _drive(number, path)]
        return self._start(filesystem, drives, [f"disk{n}" for n in range(len(images))], " look")

    def _start(
        self, filesystem: str, drives: Sequence[str], disks: Sequence[str], words: str = ""
    ) -> Session:
        self._boots += 1
        console = self._place / f"console.{self._boots}"
        last = f"vd{chr(ord('a') + len(disks) - 1)}"
        words = f"console=ttyS0 quiet mitigations=off panic=-1 fs={filesystem} last={last}{words}"
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"]
        command += ["-m", "1024", "-smp", "2", "-display", "none", "-no-reboot", "-nodefaults"]
        command += ["-serial", f"file:{console}", "-kernel", str(self._kernel)]
        command += ["-initrd", str(self._initrd), "-append", words]
        for drive in drives:
            command += ["-blockdev", drive]
        for disk in disks:
            command += ["-device", f"virtio-blk-pci,drive={disk}"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return Session(process, console)


def _drive(number: int, image: Path) -> list[str]:
    return [
        f"driver=file,filename={image},node-name=image{number}",
        f"driver=raw,file=image{number},node-name=disk{number}",
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
    fetched = subprocess.run(
        ["apt-get", "download", found[1]], cwd=cache, capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        raise Unavailable(f"{found[1]} cannot be fetched: {fetched.stderr.strip()[-300:]}")
    for archive in cache.glob("linux-image-*.deb"):
        subprocess.run(["dpkg", "-x", str(archive), str(unpacked)], check=True)
        archive.unlink()
    return unpacked


def _initrd(kernel: Path, place: Path, guest: Guest) -> Path:
    root = place / "initrd"
    for name in ("bin", "proc", "sys", "dev", "disk", "modules", "source", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")
    for filesystem, names in _MODULES.items():
        found = {name: path for name in names.split() if (path := _module(kernel, name))}
        (root / f"modules/{filesystem}.list").write_text("".join(f"{name}\n" for name in found))
        for name, path in found.items():
            shutil.copy(path, root / f"modules/{name}.ko")
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    unneeded = ("test", "site-packages", "idlelib", "ensurepip", "lib2to3", "tkinter", "config-*")
    ignored = shutil.ignore_patterns(*unneeded, "*.opt-?.pyc")
    shutil.copytree(library, root / str(library)[1:], ignore=ignored)
    _copy(python, root)
    for name in guest.packages:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin)
        if spec.submodule_search_locations is None:
            shutil.copy(source, root / "source")
        else:
            shutil.copytree(source.parent, root / "source" / name, ignore=ignored)
    # Compile here once, not at each start of a slow machine.
    for place_of_source in (root / "source", root / str(library)[1:]):
        compileall.compile_dir(place_of_source, quiet=2)
    shutil.copy(Path(__file__).with_name(guest.program), root / "source")
    objects = [python, *library.glob("lib-dynload/*.so"), *(root / "source").rglob("*.so")]
    libraries = {path for each in objects for path in _needed(each)}
    for path in libraries:
        _copy(Path(path), root)
    (root / "init").write_text(
        _INIT.format(
            libraries=":".join(sorted({str(Path(path).parent) for path in libraries})),
            python=python,
            program=guest.program,
        )
    )
    (root / "init").chmod(0o755)
    packed = place / "initrd.gz"
    pack = f"find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >{packed}"
    subprocess.run(["bash", "-euo", "pipefail", "-c", pack], cwd=root, check=True)
    shutil.rmtree(root)
    return packed


def _module(kernel: Path, name: str) -> Path | None:
    """A module's file; None for what is built into the kernel."""
    return next(iter(kernel.glob(f"lib/modules/**/{name.replace('_', '[-_]')}.ko")), None)


def _copy(path: Path, root: Path) -> None:
    """To the same place below the root."""
    place = root / str(path)[1:]
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)


def _needed(path: Path) -> list[str]:
    """The shared libraries of a program, their loader included."""
    listed = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listed)
