#!/usr/bin/env python3
"""Check this export using only Python 3.8 or newer:  python3 -I check.py

Every file and every record is hashed anew, and each log's chain is followed from record to record.
Before you trust the result, compare `sha256sum` of the archive that you were given with the digest
that you were told on another way: whoever could change the archive could change this program too.
Exit status: 0 complete and unchanged, 1 not, 2 not run as above.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONGEST = 65536  # bytes of a record's line, its LF included
here = Path(__file__).resolve().parent
problems: list[str] = []  # one sentence each
deleted: dict[
    tuple[str, int, str], tuple[int, str]
] = {}  # by retention, which recorded it: (log, seq, prev_hash) -> (last seq, last hash)
erased: set[str] = set()  # SHA-256 of the stubs of erased records, from the records of erasure


def sha256(name: str) -> str:
    digest = hashlib.sha256()
    with (here / name).open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def lines(name: str) -> Iterator[tuple[int, bytes]]:
    with (here / name).open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), 1):
            if not line.endswith(b"\n"):
                problems.append(f"{name} line {number}: it is longer than a record, or has no end")
                return
            yield number, line


def check_record(
    log: str, segment: str, number: int, line: bytes, end: tuple[int, str]
) -> tuple[int, str]:
    """Check a line; ``end`` has seq and hash of the record before it, the result its own."""
    (seq, head), place = end, f"{segment} line {number}"
    digest = hashlib.sha256(line[:-76]).hexdigest()
    stub = b'"event_type":"log.record_erased"' in line and hashlib.sha256(line).hexdigest()
    if stub in erased:  # a stub: the content was erased, hashes and number are those of the record
        digest = line[-67:-3].decode()
    elif line[-76:] != f',"hash":"{digest}"}}\n'.encode():
        problems.append(f"{place}: its hash is not of its content")
        return seq, head
    record = json.loads(line)
    while record["seq"] != seq + 1 and (log, seq + 1, head) in deleted:
        seq, head = deleted[log, seq + 1, head]
    if [record["log"], record["seq"], record["prev_hash"]] != [log, seq + 1, head]:
        problems.append(f"{place}: it does not follow record {seq}")
    day = re.search(r"\.(\d{4}-\d\d-\d\d)\.\d+\.ndjson$", segment)
    if day is None or record["@timestamp"][:10] != day[1]:
        problems.append(f"{place}: it is of another day than its file")
    if [log[:10], record["event_type"]] == ["retention@", "retention.segment_deleted"]:
        gone = record["details"]
        key = gone["log"], gone["first_seq"], gone["first_prev_hash"]
        if gone["last_seq"] >= gone["first_seq"]:  # else it would lead in a circle
            deleted[key] = gone["last_seq"], gone["last_hash"]
    if [log[:10], record["event_type"]] == ["retention@", "retention.record_erased"]:
        erased.add(record["details"]["stub_sha256"])
    return record["seq"], digest


def check_log(log: dict[str, Any], answers: set[bytes]) -> None:
    name, count, seq, head = log["log"], 0, log["first_seq"] - 1, log["first_prev_hash"]
    problems.extend(
        f"{name}: when it was exported: {finding['kind']}: {finding['detail']}"
        for finding in log["findings"]
    )
    for segment in log["segments"]:
        for number, line in lines(segment):
            found = len(problems)
            try:
                seq, head = check_record(name, segment, number, line, (seq, head))
            except (ValueError, KeyError, TypeError, RecursionError):
                problems.append(f"{segment} line {number}: it is not a record")
            count += len(problems) == found or "its hash" not in problems[-1]
            answers.discard(hashlib.sha256(line).digest())
            if len(problems) > 1000:
                problems.append(f"{segment}: there are too many problems; the rest is not read")
                return
    if [count, seq, head] != [log["records"], log["last_seq"], log["head_hash"]]:
        problems.append(f"{name}: it does not end where the manifest says")
    print(f"{name}: {count} records, {log['first_seq']} to {seq} ({log.get('begins', '')})")


def check_files(manifest: dict[str, Any]) -> None:
    listed = {file["name"]: (file["bytes"], file["sha256"]) for file in manifest["files"]}
    there = {
        path.relative_to(here).as_posix()
        for path in here.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    problems.extend(f"{name}: it is missing" for name in sorted(listed.keys() - there))
    strange = sorted(there - {*listed, "MANIFEST.json"})
    problems.extend(f"{name}: it does not belong here" for name in strange)
    for name in sorted(there & listed.keys()):
        place = here / name
        if place.is_symlink() or (place.stat().st_size, sha256(name)) != listed[name]:
            problems.append(f"{name}: it is not the file that was exported")


def check() -> None:
    manifest = json.loads((here / "MANIFEST.json").read_bytes())
    check_files(manifest)
    if problems:
        return
    answers: set[bytes] = set()
    if (here / "records.ndjson").exists():
        answers = {hashlib.sha256(line).digest() for _, line in lines("records.ndjson")}
    for log in manifest["logs"]:
        check_log(log, answers)
    if answers:
        problems.append(f"records.ndjson: {len(answers)} of its records are in no log")


if __name__ == "__main__":
    if not sys.flags.isolated:  # a file beside this one, or a variable, could replace a module
        print("Run it as: python3 -I check.py")
        sys.exit(2)
    try:
        check()
    except Exception as error:  # noqa: BLE001  (whatever is in it, the answer is a verdict)
        problems.append(f"MANIFEST.json cannot be understood, or a file not be read: {error!r}")
    print("\n".join(problems) or "ok: complete and unchanged")
    sys.exit(1 if problems else 0)
