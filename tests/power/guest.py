"""The first program of a virtual machine: has the guest program of each disk work on it.

All disks are worked on at once; with the word "look" on the kernel's command line, each is only
looked at, one after the other, since some of them may be copies of one.  What a guest program
prints goes to the serial console behind its disk's name: "vda READY".  UNMOUNTABLE and FAILED say
that a disk cannot be mounted and that its program ended with an error.

Guest programs are forked, so that this slow machine imports only once what they share.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import runpy
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

BUSYBOX = "/bin/busybox"
SHARED = {
    "writer": ("auditlog",),
    "agent": (
        *("auditlog", "auditctl.cli", "auditctl.commands.agent", "auditctl.agent.metrics_server"),
        *("retention.schedule", "shippers.sinks.sqlite.sink"),
    ),
}
FORGET_DEVICES = 0x50009405  # BTRFS_IOC_FORGET_DEV


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def mounted(name: str, filesystem: str) -> Path:
    place, device = Path("/disk", name), Path("/dev", name)
    place.mkdir()
    while not device.exists():
        time.sleep(0.05)
    command = [BUSYBOX, "mount", "-t", filesystem, str(device), str(place)]
    if subprocess.run(command, check=False).returncode:
        say(f"{name} UNMOUNTABLE")
    return place


def start(program: str, disk: Path, words: list[str]) -> tuple[int, int]:
    """Return the process and what is to be read of it."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        return child, reading
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    os.environ["DISK"] = str(disk)
    sys.argv[1:] = words
    try:
        runpy.run_path(f"/source/{program}_guest.py", run_name="__main__")
    except BaseException:  # noqa: BLE001  (the program is at its end)
        traceback.print_exc()
        say("FAILED")
    os._exit(0)


def repeat(name: str, reading: int) -> None:
    with open(reading, "rb") as lines:
        for line in lines:
            say(f"{name} {line.decode('utf-8', 'replace').rstrip()}")


def look(name: str, filesystem: str, program: str) -> None:
    disk = mounted(name, filesystem)
    child, reading = start(program, disk, ["look"])
    repeat(name, reading)
    os.waitpid(child, 0)
    subprocess.run([BUSYBOX, "umount", str(disk)], check=True)
    if filesystem == "btrfs":  # which remembers it, and takes its copy for the same one
        with Path("/dev/btrfs-control").open("rb") as control:
            fcntl.ioctl(control, FORGET_DEVICES, bytearray(4096))


def work(disks: list[tuple[str, str, str]]) -> None:
    started = [
        (name, start(program, mounted(name, filesystem), [])[1])
        for name, filesystem, program in disks
    ]
    threads = [threading.Thread(target=repeat, args=each) for each in started]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    say("BOOTED")
    words = Path("/proc/cmdline").read_text().split()
    [described] = [word.removeprefix("disks=") for word in words if word.startswith("disks=")]
    disks = []
    for number, each in enumerate(described.split(",")):
        filesystem, program = each.split(":")
        disks.append((f"vd{chr(ord('a') + number)}", filesystem, program))
    for module in {each for *_, program in disks for each in SHARED[program]}:
        importlib.import_module(module)
    if "look" in words:
        for disk in disks:
            look(*disk)
    else:
        work(disks)


if __name__ == "__main__":
    main()
