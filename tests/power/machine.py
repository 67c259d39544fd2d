"""A virtual machine whose power can be cut: QEMU with Debian's cloud kernel and an initrd of ours.

    machine = Machine.prepare(root, place)        raises Unavailable, saying what is missing
    session = machine.boot(image, "xfs", log)     returns at once; session.said() is its console
    session.cut()                                 SIGKILL: its memory is gone

The initrd holds busybox, this Python with its standard library, and auditlog.  No KVM is
needed.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final, Self

__all__ = ["FILESYSTEMS", "Machine", "Session", "Unavailable"]

FILESYSTEMS: Final = ("ext4", "xfs", "btrfs")
_IMAGE_BYTES: Final = 320 << 20  # the least that mkfs.xfs takes is 300 MiB
_MODULES: Final = {
    "": "virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk",
    "ext4": "crc16 crc32c_generic mbcache jbd2 ext4",
    "xfs": "libcrc32c xfs",
    "btrfs": "libcrc32c xor raid6_pq zstd_compress blake2b_generic btrfs",
}
"""In their order; the kernel has some of them built in."""
_INIT: Final = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for word in $($B cat /proc/cmdline); do
    case $word in fs=*) fs=${{word#fs=}} ;; look) look=look ;; esac
done
for module in $($B cat /modules/.list /modules/$fs.list); do $B insmod /modules/$module.ko; done
until [ -b /dev/vda ]; do $B sleep 0.1; done
$B mount -t $fs /dev/vda /disk || echo "DAMAGED $fs cannot be mounted"
export LD_LIBRARY_PATH={libraries} PYTHONPATH=/source HOME=/ TZ=UTC
{python} -B /source/guest.py $look
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
    def prepare(cls, cache: Path, place: Path) -> Self:
        """Fetch the kernel into the cache once, and pack the initrd.  Raises Unavailable."""
        for program in ("qemu-system-x86_64", "busybox", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"):
            if shutil.which(program) is None:
                raise Unavailable(f"{program} is missing")
        unpacked = _kernel(cache)
        [kernel] = unpacked.glob("boot/vmlinuz-*")
        return cls(place, kernel, _initrd(unpacked, place))

    def make_image(self, path: Path, filesystem: str) -> None:
        """An empty file system."""
        with path.open("wb") as file:
            file.truncate(_IMAGE_BYTES)
        subprocess.run([f"mkfs.{filesystem}", "-q", str(path)], check=True, capture_output=True)

    def boot(self, image: Path, filesystem: str, log: Path, *, only_look: bool = False) -> Session:
        """Boot from the image; each write and flush is noted in the log."""
        self._boots += 1
        console = self._place / f"console.{self._boots}"
        log.write_bytes(b"")
        words = f"console=ttyS0 quiet mitigations=off panic=-1 fs={filesystem}"
        words += " look" if only_look else ""
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"]
        command += ["-m", "1024", "-smp", "2", "-display", "none", "-no-reboot", "-nodefaults"]
        command += ["-serial", f"file:{console}", "-kernel", str(self._kernel)]
        command += ["-initrd", str(self._initrd), "-append", words]
        for node in (
            f"driver=file,filename={image},node-name=image",
            f"driver=file,filename={log},node-name=log",
            "driver=raw,file=image,node-name=disk",
            "driver=blklogwrites,file=disk,log=log,node-name=noted",
        ):
            command += ["-blockdev", node]
        command += ["-device", "virtio-blk-pci,drive=noted"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return Session(process, console)


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


def _initrd(kernel: Path, place: Path) -> Path:
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
    ignored = shutil.ignore_patterns("test", "site-packages", "idlelib", "__pycache__", "config-*")
    shutil.copytree(library, root / str(library)[1:], ignore=ignored)
    _copy(python, root)
    for name in ("orjson", "zstandard", "auditlog"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).parent
        shutil.copytree(
            source, root / "source" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(Path(__file__).with_name("guest.py"), root / "source")
    objects = [python, *library.glob("lib-dynload/*.so"), *(root / "source").rglob("*.so")]
    libraries = {path for each in objects for path in _needed(each)}
    for path in libraries:
        _copy(Path(path), root)
    (root / "init").write_text(
        _INIT.format(
            libraries=":".join(sorted({str(Path(path).parent) for path in libraries})),
            python=python,
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
