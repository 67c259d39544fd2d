from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.logs import LogBuilder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result
    from tests.support.s3 import S3Bucket


@pytest.fixture
def log(tmp_path: Path, s3_bucket: S3Bucket) -> LogBuilder:
    """A log of two days, and configurations of its agent and of an auditor."""
    (tmp_path / "audit").mkdir()
    log = LogBuilder(tmp_path / "audit")
    log.append(10)
    log.rotate(days=1)
    log.append(10, actor={"user_id": "bob"})
    log.rotate(days=1)
    log.append(5)
    sink = f'[sinks.copy]\nkind = "sqlite"\npath = "{tmp_path}/copy.sqlite"\n'
    host = f'directories = ["{log.directory}"]\nstate_dir = "{tmp_path}/state"\nhost = "hive1"\n'
    (tmp_path / "agent.toml").write_text(f"{host}{sink}{s3_bucket.settings(tmp_path)}")
    auditor = s3_bucket.settings(tmp_path, "reader")
    (tmp_path / "auditor.toml").write_text(f'host = "hive1"\n{sink}{auditor}')
    return log


def test_from_upload_to_restore(
    run: Callable[..., Result], tmp_path: Path, log: LogBuilder
) -> None:
    agent, auditor = ("--config", tmp_path / "agent.toml"), ("--config", tmp_path / "auditor.toml")
    late = run("archive", "status", *agent)
    assert (late.code, "2 finished segments without upload" in late.out) == (0, True)
    kept = run("prune", *agent, "--dry-run", "--at", "2027-06-01T00:00:00Z", "--json")
    assert {each["reason"] for each in json.loads(kept.out)["actions"]} >= {"not_shipped"}
    uploaded = run("archive", "upload", *agent, "--json")
    assert (uploaded.code, json.loads(uploaded.out)["objects"]) == (0, 2)
    assert "2 segments" in run("archive", "status", *agent).out

    refused = run("archive", "verify", *agent)
    assert (refused.code, "AccessDenied" in refused.err) == (1, True)
    verified = run("archive", "verify", *auditor)
    assert (verified.code, "20 records verified" in verified.out) == (0, True)
    report = json.loads(run("archive", "verify", *auditor, "--host", "*", "--json").out)
    assert [each["host"] for each in report["hosts"]] == ["hive1"]
    assert report["hosts"][0]["logs"] == [{"log": log.log, "last_seq": 20}]

    found = run("archive", "search", "actor.user_id=bob", *auditor, "--json", "--limit", 3)
    assert found.out.encode() == b"".join(log.lines[10:13])
    none = run("archive", "search", "actor.user_id=bob", *auditor, "--until", "2026-11-23")
    assert (none.code, none.out) == (0, "")

    target = tmp_path / "restored"
    day = ("--since", "2026-11-24", "--until", "2026-11-24")
    restored = run("archive", "restore", *auditor, *day, "--to", target)
    assert restored.out == f"Restored 1 segment to {target}.\n"
    assert [path.name for path in target.iterdir()] == [f"{log.paths[1].name}.zst"]
    again = run("archive", "restore", *auditor, "--to", target)
    assert "already there: 1" in again.out
    assert run("verify", target).code == 0
    nothing = run("archive", "restore", *auditor, "--since", "2027-01-01", "--to", target)
    assert (nothing.code, "no segment of these logs and days" in nothing.err) == (1, True)

    shipped = run("archive", "restore", *auditor, *day, "--sink", "copy")
    assert (shipped.code, "1 segment to sink copy" in shipped.out) == (0, True)
    counted = run("search", "", "--source", tmp_path / "copy.sqlite", "--count")
    assert counted.out == "10\n"


def test_deletion_waits_for_the_archive(
    run: Callable[..., Result], tmp_path: Path, log: LogBuilder
) -> None:
    agent = ("--config", tmp_path / "agent.toml")
    assert run("ship", *agent, "--once").code == 0
    prune = ("prune", *agent, "--at", "2027-06-01T00:00:00Z", "--confirm", "--json")
    kept = json.loads(run(*prune).out)
    reasons = {each["segment"]: each["reason"] for each in kept["actions"]}
    assert [reasons[path.name] for path in log.paths[:2]] == ["age", "age"]
    assert kept["totals"]["delete"] == 0
    explained = run("prune", *agent, "--at", "2027-06-01T00:00:00Z", "--explain", log.paths[0].name)
    assert "not_archived" in explained.out
    run("archive", "upload", *agent)
    assert json.loads(run(*prune).out)["totals"]["delete"] == 2
    assert run("verify", log.directory).code == 0


def test_what_is_wrong_is_named(
    run: Callable[..., Result], tmp_path: Path, log: LogBuilder, s3_bucket: S3Bucket
) -> None:
    auditor = ("--config", tmp_path / "auditor.toml")
    empty = run("archive", "verify", *auditor)
    assert (empty.code, "FAILED hive1: 0 segments" in empty.out) == (1, True)
    run("archive", "upload", "--config", tmp_path / "agent.toml")
    key = f"v1/{log.log}/{log.paths[0].name}.zst"
    with closing(s3_bucket.client("writer")) as stolen:
        stolen.put_object(Bucket=s3_bucket.name, Key=key, Body=b"nothing of the kind")
    named = run("archive", "verify", *auditor)
    assert (named.code, f"put_over {key}" in named.out) == (1, True)
    listed = json.loads(run("archive", "verify", *auditor, "--quick", "--json").out)
    assert [each["kind"] for each in listed["hosts"][0]["findings"]] == ["put_over"]
    found = run("archive", "search", "", *auditor, "--json")
    assert found.out.encode() == b"".join(log.lines[:20]), "the version that was archived"


def test_usage(run: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'directories = ["{tmp_path}"]\n')
    none = run("archive", "status", "--config", path)
    assert (none.code, "no archive is configured" in none.err) == (65, True)
    assert run("archive", "restore", "--config", path).code == 2
    path.write_text('[archive]\nmode = "GOVERNANCE"\n')
    missing = run("archive", "status", "--config", path)
    assert (missing.code, "bucket is missing" in missing.err) == (65, True)
    path.write_text('[archive]\nbucket = "b"\nmode = "SOMETHING"\n')
    assert "GOVERNANCE" in run("archive", "status", "--config", path).err
