"""``auditctl quarantine`` over a mapping that refuses documents, and one that takes them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from shippers.item import Document
from shippers.quarantine.store import Entry, Quarantine
from shippers.sinks.elasticsearch.index_template import index_template
from tests.support.elasticsearch import Cluster, request
from tests.support.logs import LogBuilder

if TYPE_CHECKING:
    from tests.auditctl.conftest import Result


def test_a_mended_mapping_lets_them_go_on(
    run: Callable[..., Result], elasticsearch: Cluster, index_prefix: str, tmp_path: Path
) -> None:
    audit = tmp_path / "audit"
    audit.mkdir()
    built = LogBuilder(audit)
    built.append(2)
    built.append(1, actor="no object")
    built.append(2)
    config = tmp_path / "config.toml"
    config.write_text(
        f"directories = ['{audit}']\nstate_dir = '{tmp_path}/state'\n[sinks.main]\n"
        f"kind = 'elasticsearch'\nurls = ['{elasticsearch.url}']\n"
        f"index_prefix = '{index_prefix}'\nreplicas = 0\n"
    )
    assert run("ship", "--config", config, "--once").code == 3
    listed = run("quarantine", "list", "--config", config, "--json")
    (entry,) = listed.json["entries"]
    assert (entry["kind"], entry["log"], entry["seq"]) == ("refused", built.log, 3)
    assert "no object" not in listed.out
    assert entry["id"] in run("quarantine", "list", "--config", config).out
    shown = run("quarantine", "show", entry["id"], "--config", config)
    assert shown.json["line"].encode() == built.lines[2]
    assert "actor" in shown.json["server_message"]

    again = run("quarantine", "retry", "--config", config)
    assert again.code == 3
    assert "main: 0 delivered, 1 left" in again.out
    index = f"{index_prefix}-2026.11.23"
    mended = index_template(index_prefix, replicas=0)["template"]
    mended["mappings"]["properties"]["actor"] = {"type": "object", "enabled": False}
    for name in ("user", "source"):
        del mended["mappings"]["properties"][name]
    # Its other records are lost with the old index: reconcile brings them back.
    assert request(elasticsearch.url, "DELETE", f"/{index}")[0] == 200
    assert request(elasticsearch.url, "PUT", f"/{index}", mended)[0] == 200
    done = run("quarantine", "retry", entry["id"], "--config", config, "--json")
    assert done.code == 0
    assert done.json["sinks"] == [{"sink": "main", "released": 1, "refused": [], "waiting": []}]
    assert run("quarantine", "list", "--config", config).out == "Nothing is in quarantine.\n"
    mended_again = run("reconcile", "--config", config)
    assert mended_again.code == 0
    stored = elasticsearch.documents(f"{index_prefix}-*")
    assert {orjson.dumps(hit["_source"]) + b"\n" for hit in stored.values()} == set(built.lines)


def test_an_entry_that_is_not_there_is_said(run: Callable[..., Result], tmp_path: Path) -> None:
    for command in ("show", "retry"):
        to = ("--to", tmp_path / "x.sqlite") if command == "retry" else ()
        result = run("quarantine", command, "0123", "--directory", tmp_path, *to)
        assert result.code == 1
        assert "there is no entry 0123" in result.err
    assert not (tmp_path / "x.sqlite").exists()
    assert run("quarantine", "retry", "--directory", tmp_path).code == 65


def test_an_alarm_is_acknowledged_and_status_calls_for_nobody(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    audit = tmp_path / "audit"
    audit.mkdir()
    built = LogBuilder(audit)
    built.append(5)
    built.active.write_bytes(b"".join(built.lines[:2] + built.lines[3:]))  # the third is gone
    config = tmp_path / "config.toml"
    config.write_text(
        f"directories = ['{audit}']\nstate_dir = '{tmp_path}/state'\n[sinks.main]\n"
        f"kind = 'sqlite'\npath = '{tmp_path}/index.sqlite'\n"
    )
    at = ("--config", config)
    run("ship", *at, "--once")
    (alarm,) = run("quarantine", "list", *at, "--json").json["entries"]
    assert alarm["kind"] == "chain_break"
    assert "main: 1 records or alarms are in quarantine" in run("status", *at).out
    assert run("quarantine", "retry", *at).out == "main: 0 delivered, 0 left\n"

    acknowledge = ("quarantine", "acknowledge", alarm["id"], *at)
    assert run(*acknowledge).code == 2, "a reason is needed"
    assert run(*acknowledge, "--reason", " ").code == 2
    assert run("quarantine", "acknowledge", "0123", *at, "--reason", "x").code == 1
    done = run(*acknowledge, "--reason", "disk replaced, case 7", "--by", "alice")
    assert (done.code, done.out) == (0, "1 alarm acknowledged by alice\n")
    assert run("quarantine", "list", *at).out == "Nothing is in quarantine.\n"
    assert "quarantine" not in run("status", *at).out
    (kept,) = run("quarantine", "list", "--acknowledged", *at, "--json").json["entries"]
    answer = kept.pop("acknowledged")
    assert kept == alarm
    assert (answer["by"], answer["reason"]) == ("alice", "disk replaced, case 7")
    listed = run("quarantine", "list", "--acknowledged", *at).out
    assert "alice" in listed
    assert "disk replaced, case 7" in listed
    shown = run("quarantine", "show", alarm["id"], *at).json
    assert shown["acknowledged"] == answer
    again = run(*acknowledge, "--reason", "x")
    assert (again.code, "there is no entry" in again.err) == (1, True)


def test_what_a_sink_refused_is_not_acknowledged_away(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    at = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    quarantine = Quarantine(tmp_path / ".auditlog", "main")
    quarantine.add([Entry("refused", "no", "queen-rbee@hive1", "", 0, 1, line=b"{}\n")], at)
    (entry,) = run("quarantine", "list", "--directory", tmp_path, "--json").json["entries"]
    result = run(
        "quarantine", "acknowledge", entry["id"], "--directory", tmp_path, "--reason", "never mind"
    )
    assert result.code == 1
    assert "not an alarm" in result.err
    assert "quarantine retry" in result.err
    assert run("quarantine", "list", "--directory", tmp_path, "--json").json["entries"] == [entry]


def test_list_shows_where_a_refused_line_is_and_why(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    audit = tmp_path / "audit"
    audit.mkdir()
    quarantine = Quarantine(audit / ".auditlog", "main")
    body = b'{"auditlog":{"source":{"name":"web","path":"/var/log/web.log","offset":77}},"a":1}\n'
    document = Document("web", "id", "2026-11-23T07:12:00.000000Z", body)
    segment = "queen-rbee@hive1.2026-11-23.0001.ndjson"
    entries = [
        Entry("refused", "mapper_parsing_exception", "web", "", 0, line=body, document=document),
        Entry("chain_break", "a record is missing", "queen-rbee@hive1", segment, 4096),
    ]
    quarantine.add(entries, dt.datetime(2026, 11, 23, tzinfo=dt.UTC))
    printed = run("quarantine", "list", "--directory", audit).out
    assert "/var/log/web.log:77" in printed
    assert f"{segment}:4096" in printed
    assert "mapper_parsing_exception" in printed
