"""Hold mypy and pyright against a user's file: both accept it, and refuse the same lines.

pyright comes as basedpyright, whose mode "standard" is pyright's: it brings its Node.js along.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """
import datetime as dt
from typing import Any, ClassVar, Literal, Optional, assert_type

import auditlog
from auditlog import Actor, Resource, events
from auditlog.events import Event
from auditlog.events.field_kinds import Count, Id, Label


class PoolDrained(Event):
    names: ClassVar[tuple[str, str] | None] = ("pool", "pool_id")
    default_severity: ClassVar[Literal["info", "warning", "error", "critical"]] = "warning"

    pool_id: Label
    mode: Literal["soft", "hard"] = "soft"
    replicas: Optional[Count] = None
    note: str | None = None
    ratio: float = 1.0
    forced: bool = False
    until: dt.datetime | None = None


class PoolDrainedAgain(PoolDrained):
    attempt: int
    first_id: Id | None = None


class Own:
    pass


drained = PoolDrained(pool_id="a", replicas=1, actor="alice")
assert_type(drained.pool_id, str)
assert_type(drained.mode, Literal["soft", "hard"])
assert_type(drained.replicas, int | None)
assert_type(drained.note, str | None)
assert_type(drained.ratio, float)
assert_type(drained.forced, bool)
assert_type(drained.until, dt.datetime | None)
assert_type(drained.reason, str | None)
PoolDrainedAgain(pool_id="a", attempt=2, mode="hard", resource=Resource("pool", "a"))
PoolDrained(pool_id="a", actor={"user_id": "alice"}, details={"more": 1})
PoolDrained()  # refused
PoolDrained("a")  # refused
PoolDrained(pool_id="a", mode="medium")  # refused
PoolDrained(pool_id=["a"])  # refused
PoolDrained(pool_id="a", unknown=1)  # refused
PoolDrainedAgain(pool_id="a")  # refused
drained.mode = "hard"  # refused
events.AuthSuccess(actor=Actor("alice", ip="10.0.0.7"))
Actor()  # refused
Actor("alice", age=7)  # refused

log = auditlog.open("audit", service="a", flush="batched", block_timeout=5)
assert_type(log, auditlog.Log)
auditlog.open("audit", service="a", flush=auditlog.FlushPolicy.batched(max_delay=0.5))
auditlog.open("audit", service="a", flush="sometimes")  # refused
auditlog.open("audit", service=7)  # refused
auditlog.open("audit")  # refused
auditlog.open("audit", service="a", colour="red")  # refused

assert_type(log.emit(drained), auditlog.Ticket)
assert_type(log.emit(drained).wait(timeout=1).seq, int)
log.emit("pool.drained", actor="alice", outcome="denied", details={"a": 1}, durable=True)
log.emit("pool.drained", resource={"resource_type": "pool", "resource_id": "a"}, timeout=1.5)
log.emit("pool.drained", outcome="maybe")  # refused
log.emit("pool.drained", severity="loud")  # refused
log.emit("pool.drained", actor=7.5)  # refused
log.emit("pool.drained", details=[1])  # refused
log.emit("pool.drained", unknown=1)  # refused
log.emit(Own())  # refused
log.emit()  # refused


async def main() -> None:
    assert_type(await log.aemit(drained), auditlog.Ticket)
    await log.aemit("pool.drained", actor=Actor("alice"), timeout=dt.timedelta(seconds=1))
    await log.aemit("pool.drained", outcome="maybe")  # refused
    assert_type(await log.emit(drained), auditlog.Ticket)


with auditlog.bind(actor="alice", tenant_id=7):
    for record in auditlog.read("audit"):
        assert_type(record.seq, int)
        assert_type(record.details, dict[str, Any])
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The sample with annotations as they stand, and as texts; each file's lines by its name."""
    directory = tmp_path_factory.mktemp("user")
    beginnings = {"evaluated.py": "", "texts.py": "from __future__ import annotations\n"}
    for name, beginning in beginnings.items():
        (directory / name).write_text(beginning + SAMPLE)
    (directory / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    return {
        str(directory / name): (beginning + SAMPLE).splitlines()
        for name, beginning in beginnings.items()
    }


def _refused(files: dict[str, list[str]]) -> set[tuple[str, int]]:
    return {
        (Path(name).name, number)
        for name, lines in files.items()
        for number, line in enumerate(lines, 1)
        if line.endswith("# refused")
    }


def _run(files: dict[str, list[str]], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command, *files],
        cwd=Path(next(iter(files))).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_mypy_refuses_what_is_wrong_and_nothing_else(files: dict[str, list[str]]) -> None:
    printed = _run(files, "mypy", "--strict", "--config-file=", "--cache-dir=cache")
    found = re.findall(r"^(\w+\.py):(\d+): error:", printed, re.MULTILINE)
    assert {(name, int(line)) for name, line in found} == _refused(files), printed


def test_pyright_refuses_what_is_wrong_and_nothing_else(files: dict[str, list[str]]) -> None:
    printed = _run(files, "basedpyright", "--outputjson", "--pythonpath", sys.executable)
    found = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in json.loads(printed)["generalDiagnostics"]
        if each["severity"] == "error"
    }
    assert found == _refused(files), "\n".join(
        f"{each['file']}:{each['range']['start']['line'] + 1}: {each['message']}"
        for each in json.loads(printed)["generalDiagnostics"]
    )
