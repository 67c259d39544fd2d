from __future__ import annotations

import resource
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from auditlog.reading.selection import read
from auditlog.verification.verify import verify
from auditlog.writer.opening import open_log
from tests.support.unmeasured import unmeasured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


def test_the_record_is_in_the_log_with_the_number_and_hash_that_were_printed(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run(
        "emit", tmp_path / "audit", "backup.finished", "--service", "backup", "--host", "hive1",
        "--actor", "alice", "--resource", "volume/v-1", "--outcome", "failure", "--reason", "full",
        "--severity", "error", "--correlation-id", "req-1", "--detail", "files:=12",
        "--detail", "note=a=b",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    log, seq, digest = result.out.split()
    (record,) = [
        r for r in read(tmp_path / "audit", log_events=True) if r.event_type == "backup.finished"
    ]
    assert (record.log, record.seq, record.hash) == (log, int(seq), digest)
    assert record.log == "backup@hive1"
    fields = record.fields
    assert fields["actor"]["user_id"] == "alice"
    assert (fields["resource"]["resource_type"], fields["resource"]["resource_id"]) == (
        "volume",
        "v-1",
    )
    assert (fields["outcome"], fields["reason"], fields["severity"]) == ("failure", "full", "error")
    assert fields["correlation_id"] == "req-1"
    assert fields["details"] == {"files": 12, "note": "a=b"}
    assert verify(tmp_path / "audit").ok


def test_json_names_log_seq_and_hash(run: Callable[..., Result], tmp_path: Path) -> None:
    first = run("emit", tmp_path, "a.b", "--service", "s", "--json").json
    second = run("emit", tmp_path, "a.b", "--service", "s", "--json").json
    assert first.keys() == {"schema", "log", "seq", "hash"}
    assert first["schema"] == "auditctl.emit/1"
    assert second["seq"] > first["seq"]


def test_scripts_at_the_same_time_take_turns(run: Callable[..., Result], tmp_path: Path) -> None:
    log = open_log(tmp_path, service="s")
    timer = threading.Timer(0.2, log.close)
    timer.start()
    assert run("emit", tmp_path, "a.b", "--service", "s", "--wait", "20s").code == 0
    timer.join()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["A.B"], 65, "event type"),
        (["a.b", "--detail", "x"], 2, "KEY=TEXT"),
        (["a.b", "--detail", "x:={"], 2, "JSON"),
        (["a.b", "--resource", "pool"], 2, "TYPE/ID"),
        (["a.b", "--outcome", "good"], 2, "--outcome"),
        (["a.b", "--host", "a b"], 65, "host"),
    ],
)
def test_what_cannot_be_a_record_is_refused_and_nothing_is_written(
    run: Callable[..., Result], tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    result = run("emit", tmp_path, "--service", "s", *arguments)
    assert (result.code, result.out) == (code, "")
    assert says in result.err
    assert not [
        record
        for record in read(tmp_path, log_events=True)
        if not record.event_type.startswith("log.")
    ]


def _limited(limit_bytes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """auditctl where no file may become larger: a disk that takes so much and then refuses."""
    return subprocess.run(
        [sys.executable, "-m", "auditctl", *map(str, arguments)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)),
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("fit", [0, 1, 2, 3])
def test_the_exit_code_says_whether_the_record_is_durable(tmp_path: Path, fit: int) -> None:
    """Of log.opened, the event and log.closed so many find room, and half of the next one."""
    event = ("a.b", "--service", "s", "--host", "h", "--detail", f"pad={'x ' * 1500}")
    for name in ("roomy", "narrow"):
        with open_log(tmp_path / name, service="s", host="h"):
            pass
    [roomy], [narrow] = ((tmp_path / name).glob("*.ndjson") for name in ("roomy", "narrow"))
    assert _limited(1 << 20, "emit", roomy.parent, *event).returncode == 0
    lines = [len(line) for line in roomy.read_bytes().splitlines(keepends=True)[3:]] + [400]
    room = sum(lines[:fit]) + lines[fit] // 2
    result = _limited(narrow.stat().st_size + room, "emit", narrow.parent, *event)
    types = [record.event_type for record in read(narrow.parent, log_events=True)][3:]
    assert types == ["log.opened", "a.b", "log.closed"][:fit]
    if fit < 2:
        assert (result.returncode, result.stdout) == (1, "")
        assert "File too large" in result.stderr
    else:
        [record] = [
            record for record in read(narrow.parent, log_events=True) if record.event_type == "a.b"
        ]
        assert (result.returncode, result.stdout) == (0, f"s@h {record.seq} {record.hash}\n")
        assert ("log.closed could not be written" in result.stderr) is (fit == 2)
    assert verify(narrow.parent).ok


def test_a_missing_parent_is_not_created(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("emit", tmp_path / "typo/audit", "a.b", "--service", "s")
    assert result.code == 2
    assert f"{tmp_path}/typo: there is no such directory" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--service", "retention", "pool.drained"),
        ("--service", "queen-rbee", "retention.segment_deleted"),
    ],
)
def test_a_tombstone_cannot_be_emitted(
    run: Callable[..., Result], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    refused = run("emit", tmp_path / "audit", *arguments)
    assert refused.code == 65
    assert "own. " in refused.err
    assert "reserved" in refused.err
