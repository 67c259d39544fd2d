from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import orjson
import pytest

import auditlog
from auditlog.format.record import decode
from auditlog.reading.reader import open_segment
from tests.auditctl.export.test_bundle import check, unpack
from tests.support.elasticsearch import request
from tests.support.logs import LogBuilder, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result
    from tests.support.elasticsearch import Cluster

LOG = "queen-rbee@hive1"
NAME = "Ottilie Wetzlar"
ORDER = ("--reason", "request 17", "--by", "dpo@example.org")


@pytest.fixture
def log(tmp_path: Path) -> LogBuilder:
    """Two segments of a day, records 3 and 8 of Ottilie, and a third one that is the newest."""
    built = write_log(tmp_path / "audit", records=2)
    for records in (3, 3):
        built.append(1, actor={"user_id": "ottilie"}, details={"name": NAME}, salt="A" * 22)
        built.append(records)
        built.rotate()
    built.append(2)
    return built


@pytest.fixture
def shipped(run: Callable[..., Result], log: LogBuilder, tmp_path: Path) -> Path:
    """The configuration of a host that ships into a SQLite file, and has shipped everything."""
    config = tmp_path / "config.toml"
    config.write_text(
        f'directories = ["{log.directory}"]\nstate_dir = "{tmp_path / "state"}"\nhost = "hive1"\n'
        f'[sinks.main]\nkind = "sqlite"\npath = "{tmp_path / "main.sqlite"}"\n'
    )
    assert run("ship", "--once", "--config", config).code == 0
    return config


def holding(place: Path, text: str = NAME) -> list[str]:
    """The files that hold the text, decompressed or as they are."""
    found = []
    for path in sorted(place.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".zst":
                with open_segment(path) as stream:
                    content += stream.read()
            if text.encode() in content:
                found.append(path.name)
    return found


def erasures(directory: Path) -> list[dict[str, object]]:
    return [record.details for record in auditlog.read(directory, types="retention.record_erased")]


def test_the_plan_says_what_would_be_erased_and_changes_nothing(
    run: Callable[..., Result], log: LogBuilder
) -> None:
    before = {path: path.read_bytes() for path in log.directory.rglob("*") if path.is_file()}
    result = run("erase", "--dir", log.directory, "--actor", "ottilie", *ORDER, "--json")
    assert result.code == 0
    assert result.json["schema"] == "auditctl.erase/1"
    assert [(one["seq"], one["event_type"], one["done"]) for one in result.json["records"]] == [
        (3, "task_submitted", False),
        (7, "task_submitted", False),
    ]
    text = run("erase", "--dir", log.directory, "--actor", "ottilie", *ORDER)
    assert NAME not in text.out + text.err + result.out
    assert "2 records would be erased" in text.out
    assert "run it again with --confirm" in text.err
    assert {p: p.read_bytes() for p in log.directory.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("form", ["", ".zst", ".gz"])
def test_after_it_the_text_is_nowhere_and_everything_verifies(
    run: Callable[..., Result], log: LogBuilder, shipped: Path, tmp_path: Path, form: str
) -> None:
    if form:
        log.compress(0, form)
    result = run("erase", "--config", shipped, "--actor", "ottilie", *ORDER, "--confirm")
    assert result.code == 0, result.err
    assert holding(tmp_path) == []
    assert run("ship", "--once", "--config", shipped).code == 0  # the records of the erasure
    verified = run("verify", "--config", shipped, "--against", "main", "--json")
    assert verified.code == 0, verified.out
    ours = next(one for one in verified.json["logs"] if one["log"] == LOG)
    assert (ours["records"], ours["erased_records"]) == (len(log.lines), 2)
    assert [one["seq"] for one in ours["erased"]] == [3, 7]
    said = run("verify", "--config", shipped).out
    assert "2 records erased on " in said
    assert "request 17" in said
    assert run("reconcile", "--config", shipped).code == 0
    with closing(sqlite3.connect(tmp_path / "main.sqlite")) as connection:
        kept = connection.execute("SELECT count(*) FROM records WHERE log = ?", (LOG,)).fetchone()
    assert kept == (len(log.lines) - 2,)
    assert [one["by"] for one in erasures(log.directory)] == ["dpo@example.org"] * 2
    assert run("export", "--config", shipped, "-o", tmp_path / "out.tar.zst").code == 0
    assert check(unpack(tmp_path / "out.tar.zst", tmp_path))[0] == 0
    assert run("verify", tmp_path / "out.tar.zst").code == 0
    assert holding(tmp_path) == []


def test_one_record_by_its_number_with_its_legal_basis(
    run: Callable[..., Result], log: LogBuilder
) -> None:
    basis = ("--legal-basis", "GDPR art. 17(1)(b)")
    done = run("erase", LOG, "3", "--dir", log.directory, *ORDER, *basis, "--confirm")
    assert done.code == 0, done.err
    assert [(one["seq"], one["legal_basis"]) for one in erasures(log.directory)] == [
        (3, "GDPR art. 17(1)(b)")
    ]
    again = run("erase", LOG, "3", "--dir", log.directory, *ORDER, *basis, "--confirm")
    assert again.code == 0
    assert len(erasures(log.directory)) == 1


def test_a_lost_cursor_does_not_bring_it_back(
    run: Callable[..., Result], log: LogBuilder, shipped: Path, tmp_path: Path
) -> None:
    assert run("erase", "--config", shipped, LOG, "3", *ORDER, "--confirm").code == 0
    shutil.rmtree(tmp_path / "state" / "cursors")
    (tmp_path / "main.sqlite").unlink()
    assert run("ship", "--once", "--config", shipped).code == 0
    assert run("verify", "--config", shipped, "--against", "main").code == 0
    with closing(sqlite3.connect(tmp_path / "main.sqlite")) as connection:
        found = connection.execute("SELECT seq FROM records WHERE log = ?", (LOG,)).fetchall()
    assert sorted(found) == [(seq,) for seq in range(1, len(log.lines) + 1) if seq != 3]


def test_what_must_not_be_erased_is_refused(
    run: Callable[..., Result], log: LogBuilder, shipped: Path
) -> None:
    def refused(*arguments: object) -> str:
        result = run("erase", "--config", shipped, *arguments, *ORDER, "--confirm", "--json")
        assert result.code == 4, result.out
        (record,) = result.json["records"]
        assert record["done"] is False
        return str(record["refused"])

    log.append(1, event_type="log.heartbeat")
    assert run("ship", "--once", "--config", shipped).code == 0
    assert refused(LOG, log.seq).startswith("own:")
    log.append(1)
    assert "main has acknowledged up to seq" in refused(LOG, log.seq)
    hold = ("hold", "add", "case-7", "--owner", "legal", "--reason", "case 7", "--actor", "ottilie")
    assert run(*hold, "--config", shipped).code == 0
    assert refused(LOG, 3) == "held: hold case-7 of legal keeps its segment"
    with auditlog.open(log.directory, service="rbee-hive", host="hive1") as live:
        seq = live.emit("crash.test").wait().seq
        assert run("ship", "--once", "--config", shipped).code == 0
        assert refused("rbee-hive@hive1", seq).startswith("active: pid ")
    own = next(record for record in auditlog.read(log.directory) if "retention@" in record.log)
    assert refused(own.log, own.seq).startswith("own:")
    assert erasures(log.directory) == []
    assert run("verify", "--config", shipped).code == 0


def test_a_closed_log_gives_up_a_record_of_its_newest_segment(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    audit = tmp_path / "audit"
    with auditlog.open(audit, service="queen-rbee", host="hive1") as live:
        seq = live.emit("crash.test", details={"name": NAME}).wait().seq
    assert run("erase", LOG, seq, "--dir", audit, *ORDER, "--confirm").code == 0
    with auditlog.open(audit, service="queen-rbee", host="hive1") as live:
        live.emit("crash.test").wait()
    assert run("verify", audit).code == 0
    assert holding(tmp_path) == []


def test_a_sink_that_fails_is_told_and_finished_later(
    run: Callable[..., Result], log: LogBuilder, shipped: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "main.sqlite")) as connection:
        connection.execute("ALTER TABLE records RENAME TO hidden")
    failed = run("erase", "--config", shipped, "--actor", "ottilie", *ORDER, "--confirm")
    assert failed.code == 3
    assert "sink main: not deleted: SQLite" in failed.err
    assert "--finish" in failed.err
    with closing(sqlite3.connect(tmp_path / "main.sqlite")) as connection:
        connection.execute("ALTER TABLE hidden RENAME TO records")
    against = run("verify", "--config", shipped, "--against", "main")
    assert (against.code, against.out.count("still in the sink")) == (1, 2)
    assert run("erase", "--finish", "--config", shipped, "--confirm").code == 0
    assert run("ship", "--once", "--config", shipped).code == 0
    assert run("verify", "--config", shipped, "--against", "main").code == 0
    assert holding(tmp_path) == []
    assert len(erasures(log.directory)) == 2


def test_a_backup_that_is_put_back_is_erased_again_without_a_new_record(
    run: Callable[..., Result], log: LogBuilder
) -> None:
    backup = log.paths[0].read_bytes()
    done = ("erase", LOG, "3", "--dir", log.directory, *ORDER, "--confirm")
    assert run(*done).code == 0
    log.paths[0].write_bytes(backup)
    verified = run("verify", log.directory)
    assert (verified.code, "erasure_unfinished" in verified.out) == (0, True)
    assert run("erase", "--finish", "--dir", log.directory, "--confirm").code == 0
    assert (holding(log.directory), len(erasures(log.directory))) == ([log.paths[1].name], 1)


def test_quarantine_and_temporary_files_are_purged(
    run: Callable[..., Result], log: LogBuilder, shipped: Path, tmp_path: Path
) -> None:
    place = tmp_path / "state" / "quarantine"
    (place / "acknowledged").mkdir(parents=True)
    line = log.lines[2].decode()
    entry = {
        "v": 1, "at": "2026-11-24T00:00:00.000000Z", "sink": "main", "kind": "refused",
        "reason": "refused", "status": 400, "server_message": f"failed on {NAME}", "log": LOG,
        "segment": log.paths[0].name, "offset": 0, "seq": 3, "line": line,
    }  # fmt: skip
    for path in (place / "main.ndjson", place / "acknowledged" / "main.ndjson"):
        path.write_bytes(orjson.dumps(entry) + b"\n")
    (log.directory / f".{log.paths[0].name}.tmp").write_bytes(log.lines[2])
    (log.directory / f".{log.paths[0].name}.zst.tmp").write_bytes(log.lines[2])
    (place / ".main.ndjson.release").write_bytes(log.lines[2])
    assert holding(tmp_path)
    assert run("erase", "--config", shipped, "--actor", "ottilie", *ORDER, "--confirm").code == 0
    assert holding(tmp_path) == []


def test_an_old_record_without_a_salt_is_warned_of(
    run: Callable[..., Result], log: LogBuilder
) -> None:
    assert "salt" not in decode(log.lines[0]).fields
    result = run("erase", LOG, "1", "--dir", log.directory, *ORDER)
    assert result.code == 0
    assert "1 record without a salt" in result.err


def test_the_report_counts_erasures(run: Callable[..., Result], log: LogBuilder) -> None:
    assert run("erase", LOG, "3", "--dir", log.directory, *ORDER, "--confirm").code == 0
    report = run("report", log.directory, "--json")
    assert [(one["log"], one["seq"]) for one in report.json["erased"]] == [(LOG, 3)]


def test_the_arguments_are_checked(run: Callable[..., Result], log: LogBuilder) -> None:
    place = ("--dir", log.directory)
    assert run("erase", *place, *ORDER).code == 2
    assert run("erase", LOG, *place, *ORDER).code == 2
    assert run("erase", LOG, "3", *place).code == 2
    assert run("erase", LOG, "3", "--actor", "x", *place, *ORDER).code == 2
    assert run("erase", LOG, "99", *place, *ORDER).code == 1


@pytest.mark.elasticsearch
def test_the_document_goes_from_elasticsearch_and_a_blocked_index_is_told(
    run: Callable[..., Result],
    log: LogBuilder,
    tmp_path: Path,
    elasticsearch: Cluster,
    index_prefix: str,
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'directories = ["{log.directory}"]\nstate_dir = "{tmp_path / "state"}"\nhost = "hive1"\n'
        f'[sinks.main]\nkind = "elasticsearch"\nurls = ["{elasticsearch.url}"]\n'
        f'index_prefix = "{index_prefix}"\nreplicas = 0\n'
    )
    assert run("ship", "--once", "--config", config).code == 0
    index = f"{index_prefix}-2026.11.23"
    blocks = {"index": {"blocks": {"write": True}}}
    assert request(elasticsearch.url, "PUT", f"/{index}/_settings", blocks)[0] == 200
    failed = run("erase", "--config", config, "--actor", "ottilie", *ORDER, "--confirm")
    assert failed.code == 3
    assert "blocked for writing" in failed.err
    blocks["index"]["blocks"]["write"] = False
    assert request(elasticsearch.url, "PUT", f"/{index}/_settings", blocks)[0] == 200
    assert run("erase", "--finish", "--config", config, "--confirm").code == 0
    there = [
        seq
        for seq in range(1, len(log.lines) + 1)
        if request(elasticsearch.url, "GET", f"/{index}/_doc/{LOG}:{seq}")[0] == 200
    ]
    assert there == [seq for seq in range(1, len(log.lines) + 1) if seq not in (3, 7)]
    assert run("ship", "--once", "--config", config).code == 0
    assert run("verify", "--config", config, "--against", "main").code == 0
