#!/usr/bin/env python3
"""Check this export using only Python 3.9 or newer:  python3 -I check.py [--policy FILE]

Every file and every record is hashed anew, and each log's chain is followed from record to record.
With a trust policy that you wrote (c2sp.org/tlog-policy), each log is compared with checkpoints
that witnesses cosigned, too; check_record.py, beside this file, knows signatures and policies.
Before you trust the result, compare `sha256sum` of the archive that you were given with the digest
that you were told on another way: whoever could change the archive could change this program too.
Exit status: 0 complete and unchanged, 1 not, 2 not run as above.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

LONGEST = 65536  # bytes of a record's line, its LF included
MOST = 1000  # problems that are told, and checkpoints of a log
MOST_VALUES = 2_000_000  # of MANIFEST.json, whose values take more memory than its bytes
End = tuple[int, str]  # seq and hash of a record
here = Path(__file__).resolve().parent
problems: list[str] = []  # one sentence each
deleted: dict[tuple[str, int, str], End] = {}  # by retention: (log, seq, prev_hash) -> last record
fleet: set[str | None] = set()  # hosts that may delete from logs of all hosts; None: every host
deleters: dict[str, bool] = {}  # by host whose deletions are believed: whether of other hosts' logs
erased: set[str] = set()  # SHA-256 of the stubs of erased records, from the records of erasure


class TooManyProblems(Exception):
    """There is no end of them: the rest is not read."""


class UnusablePolicy(Exception):
    """It cannot be read, or is none."""


def problem(text: str) -> None:
    problems.append(text[:500])
    if len(problems) > MOST:
        raise TooManyProblems


def say(text: str) -> None:
    """Print a line; what is not printable may come from whoever made the export."""
    print("".join(c if c.isprintable() else "?" for c in text))


def content(name: str, most: int) -> bytes:
    place = here / name
    if place.is_symlink() or not place.is_file() or place.stat().st_size > most:
        raise ValueError(f"{name} is not there, or longer than {most} bytes")
    with place.open("rb") as file:
        return file.read(most)


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
                problem(f"{name} line {number}: it is longer than a record, or has no end")
                return
            yield number, line


class LogTree:
    """The RFC 6962 tree of a log: its largest complete subtrees, and its root at some sizes."""

    def __init__(self, stand_ins: list[Any], sizes: set[int]) -> None:
        self.size, self.nodes, self.roots = 0, list[tuple[int, bytes]](), dict[int, bytes]()
        self.sizes = sizes
        self.stand_ins = {each["first_seq"] - 1: each for each in stand_ins}

    def add(self, height: int, node: bytes) -> None:
        self.size += 1 << height
        while self.nodes and self.nodes[-1][0] == height and not self.size >> height & 1:
            node = hashlib.sha256(b"\1" + self.nodes.pop()[1] + node).digest()
            height += 1
        self.nodes.append((height, node))
        if self.size in self.sizes:
            root = self.nodes[-1][1]
            for _, left in self.nodes[-2::-1]:
                root = hashlib.sha256(b"\1" + left + root).digest()
            self.roots[self.size] = root

    def stand_in(self) -> None:
        """Add the hashes that stand in for records that are not here."""
        while self.size in self.stand_ins:
            given = self.stand_ins.pop(self.size)
            start, end, heights = self.size, given["last_seq"], list[int]()
            while start < end:  # the largest complete subtrees of this range
                lowest = (start & -start).bit_length() - 1 if start else end.bit_length()
                heights.append(min((end - start).bit_length() - 1, lowest))
                start += 1 << heights[-1]
            if len(heights) == len(given["hashes"]):
                for height, node in zip(heights, given["hashes"]):  # noqa: B905  (Python 3.9)
                    self.add(height, bytes.fromhex(node))

    def line(self, seq: int, leaf: bytes) -> None:
        self.stand_in()
        if self.size == seq - 1:
            self.add(0, leaf)


def may_delete(retention_log: str, log: object) -> bool:
    """Whether a deletion on record is believed: by the log's host, or by one of the manifest's."""
    writer, owner = (str(name).partition("@")[2].partition("+")[0] for name in (retention_log, log))
    if not owner or not (writer == owner or fleet & {writer, None}):
        return False
    deleters[writer] = deleters.get(writer, False) or writer != owner
    return True


def check_record(log: str, place: str, line: bytes, end: End, tree: LogTree) -> End:
    """Check a line; ``end`` has seq and hash of the record before it, the result its own."""
    seq, head = end
    digest = hashlib.sha256(line[:-76]).hexdigest()
    stub = b'"event_type":"log.record_erased"' in line and hashlib.sha256(line).hexdigest()
    leaf = hashlib.sha256(b"\0" + line[:-1]).digest()
    if stub in erased:  # the content was erased; hashes, number and leaf are those of the record
        digest, leaf = line[-67:-3].decode(), urlsafe_b64decode(json.loads(line)["leaf"] + "=")
    elif line[-76:] != f',"hash":"{digest}"}}\n'.encode():
        problem(f"{place}: its hash is not of its content")
        return seq, head
    record = json.loads(line)
    while record["seq"] != seq + 1 and (log, seq + 1, head) in deleted:
        seq, head = deleted[log, seq + 1, head]
    if [record["log"], record["seq"], record["prev_hash"]] != [log, seq + 1, head]:
        problem(f"{place}: it does not follow record {seq}")
    day = re.search(r"\.(\d{4}-\d\d-\d\d)\.\d+\.ndjson line \d+$", place)
    if day is None or record["@timestamp"][:10] != day[1]:
        problem(f"{place}: it is of another day than its file")
    if [log[:10], record["event_type"]] == ["retention@", "retention.segment_deleted"]:
        gone = record["details"]
        key = gone["log"], gone["first_seq"], gone["first_prev_hash"]
        if not may_delete(log, gone["log"]):
            problem(f"{place}: MANIFEST.json lets its host delete no part of {gone['log']}")
        elif gone["last_seq"] >= gone["first_seq"]:  # else it would lead in a circle
            deleted[key] = gone["last_seq"], gone["last_hash"]
    is_erasure = [log[:10], record["event_type"]] == ["retention@", "retention.record_erased"]
    if is_erasure and may_delete(log, record["details"]["log"]):
        erased.add(record["details"]["stub_sha256"])
    if tree.sizes:
        tree.line(record["seq"], leaf)
    return record["seq"], digest


def check_log(log: dict[str, Any], tree: LogTree) -> int:
    """Check a log's records; return how many of them records.ndjson has."""
    name, count, seq, head = log["log"], 0, log["first_seq"] - 1, log["first_prev_hash"]
    for finding in log["findings"]:
        problem(f"{name}: when it was exported: {finding['kind']}: {finding['detail']}")
    start, answered = f'{{"v":1,"log":"{name}",'.encode(), 0
    asked: Iterator[bytes] = iter(())
    if (here / "records.ndjson").exists():  # in each log's order; so one of them at a time is held
        asked = (line for _, line in lines("records.ndjson") if line.startswith(start))
    wanted = next(asked, None)
    for segment in log["segments"]:
        for number, line in lines(segment):
            found, place = len(problems), f"{segment} line {number}"
            try:
                seq, head = check_record(name, place, line, (seq, head), tree)
            except (ValueError, KeyError, TypeError, RecursionError):
                problem(f"{place}: it is not a record")
            count += len(problems) == found or "its hash" not in problems[-1]
            if line == wanted:
                answered, wanted = answered + 1, next(asked, None)
    tree.stand_in()
    if [count, seq, head] != [log["records"], log["last_seq"], log["head_hash"]]:
        problem(f"{name}: it does not end where the manifest says")
    say(f"{name}: {count} records, {log['first_seq']} to {seq} ({log.get('begins', '')})")
    return answered


def check_files(manifest: dict[str, Any]) -> None:
    listed = {file["name"]: (file["bytes"], file["sha256"]) for file in manifest["files"]}
    there = {
        path.relative_to(here).as_posix()
        for path in here.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    for name in sorted(listed.keys() - there):
        problem(f"{name}: it is missing")
    for name in sorted(there - {*listed, "MANIFEST.json", "MANIFEST.sha256"}):
        problem(f"{name}: it does not belong here")
    for name in sorted(there & listed.keys()):
        place, (size, digest) = here / name, listed[name]
        plain = place.is_file() and not place.is_symlink() and place.stat().st_size == size
        if not plain or sha256(name) != digest:
            problem(f"{name}: it is not the file that was exported")


def log_of(origin: str) -> tuple[str, int]:
    """Return the log and the epoch of a checkpoint's first line: <prefix>/<log>[~e<epoch>]."""
    rest, _, epoch = origin.partition("~e")
    head, _, host = rest.rpartition("@")
    number = int(epoch) if re.fullmatch(r"[0-9]{1,6}", epoch) else 1
    return f"{head.rpartition('/')[2]}@{host.replace('/', '+')}", number


def heads_of(log: dict[str, Any], origin: str, beside: ModuleType, policy: Any) -> list[Any]:
    """Return the checkpoints of the log that a key of the policy for ``origin`` signed."""
    heads = []
    for name in log.get("checkpoints", [])[:MOST]:
        note = content(name, 1 << 16)
        if note.startswith(f"{origin}\n".encode()):  # others are of an epoch that was ended
            try:
                heads.append(beside.head_of(note, policy))
            except beside.RevokedAlone:
                continue  # whoever has the key can make such; later ones cover the log
            except ValueError as error:
                problem(f"{name}: {error}")
    return heads


def compare(
    log: dict[str, Any], tree: LogTree, heads: list[Any], beside: ModuleType, until: object
) -> None:
    """Compare what was read of a log with its checkpoints."""
    name, first, last = log["log"], log["first_seq"], log["last_seq"]
    proven = []
    for head in sorted(heads, key=lambda each: int(each.size)):
        by = f" (cosigned by {', '.join(sorted(head.seen))})" if head.seen else ""
        if head.size > last and until is None:
            problem(f"{name}: it ends at record {last}, and {head.size} records were signed{by}")
        elif head.size not in tree.roots:
            missing = "hashes of records that are not here are missing"
            problem(f"{name}: what was signed at {head.size} records{by} has no root: {missing}")
        elif tree.roots[head.size] != head.root:
            problem(f"{name}: it is not what it was when {head.size} records were signed{by}")
        elif head.has_quorum and head.size >= first:
            proven.append((head.size, max(head.seen.values(), default=0), head))
    if not proven:
        some = ", ".join(sorted({who for head in heads for who in head.seen})) or "nobody"
        problem(f"{name}: no quorum cosigned a checkpoint of records that are here; only {some}")
        return
    size, at, head = max(proven, key=lambda each: each[:2])
    by = f"at {beside.when(at)} by {', '.join(sorted(head.seen))}" if at else "by the log alone"
    through = f"{'witnessed' if at else 'signed'} through seq {min(size, last)} {by}"
    say(f"{name}: {through}; {max(last - size, 0)} records after that are only chained")


def read_manifest() -> Any:
    data = content("MANIFEST.json", 64 << 20)
    digest = f"{hashlib.sha256(data).hexdigest()}  MANIFEST.json\n"
    if content("MANIFEST.sha256", 200) != digest.encode():
        problem("MANIFEST.json: it is not the file that was exported")
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError("it has more in it than any export has")
    return json.loads(data)


def check(policy_path: str) -> None:
    manifest = read_manifest()
    check_files(manifest)
    if problems:
        return
    beside, policy, named = ModuleType("check_record"), None, dict[str, tuple[int, str]]()
    asked, logs = manifest["asked"], {log["log"]: log for log in manifest["logs"]}
    fleet.update([None] if (hosts := manifest.get("retention_hosts")) is None else hosts)
    if policy_path:  # what is run are the bytes that were compared with the manifest
        exec(content("check_record.py", 1 << 20), beside.__dict__)  # noqa: S102  (see above)
        try:
            policy = beside.policy_of(beside.content(policy_path))
        except (ValueError, OSError) as error:
            raise UnusablePolicy(error) from error
        for origin in policy.logs:
            log, epoch = log_of(origin)
            named[log] = max(named.get(log, (0, "")), (epoch, origin))
    answered = 0
    for name, log in logs.items():
        heads = heads_of(log, named[name][1], beside, policy) if name in named else []
        tree = LogTree(log.get("subtrees", []), {head.size for head in heads})
        answered += check_log(log, tree)
        if name in named:
            compare(log, tree, heads, beside, asked["until"])
        elif policy is not None:
            say(f"{name}: the policy does not name it; it is only chained")
        elif log.get("checkpoints"):
            say(f"{name}: checkpoints of it are here, not compared; --policy FILE compares them")
    if (here / "records.ndjson").exists():
        lost = sum(1 for _ in lines("records.ndjson")) - answered
        if lost:
            problem(f"records.ndjson: {lost} of its records are in no log")
    for host, is_foreign in sorted(deleters.items()):
        also = ", in logs of other hosts too: MANIFEST.json, which nothing signs, allows it"
        say(f"deletions and erasures on record by {host} are believed{also if is_foreign else ''}")
    if policy is not None:
        check_named(policy, named, logs.keys(), asked)


def check_named(policy: Any, named: dict[str, tuple[int, str]], here_are: Any, asked: Any) -> None:
    """Report logs that the policy names and that are not here, though they were asked for."""
    publics = {log: {key.public for key in policy.logs[named[log][1]]} for log in named}
    keys = {public for log in here_are & named.keys() for public in publics[log]}
    if not keys:
        problem("the policy names no log that is here: nothing was compared with checkpoints")
    for log in sorted(named.keys() - here_are):
        whole = asked["since"] is None and asked["until"] is None
        if publics[log] & keys:  # of the same host
            if whole and fnmatchcase(log, asked["logs"]):
                problem(f"{log}: the policy names it, and no record of it is here")
            else:
                say(f"{log}: the policy names it; it is not in this export")


def main(arguments: list[str]) -> int:
    if arguments and (len(arguments) != 2 or arguments[0] != "--policy"):
        print("Run it as: python3 -I check.py [--policy FILE]")
        return 2
    try:
        check("".join(arguments[1:]))
    except UnusablePolicy as error:
        say(f"The policy cannot be used: {error}")
        return 2
    except TooManyProblems:
        problems.append("there are too many problems; the rest is not read")
    except Exception as error:  # noqa: BLE001  (whatever is in it, the answer is a verdict)
        problems.append(
            f"MANIFEST.json cannot be understood, or a file not be read: {error!r:.500}"
        )
    for each in problems or ["ok: complete and unchanged"]:
        say(each)
    return 1 if problems else 0


if __name__ == "__main__":
    if not sys.flags.isolated:  # a file beside this one, or a variable, could replace a module
        print("Run it as: python3 -I check.py")
        sys.exit(2)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text stream
    sys.exit(main(sys.argv[1:]))
