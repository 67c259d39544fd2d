"""Guest program that says what its log holds, then writes until the power is cut.

Prints to the serial console FOUND seq hash for each record, VERIFIED or DAMAGED, READY, and then
ACK seq hash for each record whose durability was acknowledged.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import time
from pathlib import Path

import auditlog

DISK = Path(os.environ["DISK"])
DIRECTORY = DISK / "audit"
WRITERS = 32
PAD = "x" * 600


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def write(log: auditlog.Log, number: int) -> None:
    while True:
        ticket = log.emit("pool.drained", details={"writer": number, "pad": PAD})
        say(f"ACK {ticket.seq} {ticket.hash}")


def scribble() -> None:
    """Write past the page cache without ever flushing, so that the disk has something to forget."""
    block = mmap.mmap(-1, 4096)
    fd = os.open(DISK / "noise", os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
    while True:
        for number in range(64):
            os.pwritev(fd, [block], number * 4096)
            time.sleep(0.005)  # the processor is for the writers


def main(only_look: bool) -> None:
    log = auditlog.open(
        DIRECTORY, service="queen-rbee", host="vm", block_timeout=600, max_segment_bytes=1 << 18
    )
    for record in auditlog.read(DIRECTORY):
        say(f"FOUND {record.seq} {record.hash}")
    report = auditlog.verify(DIRECTORY)
    say("VERIFIED" if report.ok else f"DAMAGED {report.findings}")
    if not only_look:
        os.nice(10)  # an agent beside it has more to do
        say("READY")
        for number in range(WRITERS):
            threading.Thread(target=write, args=(log, number)).start()
        threading.Thread(target=scribble).start()
        threading.Event().wait()
    log.close()
    say("DONE")


if __name__ == "__main__":
    main(sys.argv[1:] == ["look"])
