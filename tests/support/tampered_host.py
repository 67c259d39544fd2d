"""A host whose logs are shipped, retained, held and witnessed, to be copied and tampered with.

``build`` makes it once; ``copy_to`` gives each test its own.  The methods are the tools of somebody
who may write everywhere on the host; ``detect`` asks everything that could notice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import io
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import zstandard

import auditlog
from auditctl.config.model import load
from auditctl.main import main
from auditlog.cursors import CursorStore
from auditlog.evidence.note import Key
from auditlog.format.record import parse_header
from auditlog.verification.continuous import ContinuousVerification
from retention.policy import RetentionPolicy
from retention.service import run_retention
from tests.support.host_places import HostPlaces
from tests.support.logs import make_line, write_log
from tests.support.signed_host import unpack
from tests.support.witnesses import our_witness

__all__ = ["HIVE", "QUEEN", "RETENTION", "TamperedHost", "build", "resealed"]

QUEEN, HIVE, RETENTION = "queen-rbee@hive1", "rbee-hive@hive1", "retention@hive1"
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TamperedHost(HostPlaces):
    """``place`` has the directory of the logs, the state, the sink and the trust policy.

    ``stack`` is closed when the test is over.
    """

    place: Path
    stack: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    def copy_to(self, place: Path) -> TamperedHost:
        shutil.copytree(self.place, place, symlinks=True)
        for path in (place / "config.toml", *(place / "state").glob("*.json")):
            path.write_text(path.read_text().replace(str(self.place), str(place)))
        return TamperedHost(place)

    def have_a_witness_of_its_own(self) -> Path:
        """Submit to a witness with the memory that the common one has; return its state."""
        keys = [Key.parse(line) for line in (self.place / "witness/logs").read_text().splitlines()]
        served = self.stack.enter_context(our_witness(self.place / "witness", keys))
        self.policy.write_text(re.sub(r"http://\S+", served.url, self.policy.read_text()))
        return self.place / "witness/state"

    def sign(self) -> int:
        """Sign what there is, with this host's trust policy; return the exit code."""
        return main(["evidence", "sign", "--wait", "60s", "--config", str(self.config)])

    def segments(self, log: str = QUEEN) -> list[Path]:
        """Its files, in order."""
        return sorted(self.audit.glob(f"{log}.*.ndjson*"))

    def lines(self, path: Path) -> list[bytes]:
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        return data.splitlines(keepends=True)

    def write(self, path: Path, lines: Sequence[bytes]) -> None:
        data = b"".join(lines)
        path.write_bytes(_packed(data) if path.suffix == ".zst" else data)

    def change(self, path: Path, index: int, old: bytes, new: bytes) -> None:
        """Change one line, whose hash does not fit any more."""
        lines = self.lines(path)
        assert old in lines[index]
        lines[index] = lines[index].replace(old, new, 1)
        self.write(path, lines)

    def rewrite(self, log: str = QUEEN, *, part: int = 0, index: int = 2) -> None:
        """Change a record, and write the log anew from there on with hashes that fit."""
        before = ""
        for number, path in enumerate(self.segments(log)):
            lines = self.lines(path)
            for at, line in enumerate(lines):
                if (number, at) < (part, index):
                    before = _header(line).hash
                    continue
                forged = line
                if (number, at) == (part, index):
                    assert b'"user_id":"alice"' in line
                    forged = line.replace(b'"user_id":"alice"', b'"user_id":"mallo"', 1)
                lines[at], before = resealed(forged, before)
            self.write(path, lines)

    def append(self, log: str, event_type: str, details: dict[str, Any]) -> None:
        """Write the next record of a log by hand."""
        path = self.segments(log)[-1]
        last = _header(self.lines(path)[-1])
        line, _ = make_line(
            log,
            last.seq + 1,
            last.hash,
            at=dt.datetime.now(dt.UTC),
            event_type=event_type,
            details=details,
        )
        with path.open("ab") as file:
            file.write(line)

    def tombstone(self, path: Path) -> dict[str, Any]:
        """Return the tombstone that retention would have written of a segment."""
        lines = self.lines(path)
        first, last = _header(lines[0]), _header(lines[-1])
        old = self.buried()
        return {
            **{name: value for name, value in old.items() if name != "tree"},
            "log": first.log,
            "segment": path.name.removesuffix(".zst"),
            "first_seq": first.seq,
            "last_seq": last.seq,
            "first_prev_hash": first.prev_hash,
            "last_hash": last.hash,
            "records": len(lines),
            "bytes": sum(map(len, lines)),
            "sha256": sha256(b"".join(lines)).hexdigest(),
            "last_record_at": last.timestamp,
            "cursor": {"main": last.seq},
            "policy": {**old["policy"], "compress_after": "1h", "delete_after": "2h"},
            "at": last.timestamp.replace(last.timestamp[:4], str(int(last.timestamp[:4]) + 1)),
            "simulated": True,
            "by": "alice",
        }

    def buried(self) -> dict[str, Any]:
        """The details of the tombstone that is there."""
        for path in self.segments(RETENTION):
            for line in self.lines(path):
                if _header(line).event_type == "retention.segment_deleted":
                    details: dict[str, Any] = orjson.loads(line)["details"]
                    return details
        raise AssertionError("nothing was deleted")

    def sql(self, statement: str, *values: object) -> None:
        connection = sqlite3.connect(self.place / "audit.sqlite")
        with connection:
            assert connection.execute(statement, values).rowcount > 0
        connection.close()

    def fit_cursors(self) -> None:
        """Let every cursor name the record that its place has now, or go."""
        store = CursorStore(self.state)
        for log in store.logs("main"):
            for path in self.segments(log):
                at = 0
                for line in self.lines(path):
                    at += len(line)
                    cursor = store.load("main", log)
                    assert cursor is not None
                    if (path.name, at) == (cursor.segment, cursor.offset):
                        fitting = dataclasses.replace(cursor, hash=_header(line).hash)
                        store.save("main", fitting)

    def fit_sink(self) -> None:
        """Let the sink have what the files have."""
        connection = sqlite3.connect(self.place / "audit.sqlite")
        with connection:
            for log in (QUEEN, HIVE):
                for path in self.segments(log):
                    for line in self.lines(path):
                        header = _header(line)
                        connection.execute(
                            "UPDATE records SET line = ?, hash = ? WHERE log = ? AND seq = ?",
                            (line, header.hash, log, header.seq),
                        )
        connection.close()

    def ship(self) -> None:
        assert main(["ship", "--once", "--config", str(self.config)]) == 0

    def retain(
        self, policy: RetentionPolicy, at: dt.datetime | None = None, host: str = "hive1"
    ) -> None:
        """Run retention on a host; ``at`` is an instant that a person gave."""
        now = at or dt.datetime.now(dt.UTC)
        simulated = at is not None
        done = run_retention(
            self.audit,
            policy,
            self.state,
            ("main",),
            now,
            confirm=True,
            simulated=simulated,
            host=host,
        )
        assert done.ok

    def forget(self) -> None:
        """Remove what continuous verification remembers."""
        (self.state / "verification.json").unlink()

    def detect(self, run: Callable[..., Any]) -> set[str]:
        """Return the names of those that notice that something is wrong."""
        with_config = ("--config", self.config)
        found = {
            "chain": run("verify", self.audit).code != 0,
            "cursors": run("verify", *with_config).code != 0,
            "sink": run("verify", *with_config, "--against", "main").code != 0,
            "witness": run("verify", *with_config, "--policy", self.policy).code != 0,
            "status": not run("status", *with_config, "--json").json["ok"],
            "agent": bool(self.alarms()),
            "export": self.export(run),
        }
        return {name for name, noticed in found.items() if noticed}

    def alarms(self) -> list[Any]:
        """The alarms of one round of continuous verification."""
        alarms: list[Any] = []
        verification = ContinuousVerification(
            [self.audit],
            self.state,
            alarms.append,
            every=DAY,
            cpu_share=1.0,
            retention_hosts=load(self.config).deleting_hosts(),
        )
        verification.look()
        while (key := verification._next()) is not None:
            verification._verify(key, lambda: None)  # type: ignore[arg-type]  # no pauses
        return alarms

    def export(self, run: Callable[..., Any]) -> bool:
        """Whether an export says so when it is made, or its checker when it is read."""
        target = self.place / "case.tar.zst"
        made = run("export", "--config", self.config, "-o", target)
        if made.code not in (0, 3):
            return True
        checker = unpack(target, self.place) / "check.py"
        checked = subprocess.run(
            [sys.executable, "-I", checker], capture_output=True, text=True, check=False
        )
        assert (checked.returncode == 1) == (made.code == 3), checked.stdout + checked.stderr
        return made.code == 3


def build(place: Path, witness: Callable[[list[Key]], str]) -> TamperedHost:
    """``witness`` starts one that knows these keys, and returns its line of a trust policy."""
    host = TamperedHost(place)
    now = dt.datetime.now(dt.UTC)
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    write_log(host.audit, QUEEN, records=6, segments=3, days=1, at=noon - 5 * DAY)
    write_log(host.audit, HIVE, records=4, segments=2, days=1, at=noon - 3 * DAY)
    for log in (QUEEN, HIVE):
        service = log.partition("@")[0]
        with auditlog.open(host.audit, service=service, host="hive1") as writer:
            for number in range(4):
                writer.emit("task_submitted", actor="alice", details={"task_id": f"t-{number}"})
    host.config.write_text(
        f'directories = ["{place}/audit"]\nstate_dir = "{place}/state"\nhost = "hive1"\n'
        f'metrics = ""\n[sinks.main]\nkind = "sqlite"\npath = "{place}/audit.sqlite"\n'
        f'[evidence]\npolicy = "{host.policy}"\n'
    )
    keys = _keys(host, "audit.example.com/hive1")
    host.policy.write_text("".join(f"log {key}\n" for key in keys) + witness(keys))
    _tend(host)
    policy = RetentionPolicy(
        DAY * 3.5, DAY * 4.5, max_delete_fraction=1.0, verify_before_delete="none"
    )
    run_retention(host.audit, policy, host.state, ("main",), now, host="hive1")
    assert len(host.segments()) == 3
    command = ["hold", "add", "case-7", "--config", str(host.config), "--owner", "legal"]
    assert main([*command, "--reason", "subpoena", "--logs", HIVE]) == 0
    for _ in range(2):
        _tend(host)
    host.alarms()
    status = host.state / "verification.json"
    fields = orjson.loads(status.read_bytes())
    for log in fields["logs"]:  # it is due again
        log["at"] = "2026-01-01T00:00:00.000000Z"
    status.write_bytes(orjson.dumps(fields))
    return host


def _tend(host: TamperedHost) -> None:
    """Do once what the agent does again and again."""
    config = ["--config", str(host.config)]
    assert main(["ship", "--once", *config]) == 0
    assert main(["evidence", "sign", "--wait", "60s", *config]) == 0
    assert main(["ship", "--once", *config]) == 0


def _keys(host: TamperedHost, origin: str) -> list[Key]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["evidence", "init", "--origin", origin, "--config", str(host.config)]) == 0
    lines = [line for line in out.getvalue().splitlines() if line.startswith("log ")]
    keys = [Key.parse(line.removeprefix("log ")) for line in lines]
    return [*keys, keys[0].renamed(f"{origin}/{RETENTION}")]  # the log that is not there yet


def _header(line: bytes) -> Any:
    header = parse_header(line)
    assert header is not None
    return header


def resealed(line: bytes, before: str) -> tuple[bytes, str]:
    """The line behind another record, with its own hash right again."""
    content = line[:-76]
    if before:
        content = re.sub(
            rb'"prev_hash":"[0-9a-f]{64}"', b'"prev_hash":"%b"' % before.encode(), content, count=1
        )
    digest = sha256(content).hexdigest()
    return content + f',"hash":"{digest}"}}\n'.encode(), digest


def _packed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)
