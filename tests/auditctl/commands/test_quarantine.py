"""``auditctl quarantine`` over a mapping that refuses documents, and one that takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from shippers.sinks.index_template import index_template
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
    assert "main: 0 released, 1 left" in again.out
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
