"""Archive logs of another user, whose directory the agent may read, and not write."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

import auditlog
from auditlog.events.base import ARCHIVE_SERVICE
from tests.support.logs import LogBuilder
from tests.support.permissions import belongs_to_another_user, powerless

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result
    from tests.support.s3 import S3Bucket

OWN_LOG = f"{ARCHIVE_SERVICE}@hive1"


@pytest.fixture
def log(tmp_path: Path) -> LogBuilder:
    """A log with two finished segments."""
    (tmp_path / "audit/.auditlog").mkdir(parents=True)
    log = LogBuilder(tmp_path / "audit")
    for _ in range(2):
        log.append(10)
        log.rotate(days=1)
    log.append(5)
    return log


@pytest.fixture
def archive(
    program: Callable[..., Result], tmp_path: Path, s3_bucket: S3Bucket
) -> Callable[..., Result]:
    """``archive("upload", *directories)`` as the agent's user, with these directories."""

    def call(command: str, *directories: Path, key: str = "writer") -> Result:
        config = tmp_path / f"{key}.toml"
        config.write_text(
            f'directories = {json.dumps([*map(str, directories)])}\nhost = "hive1"\n'
            f'state_dir = "{tmp_path}/state"\n{s3_bucket.settings(tmp_path, key)}'
        )
        return program("archive", command, "--config", config, "--json", before=powerless())

    return call


def listed(directory: Path) -> dict[str, tuple[int, int]]:
    """Every file below the directory, with its size and owner."""
    states = {str(path): path.lstat() for path in directory.rglob("*")}
    return {name: (state.st_size, state.st_uid) for name, state in states.items()}


def recorded(directory: Path) -> list[str]:
    """The segments that the archive's own log names."""
    records = auditlog.read(directory, log_events=True)
    details: list[dict[str, Any]] = [
        json.loads(record.line)["details"]
        for record in records
        if record.event_type == "log.archived"
    ]
    return [each["segment"] for each in details]


def test_manifests_alone_are_the_record_where_no_directory_may_be_written(
    archive: Callable[..., Result], log: LogBuilder
) -> None:
    belongs_to_another_user(log.directory)
    before = listed(log.directory)
    done = archive("upload", log.directory)
    assert done.code == 0, done.err
    assert "the manifests alone are the record" in done.err
    assert (done.json["objects"], done.json["manifest"], done.json["trouble"]) == (2, 1, "")
    assert archive("upload", log.directory).json["manifest"] == 1
    verified = archive("verify", log.directory, key="reader")
    assert (verified.code, verified.json["hosts"][0]["records"]) == (0, 20)
    assert listed(log.directory) == before


def test_the_record_is_in_a_directory_of_the_agents_own(
    archive: Callable[..., Result], log: LogBuilder, tmp_path: Path
) -> None:
    belongs_to_another_user(log.directory)
    before = listed(log.directory)
    own = tmp_path / "own"
    own.mkdir()
    done = archive("upload", log.directory, own)
    assert (done.code, done.json["objects"]) == (0, 2), done.err
    assert recorded(own) == [path.name for path in log.paths[:2]]
    assert auditlog.verify(own).ok
    assert listed(log.directory) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_directory_of_another_user_is_no_place_for_the_record(
    archive: Callable[..., Result], log: LogBuilder
) -> None:
    """The group may write to it, and the writer refuses it all the same."""
    belongs_to_another_user(log.directory, 0o770)
    done = archive("upload", log.directory)
    assert (done.code, done.json["objects"], done.json["manifest"]) == (0, 2, 1), done.err
    assert recorded(log.directory) == []


def test_a_log_of_the_archive_that_may_not_be_written_any_more_is_not_begun_anew(
    archive: Callable[..., Result], log: LogBuilder, tmp_path: Path
) -> None:
    """A second log of that name would be refused by every sink."""
    own = tmp_path / "own"
    own.mkdir()
    assert archive("upload", log.directory).code == 0
    names = recorded(log.directory)
    belongs_to_another_user(log.directory)
    if os.geteuid() != 0:
        log.directory.chmod(0o750)  # for the writer, who has no other user here
    log.rotate()
    log.append(1)
    belongs_to_another_user(log.directory)
    done = archive("upload", log.directory, own)
    assert (done.code, done.json["objects"]) == (0, 3), done.err
    assert recorded(log.directory) == names
    assert list(own.iterdir()) == []


def test_a_directory_that_may_not_be_read_does_not_stop_the_others(
    archive: Callable[..., Result], log: LogBuilder, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    belongs_to_another_user(closed, 0o700)
    belongs_to_another_user(log.directory)
    done = archive("upload", closed, log.directory)
    assert (done.code, done.json["objects"], done.json["manifest"]) == (1, 2, 1), done.err
    assert done.json["trouble"] == f"{closed}: Permission denied"
    status = archive("status", closed, log.directory)
    assert (status.code, f"{closed}: Permission denied" in status.err) == (1, True)
