"""Whole runs over foreign files."""

from __future__ import annotations

import gzip
import os
import threading
import time
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from auditlog.reading.selection import read
from auditlog.verification.verify import verify
from retention.act import FileHandler, act
from retention.holds import Hold, HoldStore
from retention.plan import Refused
from retention.policy import RetentionPolicy
from retention.service import RunResult, explain_subject, run_retention
from retention.subjects import SinkCursors
from retention.tombstone_log import RetentionRun, TombstoneLog
from tests.support.foreign import DAY, NOW, foreign_policy, leave
from tests.support.ndjson import ndjson_service
from tests.support.shipments import FakeSink

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from pathlib import Path


AGES = {
    "old.ndjson": 120,
    "due.ndjson": 100,
    "packed.ndjson": 60,
    "plain.ndjson": 40,
    "n.ndjson": 2,
}


def fill(audit: Path) -> dict[str, bytes]:
    """By name, the uncompressed bytes; the two oldest are compressed."""
    content = {}
    for name, age in AGES.items():
        content[name] = leave(audit, name, age * DAY).read_bytes()
        if age in (100, 60):
            (audit / name).unlink()
            leave(audit, name, age * DAY, form=".gz")
    return content


def run(
    audit: Path, policy: RetentionPolicy | None = None, *sinks: str, now: dt.datetime = NOW
) -> RunResult:
    policy = policy or foreign_policy(audit)
    return run_retention(
        audit, policy, audit.parent / "state", sinks, now, host="hive1", simulated=True, by="me"
    )


def verdicts(result: RunResult) -> dict[str, str]:
    return {step.action.name: f"{step.action.action} {step.action.reason}" for step in result.steps}


def tombstones(audit: Path) -> list[dict[str, object]]:
    return [
        record.fields["details"]
        for record in read(audit, log_events=True)
        if record.event_type == "retention.foreign_deleted"
    ]


def names(audit: Path) -> list[str]:
    """List the files that are left, in any form."""
    return sorted(path.name for path in audit.iterdir() if path.name.removesuffix(".gz") in AGES)


def test_what_goes_for_its_size_is_proven_too(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    fill(audit)
    limit = (audit / "n.ndjson").stat().st_size
    result = run(audit, replace(foreign_policy(audit), max_total_bytes=limit))
    assert result.ok
    assert verdicts(result)["packed.ndjson.gz"] == "delete size"
    gone = [each["file"] for each in tombstones(audit)]
    assert gone == ["old.ndjson", "due.ndjson.gz", "packed.ndjson.gz"]
    assert names(audit) == ["n.ndjson", "plain.ndjson.gz"]


def test_proven(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    fill(audit)
    result = run(audit)
    assert result.ok
    assert verdicts(result) == {
        "old.ndjson": "delete age",
        "due.ndjson.gz": "delete age",
        "packed.ndjson.gz": "keep too_recent",
        "plain.ndjson": "compress age",
        "n.ndjson": "keep newest",
    }
    old, due = tombstones(audit)
    assert (old["file"], due["file"]) == ("old.ndjson", "due.ndjson.gz")
    assert due["lines"] == 3
    assert due["last_timestamp"] == (NOW - 100 * DAY).isoformat().replace("+00:00", ".000000Z")
    assert due["by"] == "me"
    assert isinstance(due["policy"], dict)
    assert due["policy"]["pattern"] == "*.ndjson"
    assert verify(audit).ok
    assert run(audit).totals["delete"] == 0


def test_zeros_behind_the_lines_of_a_file_keep_it_no_longer(tmp_path: Path) -> None:
    """A crash leaves them behind a line, and a program reserves room that it does not fill."""
    audit = tmp_path / "audit"
    policy = foreign_policy(audit, source=True)
    leave(audit, "n.ndjson", 0 * DAY)
    content = {}
    for name, cut, zeros in (
        ("whole.ndjson", 0, 4096),
        ("cut.ndjson", 1, 4096),
        ("room.ndjson", 0, 17 << 20),
        ("cut_room.ndjson", 1, 17 << 20),
    ):
        path = leave(audit, name, 40 * DAY)
        content[name] = path.read_bytes()[: path.stat().st_size - cut] + bytes(zeros)
        path.write_bytes(content[name])
        os.utime(path, (time.time(), time.time() - 3600))  # a line without LF has settled
    kept = verdicts(run(audit, policy, "fake"))
    assert {kept[name] for name in content} == {"keep not_shipped"}

    source = {"name": "old", "pattern": "*.ndjson"}
    service = ndjson_service(audit, FakeSink(), tmp_path / "state", **source)
    assert service.run_once().shipped == 15
    packed = verdicts(run(audit, policy, "fake"))
    assert {packed[name] for name in content} == {"compress age"}
    for name, plain in content.items():
        assert gzip.decompress((audit / f"{name}.gz").read_bytes()) == plain

    gone = run(audit, policy, "fake", now=NOW + 60 * DAY)
    assert gone.ok
    assert {
        stone["file"]: (stone["lines"], stone["bytes"], stone["sha256"])
        for stone in tombstones(audit)
    } == {
        f"{name}.gz": (3, len(plain), sha256(plain).hexdigest()) for name, plain in content.items()
    }
    assert not [path for path in audit.iterdir() if path.name.removesuffix(".gz") in content]


def test_once(tmp_path: Path, killed_at: Callable[[Callable[[], object], int], bool]) -> None:
    """Killed before each durable step in turn: nothing is gone without proof, nothing twice."""
    step = 0
    while True:
        audit = tmp_path / str(step) / "audit"
        audit.parent.mkdir()
        content = fill(audit)
        killed = killed_at(lambda audit=audit: run(audit), step)  # type: ignore[misc]  # bound now
        proven = [stone["file"] for stone in tombstones(audit)] if any(audit.glob("ret*")) else []
        for name, plain in content.items():
            paths = [audit / name, audit / f"{name}.gz"]
            left = [path for path in paths if path.exists()]
            assert left or any(path.name in proven for path in paths)
            packed = [path for path in left if path.suffix == ".gz"]
            assert all(gzip.decompress(path.read_bytes()) == plain for path in packed)
        assert run(audit).ok
        assert sorted(str(stone["file"]) for stone in tombstones(audit)) == [
            "due.ndjson.gz",
            "old.ndjson",
        ]
        assert names(audit) == ["n.ndjson", "packed.ndjson.gz", "plain.ndjson.gz"]
        assert not list(audit.glob(".*.tmp"))
        assert verify(audit).ok
        if not killed:
            break
        step += 1
    assert step > 10


def test_late(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    content = fill(audit)
    holds = HoldStore(tmp_path / "state")
    planned = run_retention(
        audit, foreign_policy(audit), tmp_path / "state", (), NOW, dry_run=True, simulated=True
    ).plan
    holds.add(Hold("late", "legal", "audit", "due.*"))
    with (audit / "old.ndjson").open("ab") as file:
        file.write(b'{"timestamp":"2020-01-01T00:00:00Z"}\n')
    with (audit / "plain.ndjson").open("ab"), TombstoneLog(audit, "hive1") as tombstones:
        handler = FileHandler(foreign_policy(audit), SinkCursors(), RetentionRun(NOW))
        steps = act(planned, handler, tombstones, holds, by="me", stop=threading.Event())
    result = RunResult(planned, steps, dry_run=False)
    assert verdicts(result)["due.ndjson.gz"] == "keep held"
    assert verdicts(result)["plain.ndjson"] == "keep active"
    (failed,) = result.failures
    assert failed.action.name == "old.ndjson"
    assert "its content is not what the plan saw" in failed.error
    assert (audit / "old.ndjson").read_bytes().startswith(content["old.ndjson"])
    assert names(audit) == sorted(
        ["due.ndjson.gz", "n.ndjson", "old.ndjson", "packed.ndjson.gz", "plain.ndjson"]
    )


def test_without_the_section_nothing_is_touched(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    fill(audit)
    before = {path.name: path.read_bytes() for path in audit.iterdir()}
    assert set(verdicts(run(audit, RetentionPolicy())).values()) == {"keep foreign"}
    after = {path.name: path.read_bytes() for path in audit.iterdir() if path.is_file()}
    assert after == before


def test_without_a_source_it_has_to_be_said_that_none_is_required(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    fill(audit)
    strict = foreign_policy(audit, shipped="required")
    assert verdicts(run(audit, strict))["old.ndjson"] == "keep not_shipped"
    action = run(audit).steps[0].action
    assert "no source ships it" in action.detail


def test_holds_keep_by_name_time_and_actor(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    fill(audit)
    store = HoldStore(tmp_path / "state")
    store.add(Hold("a", "legal", "audit", "old*", actor="alice"))
    store.add(Hold("b", "legal", "audit", from_at=NOW - 41 * DAY, until_at=NOW - 39 * DAY))
    assert verdicts(run(audit)) == {
        "old.ndjson": "keep held",
        "due.ndjson.gz": "delete age",
        "packed.ndjson.gz": "keep too_recent",
        "plain.ndjson": "keep held",
        "n.ndjson": "keep newest",
    }


def test_too_many_at_once_asks(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    fill(audit)
    policy = foreign_policy(audit)
    (foreign,) = policy.foreign
    careful = replace(foreign, policy=replace(foreign.policy, max_delete_fraction=0.3))
    with pytest.raises(Refused, match=r"2 of the 5 files of \*.ndjson"):
        run(audit, replace(policy, foreign=(careful,)))
    assert len(names(audit)) == 5


def test_a_file_is_explained_by_any_of_its_names(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    fill(audit)
    for name in ("due.ndjson", "due.ndjson.gz"):
        found = explain_subject(
            audit, foreign_policy(audit), tmp_path / "state", (), NOW, name=name
        )
        assert found is not None
        assert found.action.action == "delete"
        assert [finding.rule for finding in found.findings][-1] == "age"
    young = explain_subject(
        audit, foreign_policy(audit), tmp_path / "state", (), NOW, name="plain.ndjson"
    )
    assert young is not None
    assert young.to_json()["pattern"] == "*.ndjson"
