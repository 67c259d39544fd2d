from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from auditlog.evidence.note import Key
from tests.support.logs import write_log
from tests.support.witnesses import our_witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


@pytest.fixture
def sink(run: Callable[..., Result], tmp_path: Path) -> Path:
    """Two logs of two hosts in a SQLite file."""
    audit = tmp_path / "audit"
    audit.mkdir()
    write_log(audit, records=40)
    write_log(audit, "rbee-hive@gpu-1", records=5)
    path = tmp_path / "audit.sqlite"
    assert run("ship", audit, "--to", path, "--once").code == 0
    return path


def test_a_whole_fleet_needs_nobody(run: Callable[..., Result], sink: Path) -> None:
    result = run("fleet", sink, "--all")
    assert result.code == 0
    assert "ok nothing needs attention" in result.out
    assert re.search(r"queen-rbee@hive1 +40 +1-40 ", result.out)
    assert "0 of 2 lines need a person" in result.err


def test_what_is_silent_gapped_or_unknown_is_named(
    run: Callable[..., Result], sink: Path, tmp_path: Path
) -> None:
    connection = sqlite3.connect(sink)
    connection.execute("DELETE FROM records WHERE log = 'queen-rbee@hive1' AND seq IN (7, 8, 30)")
    connection.commit()
    connection.close()
    (tmp_path / "hosts").write_text("hive1  # the orchestrator\n\ngpu-2\n")
    result = run("fleet", sink, "--silent", "1s", "--inventory", tmp_path / "hosts", "--json")
    assert result.code == 1
    lines = {line["name"]: line for line in result.json["lines"]}
    assert lines["queen-rbee@hive1"]["gaps"] == [[7, 8], [30, 30]]
    assert any("silent since" in text for text in lines["queen-rbee@hive1"]["problems"])
    assert "unknown: it is not in the inventory" in lines["rbee-hive@gpu-1"]["problems"]
    assert lines["gpu-2"]["problems"] == ["missing: no record of it"]
    shown = run("fleet", sink, "--silent", "1s")
    assert shown.code == 1
    assert "3 records are missing, the first from seq 7 to 8" in " ".join(shown.out.split())


def test_metrics_are_the_text_format_of_prometheus(run: Callable[..., Result], sink: Path) -> None:
    result = run("fleet", sink, "--metrics")
    assert result.code == 0
    assert 'auditlog_fleet_missing_records{name="queen-rbee@hive1"} 0' in result.out
    assert "# TYPE auditlog_fleet_needs_person gauge" in result.out


def test_a_sink_that_is_not_there_is_said(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("fleet", tmp_path / "none.sqlite")
    assert result.code != 0
    assert "none.sqlite" in result.err
    assert not (tmp_path / "none.sqlite").exists()
    unknown = run("fleet")
    assert unknown.code == 65
    assert "0 sinks are configured" in unknown.err


def test_the_witnesses_say_through_which_record_each_log_is_witnessed(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two witnesses are a quorum together; one log came later, and one is none of the policy's."""
    audit, policy, sink = tmp_path / "audit", tmp_path / "trust.policy", tmp_path / "audit.sqlite"
    write_log(audit, records=40)
    write_log(audit, "rbee-hive@hive1", records=5)
    (tmp_path / "config.toml").write_text(
        f'directories = ["{audit}"]\nstate_dir = "{tmp_path}/state"\nhost = "hive1"\n'
        f'[evidence]\npolicy = "{policy}"\n'
    )
    monkeypatch.setenv("AUDITLOG_CONFIG", str(tmp_path / "config.toml"))
    keys = run("evidence", "init", "--origin", "audit.example.com/hive1").out.splitlines()
    keys = [line for line in keys if "rbee-hive" not in line]
    parsed = [Key.parse(line.removeprefix("log ")) for line in keys]
    with our_witness(tmp_path / "w1", parsed, "w1") as one:
        with our_witness(tmp_path / "w2", parsed, "w2") as two:
            witnesses = [f"witness {each.name} {each.key} {each.url}" for each in (one, two)]
            policy.write_text("\n".join([*keys, *witnesses, "group g 2 w1 w2", "quorum g", ""]))
            run("evidence", "sign", "--wait", "60s")
            run("emit", audit, "--service", "queen-rbee", "--host", "hive1", "task.late")
            assert run("ship", audit, "--to", sink, "--once").code == 0
            shown = run("fleet", sink, "--all", "--policy", policy)
            assert re.search(r"LAST RECORD +WITNESSED THROUGH\n", shown.out)
            assert re.search(r"queen-rbee@hive1 .* 40\n", shown.out), shown.out
            assert re.search(r"rbee-hive@hive1 .* -\n", shown.out), shown.out
            listed = run("fleet", sink, "--policy", policy, "--json").json["lines"]
            seqs = {line["name"]: line.get("witnessed_through_seq") for line in listed}
            assert seqs["queen-rbee@hive1"] == 40
            assert seqs["rbee-hive@hive1"] is None
        alone = run("fleet", sink, "--all", "--policy", policy)
        assert "witness w2: " in alone.err
        assert re.search(r"queen-rbee@hive1 .* 0\n", alone.out), "one of two is no quorum"
    without = run("fleet", sink, "--all", "--json").json["lines"]
    assert not any("witnessed_through_seq" in line for line in without)
    assert "WITNESSED" not in run("fleet", sink, "--all").out
