#!/usr/bin/env python3
"""Check this export with nothing but Python 3.8 or newer:  python3 check.py

Every file and every record is hashed anew, and each log's chain is followed from record to record.
What this relies on is MANIFEST.json, whose own SHA-256 comes last: compare it with the one that
you were told by whoever made the export, on another way than the export itself.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
deleted: dict[tuple[str, int, str], tuple[int, str]] = {}  # by retention, which put it on record


def sha256(name: str) -> str:
    digest = hashlib.sha256()
    with (here / name).open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def check_log(log: dict, asked: set[bytes]) -> None:  # type: ignore[type-arg]  # JSON, and short
    name, count, seq, head = log["log"], 0, log["first_seq"] - 1, log["first_prev_hash"]
    for segment in log["segments"]:
        with (here / segment).open("rb") as file:
            for number, line in enumerate(file, 1):
                digest = hashlib.sha256(line[:-76]).hexdigest()
                if line[-76:] != f',"hash":"{digest}"}}\n'.encode():
                    problems.append(f"{segment} line {number}: its hash is not of its content")
                    continue
                record = json.loads(line)
                while record["seq"] != seq + 1 and (name, seq + 1, head) in deleted:
                    seq, head = deleted[name, seq + 1, head]
                if [record["log"], record["seq"], record["prev_hash"]] != [name, seq + 1, head]:
                    problems.append(f"{segment} line {number}: it does not follow record {seq}")
                count, seq, head = count + 1, record["seq"], digest
                asked.discard(line)
                if [name[:10], record["event_type"]] == ["retention@", "retention.segment_deleted"]:
                    gone = record["details"]
                    key = gone["log"], gone["first_seq"], gone["first_prev_hash"]
                    deleted[key] = gone["last_seq"], gone["last_hash"]
    if [count, seq, head] != [log["records"], log["last_seq"], log["head_hash"]]:
        problems.append(f"{name}: it does not end where the manifest says")
    print(f"{name}: {count} records, {log['first_seq']} to {seq}, head {head[:16]}")


manifest = json.loads((here / "MANIFEST.json").read_bytes())
listed = {file["name"]: (file["bytes"], file["sha256"]) for file in manifest["files"]}
there = {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()}
problems = [f"{n}: it is missing" for n in sorted(listed.keys() - there)]
problems += [f"{n}: it does not belong here" for n in sorted(there - {*listed, "MANIFEST.json"})]
for name in sorted(there & listed.keys()):
    if ((here / name).stat().st_size, sha256(name)) != listed[name]:
        problems.append(f"{name}: it is not the file that was exported")
if not problems:
    found = here / "records.ndjson"
    asked = set(found.read_bytes().splitlines(keepends=True)) if found.exists() else set()
    for log in manifest["logs"]:
        check_log(log, asked)
    if asked:
        problems.append(f"records.ndjson: {len(asked)} of its records are in no log")
print("\n".join(problems) or "ok: complete and unchanged")
print(f"SHA-256 of MANIFEST.json: {sha256('MANIFEST.json')}")
sys.exit(1 if problems else 0)
