from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


def test_an_intact_directory_is_one_line_a_log(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path, records=5, segments=2)
    write_log(tmp_path, "rbee-hive@gpu1", records=1)
    result = run("verify", tmp_path)
    assert (result.code, result.err) == (0, "")
    first, second = result.out.splitlines()
    assert "ok     queen-rbee@hive1: 10 records in 2 segments, seq 1 to 10; head " in first
    assert "ok     rbee-hive@gpu1: 1 record in 1 segment, seq 1 to 1; head " in second


def test_a_changed_byte_is_named_by_log_segment_line_and_seq(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    built = write_log(tmp_path, records=5)
    content = built.active.read_bytes().replace(b"task-4", b"task-5")
    built.active.write_bytes(content)
    result = run("verify", tmp_path)
    assert result.code == 1
    offset = len(b"".join(built.lines[:3]))
    assert "FAILED queen-rbee@hive1:" in result.out
    assert "verified through seq 3, 2 suspect" in result.out
    place = f"{built.active.name} line 4 (byte {offset}, seq 4)"
    assert f"       hash_mismatch: {place}: " in result.out


def test_json_is_the_documented_object(run: Callable[..., Result], tmp_path: Path) -> None:
    built = write_log(tmp_path, records=5)
    built.active.write_bytes(built.active.read_bytes().replace(b"task-4", b"task-5"))
    result = run("verify", "--json", tmp_path)
    assert result.code == 1
    assert result.json["schema"] == "auditctl.verify/1"
    (log,) = result.json["logs"]
    assert {"log", "ok", "segments", "records", "first_seq", "last_seq", "head_hash",
            "verified_through_seq", "suspect_records", "findings"} <= log.keys()  # fmt: skip
    (finding,) = log["findings"]
    assert (finding["kind"], finding["line"], finding["seq"]) == ("hash_mismatch", 4, 4)


def test_where_there_is_no_log_nothing_is_proven(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run("verify", empty, "--json")
    assert result.code == 1
    assert result.json == {"schema": "auditctl.verify/1", "ok": False, "logs": []}
    assert result.err == (
        f"auditctl: {empty}: there is no log in this directory. "
        "Name the directory that holds the *.ndjson segments.\n"
    )
    told = run("verify", empty)
    assert (told.code, told.out, told.err) == (1, "", result.err)


def test_a_directory_without_a_log_does_not_hide_the_others(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    write_log(tmp_path / "audit", records=2)
    (tmp_path / "empty").mkdir()
    config = tmp_path / "config.toml"
    config.write_text(f"directories = ['{tmp_path}/empty', '{tmp_path}/audit']\n")
    result = run("verify", "--config", config, "--json")
    assert (result.code, result.json["ok"]) == (1, False)
    assert [log["ok"] for log in result.json["logs"]] == [True]
    assert f"{tmp_path}/empty: there is no log" in result.err


def test_one_segment_can_be_verified_by_itself(run: Callable[..., Result], tmp_path: Path) -> None:
    built = write_log(tmp_path, records=5, segments=2)
    assert run("verify", built.compress(1)).code == 0


def test_a_torn_tail_is_shown_and_is_no_failure(run: Callable[..., Result], tmp_path: Path) -> None:
    built = write_log(tmp_path, records=2)
    built.append_raw(b'{"v":1,')
    result = run("verify", tmp_path)
    assert result.code == 0
    assert "torn_tail" in result.out


def test_a_deleted_log_is_found_by_the_configuration_that_shipped_it(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    """Files and notes are gone; the cursor in the agent's state still knows the log."""
    audit, second = tmp_path / "audit", tmp_path / "second"
    for directory in (audit, second):
        directory.mkdir()
        write_log(directory, f"{directory.name}@hive1", records=1)
    gone = write_log(second, records=3)
    config = tmp_path / "config.toml"
    config.write_text(
        f'directories = ["{audit}", "{second}"]\nstate_dir = "{tmp_path / "state"}"\n'
        f'[sinks.main]\nkind = "sqlite"\npath = "{tmp_path / "audit.sqlite"}"\n'
    )
    assert run("ship", "--once", "--config", config).code == 0
    assert run("verify", "--config", config).code == 0
    gone.active.unlink()
    result = run("verify", "--config", config, "--json")
    assert result.code == 1
    [finding] = [finding for log in result.json["logs"] for finding in log["findings"]]
    assert (finding["kind"], finding["seq"]) == ("missing_log", None)
    assert finding["detail"].endswith("the cursor of sink main knows it up to seq 3")
    status = run("status", "--config", config, "--json")
    assert status.code == 1
    assert any(gone.log in problem for problem in status.json["problems"])


def test_a_directory_that_is_gone_does_not_hide_what_is_found_in_the_others(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    write_log(tmp_path, records=3)
    config = tmp_path / "config.toml"
    config.write_text(
        f'directories = ["{tmp_path / "nowhere"}", "{tmp_path}"]\n'
        f'state_dir = "{tmp_path / "state"}"\n'
    )
    result = run("verify", "--config", config)
    assert result.code == 1
    assert "ok     queen-rbee@hive1" in result.out
    assert f"{tmp_path / 'nowhere'}: there is no such file or directory" in result.err
    status = run("status", "--config", config)
    assert status.code == 1
    assert "queen-rbee@hive1" in status.out
    assert "Is it mounted?" in " ".join(status.out.split())
