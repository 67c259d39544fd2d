"""The first program of a virtual machine: has the guest program of each disk work on it.

It imports what the guest programs share, says WAITING, and waits for disks.  That is the moment at
which the machine's memory is saved: no disk is attached, so no boot that goes on from there knows
anything of one but what it reads itself.  The first disk holds the orders of the boot: the time,
random bytes, and the file system and the guest program of each other disk.

All disks are worked on at once; if the orders say "look", each is only looked at, one after the
other, since some of them may be copies of one.  What a guest program prints goes to the serial
console behind its disk's name: "vdb READY".  UNMOUNTABLE and FAILED say that a disk cannot be
mounted and that its program ended with an error.

Guest programs are forked, so that this slow machine imports only once what they share.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import random
import runpy
import struct
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

BUSYBOX = "/bin/busybox"
SHARED = (
    *("auditlog.writer.opening", "auditlog.reading.follow", "auditlog.reading.selection"),
    *("auditlog.evidence.service", "auditctl.cli", "auditctl.commands.agent"),
    *("auditctl.main", "auditctl.commands.evidence", "auditctl.agent.metrics_server"),
    *("retention.schedule", "shippers.sinks.sqlite.sink", "cryptography.x509.verification"),
)
ORDERS = Path("/dev/vda")
ORDERS_BYTES = 4096
FORGET_DEVICES = 0x50009405  # BTRFS_IOC_FORGET_DEV
ADD_ENTROPY = 0x40085203  # RNDADDENTROPY
RESEED = 0x5207  # RNDRESEEDCRNG


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def wait_for_orders() -> Any:
    """Return what the first disk says, as soon as the machine has one."""
    while not ORDERS.exists():
        Path("/sys/bus/pci/rescan").write_text("1")
        time.sleep(0.05)
    with ORDERS.open("rb") as disk:
        return json.loads(disk.read(ORDERS_BYTES).rstrip(b"\0"))


def start_randomness_anew(entropy: bytes) -> None:
    """Mix in bytes of the host: every boot from a saved memory would draw the same numbers."""
    added = struct.pack("ii", 8 * len(entropy), len(entropy)) + entropy
    with Path("/dev/urandom").open("wb") as device:
        fcntl.ioctl(device, ADD_ENTROPY, added)
        fcntl.ioctl(device, RESEED)
    random.seed()


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
    for module in SHARED:
        importlib.import_module(module)
    say("WAITING")
    orders = wait_for_orders()
    time.clock_settime(time.CLOCK_REALTIME, orders["clock_at"])
    start_randomness_anew(bytes.fromhex(orders["entropy"]))
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    say(f"RANDOM {boot_id} {os.urandom(16).hex()} {random.getrandbits(128):032x}")
    say("BOOTED")
    disks = []
    for number, each in enumerate(orders["disks"], 1):
        filesystem, program = each.split(":")
        disks.append((f"vd{chr(ord('a') + number)}", filesystem, program))
    if orders["look"]:
        for disk in disks:
            look(*disk)
    else:
        work(disks)


if __name__ == "__main__":
    main()
