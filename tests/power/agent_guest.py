"""Guest program with an agent: says what is on the disk, then writes and ships.

A writer fills small segments.  A real ``auditctl agent`` ships them into a SQLite file, signs
checkpoints, compresses segments after a second and deletes what is compressed and shipped as soon
as it may: by size, since an age of seconds would look like a clock that jumped after each cut.  A
second directory has lines that are no records, which go to quarantine.

Prints to the serial console, of what it finds: FOUND seq hash for each record of the writer, in the
files or, where a tombstone accounts for it, in the sink; SIGNED log size root; ENTRY offset for
what is in quarantine; COUNTS; VERIFIED, or DAMAGED and what is wrong.  Then READY, once the agent
has shipped what was found, and ACK seq hash for each acknowledged record.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import zstandard

import auditlog
from auditctl.main import main as run_auditctl
from auditlog.cursors import Cursor, CursorStore
from auditlog.evidence.checkpoint_file import read_checkpoints
from auditlog.evidence.note import encode_base64
from auditlog.evidence.proof_state import ProofState
from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import tombstones_in
from shippers.quarantine.store import read_entries

DISK = Path(os.environ.get("DISK", "/disk"))
AUDIT, BROKEN, STATE, INDEX = (DISK / n for n in ("audit", "broken", "state", "index.sqlite"))
SETTINGS = DISK / "config.toml"
CONFIG = f"""
directories = ["{AUDIT}", "{BROKEN}"]
state_dir = "{STATE}"
host = "vm"
metrics = ""
[sinks.main]
kind = "sqlite"
path = "{INDEX}"
[retention]
compress_after = "1s"
max_total_bytes = 80_000
every = "1s"
max_delete_fraction = 1.0
[evidence]
checkpoint_every = "1s"
"""
LOG = "queen-rbee@vm"
PAD = "x" * 6000
SEGMENT_BYTES = 66_000  # little more than the least


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def open_log() -> auditlog.Log:
    return auditlog.open(
        AUDIT, service="queen-rbee", host="vm", block_timeout=600, max_segment_bytes=SEGMENT_BYTES
    )


# Files on the disk -------------------------------------------------------------------------------


def look() -> int:
    """Say it; returns the number of the log's last record."""
    for trouble in (*beyond_the_sink(), *unequal_forms(), *quarantine(), *contradicted()):
        say(f"DAMAGED {trouble}")
    open_log().close()
    report = auditlog.verify(AUDIT)
    say("VERIFIED" if report.ok else f"DAMAGED {[log.findings for log in report.logs]}")
    found = {}
    for record in auditlog.read(AUDIT, log_events=True):
        if record.log == LOG:
            found[record.seq] = record.hash
            say(f"FOUND {record.seq} {record.hash}")
    tombstones = [each for each in tombstones_in(scan(AUDIT).logs) if each.log == LOG]
    for seq, digest in rows(max((each.last_seq for each in tombstones), default=0)):
        if found.get(seq) != digest:
            say(f"FOUND {seq} {digest}")
    names = [path.name for path in AUDIT.iterdir()]
    compressed = sum(name.endswith(".zst") for name in names)
    say(f"COUNTS tombstones={len(tombstones)} compressed={compressed} shipped={len(rows(1 << 62))}")
    return max(found, default=0)


def rows(through: int, log: str = LOG) -> list[tuple[int, str]]:
    """Number and hash of what the sink has of a log, up to a record."""
    if not INDEX.exists():
        return []
    connection = sqlite3.connect(INDEX)
    try:
        asked = "SELECT seq, hash FROM records WHERE log = ? AND seq <= ? ORDER BY seq"
        return connection.execute(asked, (log, through)).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # it was cut before the first commit
            return []
        raise
    finally:
        connection.close()


def cursors() -> Iterator[Cursor]:
    store = CursorStore(STATE)
    for log in store.logs("main"):
        if (cursor := store.load("main", log)) is not None:
            yield cursor


def beyond_the_sink() -> Iterator[str]:
    for cursor in cursors():
        if not cursor.log.startswith("broken"):
            held = rows(cursor.seq, cursor.log)
            if len(held) != cursor.seq or held[-1] != (cursor.seq, cursor.hash):
                yield f"cursor of {cursor.log} is at {cursor.seq}, the sink has {len(held)}"


def unequal_forms() -> Iterator[str]:
    """Where both forms of a segment are there, the compressed one is the plain one."""
    for segment in (each for segments in scan(AUDIT).logs.values() for each in segments):
        if len(segment.forms) > 1:
            with zstandard.open(segment.form_path(".zst")) as compressed:
                if compressed.read() != segment.form_path("").read_bytes():
                    yield f"the forms of {segment.name} differ"


def quarantine() -> Iterator[str]:
    """Every line before the cursor is in quarantine, whole."""
    entries = list(read_entries(STATE / "quarantine/main.ndjson"))
    for each in entries:
        say(f"ENTRY {each.fields['kind']} {each.place}")
    lines = ((e.fields["segment"], e.fields["offset"], e.line) for e in entries)
    kept = {(segment, offset): line for segment, offset, line in lines if line is not None}
    for cursor in cursors():
        for path in sorted(BROKEN.glob("broken@vm.*.ndjson")):
            offset = 0
            if cursor.segment == path.name and cursor.offset > path.stat().st_size:
                yield f"cursor at {cursor.offset} of {path.name}, which is shorter"
            for line in path.read_bytes().splitlines(keepends=True):
                passed = (path.name, offset) < (cursor.segment, cursor.offset)
                if cursor.log == "broken@vm" and passed and kept.get((path.name, offset)) != line:
                    yield f"quarantine lacks {path.name} at {offset}"
                offset += len(line)


def contradicted() -> Iterator[str]:
    state = ProofState(STATE, machine="")
    for log in state.logs():
        if reason := state.stopped(log):
            yield f"signing of {log} has stopped: {reason}"
        for signed in read_checkpoints(state.directory(log) / "checkpoints")[0]:
            point = signed.checkpoint
            say(f"SIGNED {log}:{point.size} {encode_base64(point.root)}")


# Work of the guest -------------------------------------------------------------------------------


def start_agent() -> tuple[int, int]:
    """Return the process and the reading end of what it says."""
    if not (STATE / "evidence.key").exists():
        process, said = auditctl("evidence", "init")
        os.close(said)
        os.waitpid(process, 0)
    return auditctl("agent")


def repeat(process: int, said: int) -> None:
    """Repeat what the agent says; if it ends, that is said."""
    with open(said, errors="replace") as lines:
        for line in lines:
            say(f"AGENT {line.rstrip()}")
    _, status = os.waitpid(process, 0)
    say(f"DAMAGED the agent ended with {os.waitstatus_to_exitcode(status)}")


def auditctl(*arguments: str) -> tuple[int, int]:
    """Fork, since an emulated processor takes long to import a program again."""
    reading, writing = os.pipe()
    if process := os.fork():
        os.close(writing)
        return process, reading
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(writing, 2)
    code = 70
    try:
        code = run_auditctl([*arguments, "--config", str(SETTINGS)])
    finally:
        os._exit(code)


def write(log: auditlog.Log) -> None:
    while True:
        ticket = log.emit("pool.drained", details={"pad": PAD})
        say(f"ACK {ticket.seq} {ticket.hash}")
        time.sleep(0.2)  # the processor is for the agent


def write_what_is_no_record() -> None:
    day = dt.datetime.now(dt.UTC).date()
    number = 0
    with (BROKEN / f"broken@vm.{day}.0001.ndjson").open("ab", buffering=0) as file:
        while True:
            number += 1
            name = hashlib.sha256(f"{number}".encode()).hexdigest()
            file.write(f'{{"no": "record", "name": "{name}"}}\n'.encode())
            time.sleep(0.5)


def main(only_look: bool) -> None:
    for directory in (AUDIT, BROKEN, STATE):
        directory.mkdir(mode=0o700, exist_ok=True)
    SETTINGS.write_text(CONFIG)
    last = look()
    if only_look:
        say("DONE")
        return
    agent = start_agent()  # before there is any thread, which a fork would not take along
    threading.Thread(target=repeat, args=agent).start()
    log = open_log()
    while not any(each.log == LOG and each.seq >= last for each in cursors()):
        time.sleep(0.1)
    say("READY")
    threading.Thread(target=write_what_is_no_record).start()
    write(log)


if __name__ == "__main__":
    main(sys.argv[1:] == ["look"])
