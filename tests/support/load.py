"""Services under load as processes, and what an index has to hold after them.

services = Services(directory, ("queen-rbee@hive1", …), count=50_000, rate=800, bad=5)
services.start(); services.join()             what each was promised is then in ``acknowledged``
accounted = account(directory)                every record there is, in files or in tombstones
indexed = fetch_hashes(cluster, "prefix-*")   every document there is, twice never
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import auditlog
from auditlog.format.record import parse_header
from auditlog.format.tombstones import parse_tombstone
from tests.support.elasticsearch import Cluster, request
from tests.support.unmeasured import unmeasured

__all__ = ["Accounted", "Services", "Stored", "account", "fetch_hashes"]

ROOT = Path(__file__).parents[2]
Key = tuple[str, int]


class Stored(NamedTuple):
    """The chain members of a document."""

    prev_hash: str
    hash: str


@dataclass
class Services:
    """One process for each log; see tests.chaos.traffic for what they do."""

    directory: Path
    logs: tuple[str, ...]
    count: int
    rate: float
    bad: int = 0
    segment_bytes: int = 1 << 20
    acknowledged: dict[Key, str] = field(default_factory=dict)
    planted: set[Key] = field(default_factory=set)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def _notes(self, log: str) -> Path:
        return self.directory.parent / f"{log}.acknowledged"

    def start(self) -> None:
        for log in self.logs:
            command = [sys.executable, "-m", "tests.chaos.traffic", str(self.directory), log]
            command += [f"--count={self.count}", f"--bad={self.bad}", f"--rate={self.rate}"]
            command += [f"--segment-bytes={self.segment_bytes}"]
            with self._notes(log).open("wb") as notes:
                self._running[log] = subprocess.Popen(
                    command, stdout=notes, cwd=ROOT, env=unmeasured()
                )

    def running(self) -> bool:
        return any(process.poll() is None for process in self._running.values())

    def failed(self) -> bool:
        return any(process.poll() for process in self._running.values())

    def join(self, seconds: float) -> None:
        """Wait for all; each has to have ended well and to have been promised everything."""
        for log, process in self._running.items():
            assert process.wait(seconds) == 0, f"{log} ended badly"
            for line in self._notes(log).read_text().splitlines():
                seq, digest, *bad = line.split()
                self.acknowledged[log, int(seq)] = digest
                if bad:
                    self.planted.add((log, int(seq)))
        assert len(self.acknowledged) == self.count * len(self.logs)
        assert len(self.planted) == self.bad * len(self.logs)

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Accounted:
    """Every record of the logs: those in files with their hashes, those deleted by number."""

    in_files: dict[Key, str]
    deleted: set[Key]

    @property
    def keys(self) -> set[Key]:
        return self.in_files.keys() | self.deleted


def account(directory: Path) -> Accounted:
    in_files: dict[Key, str] = {}
    deleted: set[Key] = set()
    for record in auditlog.read(directory, log_events=True):
        in_files[record.log, record.seq] = record.hash
        header = parse_header(record.line)
        if header is not None and (tombstone := parse_tombstone(header, record.line)) is not None:
            numbers = range(tombstone.first_seq, tombstone.last_seq + 1)
            deleted.update((tombstone.log, seq) for seq in numbers)
    return Accounted(in_files, deleted)


def fetch_hashes(cluster: Cluster, pattern: str) -> dict[Key, Stored]:
    """By log and number; fails when two documents have the same."""
    request(cluster.url, "POST", f"/{pattern}/_refresh")
    found: dict[Key, Stored] = {}
    query: dict[str, Any] = {
        "size": 10_000,
        "sort": [{"log": "asc"}, {"seq": "asc"}],
        "_source": ["log", "seq", "prev_hash", "hash"],
    }
    while True:
        status, answer = request(
            cluster.url, "POST", f"/{pattern}/_search?filter_path=hits.hits", query
        )
        assert status == 200, answer
        hits = answer.get("hits", {}).get("hits", [])
        if not hits:
            return found
        for hit in hits:
            source = hit["_source"]
            key = source["log"], source["seq"]
            assert hit["_id"] == f"{key[0]}:{key[1]}"
            assert key not in found, f"{hit['_id']} is there twice"
            found[key] = Stored(source["prev_hash"], source["hash"])
        query["search_after"] = hits[-1]["sort"]
