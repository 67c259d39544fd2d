from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


def test_a_healthy_directory_is_a_table(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path, records=5, segments=2).compress(0)
    result = run("status", tmp_path)
    assert (result.code, result.err) == (0, "")
    assert "problem" not in result.out
    assert "1-10" in result.out
    assert "2 (1 compressed)" in result.out
    assert "never run" in result.out


def test_problems_come_first_and_make_the_code_1(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    built = write_log(tmp_path, records=5)
    built.active.write_bytes(built.active.read_bytes().replace(b"task-5", b"task-6"))
    result = run("status", tmp_path)
    assert result.code == 1
    assert result.out.startswith("problem queen-rbee@hive1: ")


def test_json_is_the_documented_object(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path, records=5)
    shown = run("status", "--json", tmp_path).json
    assert shown["schema"] == "auditctl.status/1"
    assert shown["ok"] is True
    (log,) = shown["logs"]
    assert (log["log"], log["first_seq"], log["last_seq"]) == ("queen-rbee@hive1", 1, 5)


def test_an_empty_directory_has_no_log_yet(run: Callable[..., Result], tmp_path: Path) -> None:
    assert "no log yet" in run("status", tmp_path).out


def test_watch_looks_again_until_ctrl_c(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=5)
    command = [sys.executable, "-m", "auditctl", "status", "--watch", "--json", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b'"last_seq":5' in process.stdout.readline()
        built.append(1)
        seen = b""
        while b'"last_seq":6' not in seen:  # the next look may have begun before
            seen = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, b"")


def test_a_host_with_other_sources_alone_has_a_state(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "worker.log").write_text('{"n":1}\n')
    config = tmp_path / "config.toml"
    config.write_text(
        f"state_dir = '{tmp_path}/state'\n[sinks.main]\nkind = 'sqlite'\n"
        f"path = '{tmp_path}/index.sqlite'\n"
        f"[[sources.ndjson]]\nname = 'worker'\npaths = ['{tmp_path}/worker.log*']\n"
    )
    before = run("status", "--config", config)
    assert (before.code, before.err) == (0, "")
    assert before.out == (
        "ok 1 other source, nothing needs attention\nsource worker: main nothing yet\n"
    )
    assert run("ship", "--config", config, "--once").code == 0
    after = run("status", "--config", config)
    assert after.code == 0
    assert "source worker: main last moved" in after.out
    (source,) = run("status", "--config", config, "--json").json["sources"]
    assert (source["source"], source["kind"]) == ("worker", "ndjson")
    for path in (tmp_path / "state" / "source-cursors").rglob("worker*"):
        path.write_bytes(b"{}")
    damaged = run("status", "--config", config)
    assert damaged.code == 1
    assert damaged.out.startswith("problem source worker: sink main: neither the cursor")
    assert run("quarantine", "list", "--config", config).out == "Nothing is in quarantine.\n"
    assert run("quarantine", "retry", "--config", config).out == "main: 0 delivered, 0 left\n"
    assert "no entry 0123" in run("quarantine", "show", "0123", "--config", config).err
