"""The memory disk that a virtual machine starts from: busybox, this Python, and guest programs.

It is not compressed: an emulated processor takes longer to decompress it than to boot.
"""

from __future__ import annotations

import compileall
import importlib.util
import lzma
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

__all__ = ["pack"]

_MODULES: Final = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("virtio_blk", "crc16", "crc32c_generic", "mbcache", "jbd2", "ext4", "libcrc32c", "xfs"),
    *("xor", "raid6_pq", "zstd_compress", "blake2b_generic", "btrfs"),
)
"""In the order of their dependencies; the kernel has some of them built in."""
_PACKAGES: Final = (
    *("auditlog", "auditctl", "shippers", "retention", "orjson", "zstandard", "apscheduler"),
    *("click", "cryptography", "_cffi_backend", "prometheus_client", "tzlocal", "watchdog"),
)
_PROGRAMS: Final = ("guest.py", "writer_guest.py", "unsynced_guest.py", "agent_guest.py")
_INIT: Final = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for module in $($B cat /modules/list); do $B insmod /modules/$module.ko; done
export LD_LIBRARY_PATH={libraries} PYTHONPATH=/source HOME=/ TZ=UTC
{python} /source/guest.py
echo END
$B poweroff -f
"""


def pack(kernel: Path, place: Path) -> Path:
    """Return the packed file; ``kernel`` is the unpacked package, ``place`` a directory."""
    root = place / "initrd"
    for name in ("bin", "proc", "sys", "dev", "disk", "modules", "source", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")
    found = {name: path for name in _MODULES if (path := _module(kernel, name)) is not None}
    (root / "modules/list").write_text("".join(f"{name}\n" for name in found))
    for name, path in found.items():
        content = path.read_bytes()
        unpacked = lzma.decompress(content) if path.suffix == ".xz" else content
        (root / f"modules/{name}.ko").write_bytes(unpacked)
    python, libraries = _lay_out_python(root)
    init = _INIT.format(libraries=":".join(libraries), python=python)
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    packed = place / "initrd.cpio"
    archive = f"find . | busybox cpio -o -H newc 2>/dev/null >{packed}"
    subprocess.run(["bash", "-euo", "pipefail", "-c", archive], cwd=root, check=True)
    shutil.rmtree(root)
    return packed


def _lay_out_python(root: Path) -> tuple[Path, list[str]]:
    """Return Python's path, and the directories of the shared libraries."""
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    unneeded = ("test", "site-packages", "idlelib", "ensurepip", "lib2to3", "tkinter", "config-*")
    ignored = shutil.ignore_patterns(*unneeded, "*.opt-?.pyc")
    shutil.copytree(library, root / str(library)[1:], ignore=ignored)
    _copy(python, root)
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin)
        if spec.submodule_search_locations is None:
            shutil.copy(source, root / "source")
        else:
            shutil.copytree(source.parent, root / "source" / name, ignore=ignored)
    for program in _PROGRAMS:
        shutil.copy(Path(__file__).with_name(program), root / "source")
    # Compile here once, not at each start of a slow machine.
    for place in (root / "source", root / str(library)[1:]):
        compileall.compile_dir(place, quiet=2)
    busybox = root / "bin/busybox"
    objects = [busybox, python, *library.glob("lib-dynload/*.so"), *(root / "source").rglob("*.so")]
    libraries = sorted({path for each in objects for path in _needed(each)})
    for path in libraries:
        _copy(Path(path), root)
    return python, sorted({str(Path(path).parent) for path in libraries})


def _module(kernel: Path, name: str) -> Path | None:
    """A module's file; None for what is built into the kernel."""
    return next(iter(kernel.glob(f"**/lib/modules/**/{name.replace('_', '[-_]')}.ko*")), None)


def _copy(path: Path, root: Path) -> None:
    """To the same place below the root."""
    place = root / str(path)[1:]
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, place)


def _needed(path: Path) -> list[str]:
    """The shared libraries of a program, their loader included."""
    listed = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listed)
