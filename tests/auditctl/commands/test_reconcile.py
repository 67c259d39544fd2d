"""``auditctl reconcile`` and ``verify --against``: files, sink, receipt, exit codes."""

from __future__ import annotations

import sqlite3
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.support.elasticsearch import SecuredCluster
from tests.support.logs import LogBuilder, write_log
from tests.support.opensearch import OpenSearchCluster

if TYPE_CHECKING:
    from tests.auditctl.conftest import Result

DAY = "2026-11-23"


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    return write_log(tmp_path / "audit", records=20)


@pytest.fixture
def target(run: Callable[..., Result], built: LogBuilder, tmp_path: Path) -> Path:
    path = tmp_path / "records.sqlite"
    assert run("ship", built.directory, "--to", path, "--once").code == 0
    return path


def sql(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_whole_copy_is_one_line_a_log(
    run: Callable[..., Result], built: LogBuilder, target: Path
) -> None:
    result = run("reconcile", built.directory, "--to", target)
    assert result.code == 0
    assert result.out.startswith("ok     queen-rbee@hive1: 20 records in the files, 20 in sqlite-")


def test_what_is_missing_is_shipped_again_and_only_where_that_is_wanted(
    run: Callable[..., Result], built: LogBuilder, target: Path
) -> None:
    sql(target, "DELETE FROM records WHERE seq IN (3, 4)")
    for command in (
        ("reconcile", built.directory, "--to", target, "--dry-run"),
        ("verify", built.directory, "--against", target),
    ):
        seen = run(*command)
        assert seen.code == (3 if command[0] == "reconcile" else 1)
        assert f"       missing: {DAY} seq 3: it is not in the sink" in seen.out
    mended = run("reconcile", built.directory, "--to", target, "--json")
    assert mended.code == 0
    assert (mended.json["totals"]["missing"], mended.json["totals"]["reshipped"]) == (2, 2)
    assert run("verify", built.directory, "--against", target).code == 0


def test_the_receipt_can_be_checked_with_jq_and_sha256sum(
    run: Callable[..., Result], built: LogBuilder, target: Path, tmp_path: Path
) -> None:
    path = tmp_path / "receipt.json"
    assert run("reconcile", built.directory, "--to", target, "--receipt", path).code == 0
    receipt = orjson.loads(path.read_bytes())
    assert (receipt["schema"], receipt["ok"]) == ("auditctl.reconcile/1", True)
    ((day,),) = (log["days"] for log in receipt["logs"])
    hashes = b"".join(b"%b\n" % orjson.loads(line)["hash"].encode() for line in built.lines)
    computed = subprocess.run(["sha256sum"], input=hashes, capture_output=True, check=True).stdout
    assert day["files"] == day["sink"] == {
        "records": 20,
        "first_seq": 1,
        "last_seq": 20,
        "head_hash": built.hash,
        "hashes_sha256": computed.split()[0].decode(),
    }  # fmt: skip


def test_a_changed_copy_is_named_and_left_alone(
    run: Callable[..., Result], built: LogBuilder, target: Path
) -> None:
    sql(target, "UPDATE records SET line = replace(line, 'task-7', 'task-8') WHERE seq = 7")
    result = run("verify", "--json", built.directory, "--against", target)
    assert result.code == 1
    assert result.json["ok"], "the files are as they were"
    (log,) = result.json["against"]["logs"]
    assert [(f["kind"], f["seq"]) for f in log["findings"]] == [("different", 7)]
    assert run("reconcile", built.directory, "--to", target).code == 3


def test_what_is_not_shipped_yet_is_no_fault(
    run: Callable[..., Result], built: LogBuilder, target: Path
) -> None:
    built.append(5)
    result = run("reconcile", built.directory, "--to", target)
    assert result.code == 0
    assert "5 not shipped yet" in result.out


def test_a_sink_that_is_not_there_is_one_paragraph(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    missing = run("verify", built.directory, "--against", tmp_path / "missing.sqlite")
    assert (missing.code, missing.out) == (1, "")
    assert "missing.sqlite: it cannot be read" in missing.err
    assert run("reconcile", built.directory).code == 65


def configured(
    place: Path, built: LogBuilder, cluster: SecuredCluster | OpenSearchCluster, prefix: str
) -> Callable[[str], tuple[str, ...]]:
    """Write a configuration, and return the options of a command that somebody runs with it."""
    if isinstance(cluster, OpenSearchCluster):
        passwords = dict(cluster.passwords)
    else:
        passwords = {name: user.password for name, user in cluster.users.items()}
    for name, password in passwords.items():
        (place / name).write_text(password)
    config = place / "config.toml"
    config.write_text(
        f"directories = ['{built.directory}']\n[sinks.main]\nkind = 'elasticsearch'\n"
        f"urls = ['{cluster.url}']\nca_file = '{cluster.ca_file}'\n"
        f"index_prefix = '{prefix}'\nreplicas = 0\n"
        f"username = 'shipper'\npassword_file = '{place}/shipper'\n"
    )

    def options(name: str) -> tuple[str, ...]:
        user = ("--username", name, "--password-file", f"{place}/{name}")
        return ("--config", str(config), *user)

    return options


def test_the_roles_suffice_and_what_they_lack_is_said(
    run: Callable[..., Result],
    built: LogBuilder,
    secured_elasticsearch: SecuredCluster,
    tmp_path: Path,
) -> None:
    prefix = f"llama-orch-test-{uuid.uuid4().hex[:8]}"
    user = configured(tmp_path, built, secured_elasticsearch, prefix)
    try:
        check_roles_suffice(run, built, user, secured_elasticsearch.request, prefix)
    finally:
        secured_elasticsearch.request("DELETE", f"/{prefix}-2026.11.23")
        secured_elasticsearch.request("DELETE", f"/_index_template/{prefix}")


def test_the_roles_suffice_in_opensearch(
    run: Callable[..., Result], built: LogBuilder, opensearch: OpenSearchCluster, tmp_path: Path
) -> None:
    prefix = f"llama-orch-audit-{uuid.uuid4().hex[:8]}"
    user = configured(tmp_path, built, opensearch, prefix)
    try:
        check_roles_suffice(run, built, user, opensearch.ask, prefix)
    finally:
        opensearch.forget(prefix)


def check_roles_suffice(
    run: Callable[..., Result],
    built: LogBuilder,
    user: Callable[[str], tuple[str, ...]],
    ask: Callable[..., tuple[int, Any]],
    prefix: str,
) -> None:
    """Reconcile with one record gone, one changed and one added; ``ask`` may do anything."""
    assert run("setup", "elasticsearch", *user("setup")).code == 0
    assert run("ship", *user("shipper")[:2], "--once").code == 0
    refused = run("reconcile", *user("shipper"))
    assert refused.code == 1
    assert "cannot be read back" in refused.err
    assert "the role auditlog_auditor of deploy/" in refused.err
    assert run("reconcile", *user("reconciler"), "--dry-run").code == 0
    place = f"/{prefix}-2026.11.23/_doc/queen-rbee@hive1"
    assert ask("DELETE", f"{place}:5?refresh=true")[0] == 200
    changed = orjson.loads(built.lines[6]) | {"outcome": "failure"}
    assert ask("PUT", f"{place}:7?refresh=true", changed)[0] == 200
    stranger = orjson.loads(built.lines[7]) | {"seq": 99}
    assert ask("PUT", f"{place}:99?refresh=true", stranger)[0] == 201
    auditor = run("verify", "--against", "main", *user("auditor"), "--json")
    assert auditor.code == 1
    totals = auditor.json["against"]["totals"]
    assert (totals["missing"], totals["different"]) == (1, 1)
    mended = run("reconcile", *user("reconciler"), "--json")
    assert (mended.code, mended.json["totals"]["reshipped"]) == (3, 1)
    (log,) = mended.json["logs"]
    assert [(one["kind"], one["seq"]) for one in log["findings"]] == [
        ("different", 7),
        ("extra", 99),
    ]
    status, document = ask("GET", f"{place}:5")
    assert (status, document["_source"]) == (200, orjson.loads(built.lines[4]))
    for number in (7, 99):
        assert ask("DELETE", f"{place}:{number}?refresh=true")[0] == 200
    whole = run("reconcile", *user("reconciler"), "--json")
    assert (whole.code, whole.json["totals"]["reshipped"], whole.json["ok"]) == (0, 1, True)


def test_a_log_that_only_the_sink_has_is_missing_on_the_host(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    """Files, notes and cursors of the log are gone: nothing but the sink remembers it."""
    gone = write_log(built.directory, "rbee-hive@hive1", records=3)
    write_log(built.directory, "rbee-hive@gpu-7", records=1)
    config = tmp_path / "config.toml"
    config.write_text(
        f'directories = ["{built.directory}"]\nstate_dir = "{tmp_path / "state"}"\n'
        f'[sinks.main]\nkind = "sqlite"\npath = "{tmp_path / "records.sqlite"}"\n'
    )
    assert run("ship", "--once", "--config", config).code == 0
    assert run("reconcile", "--config", config).code == 0
    gone.active.unlink()
    for path in (tmp_path / "state").rglob("rbee-hive@hive1*"):
        path.unlink()
    result = run("reconcile", "--config", config, "--json")
    assert result.code == 3
    [lost] = [log for log in result.json["logs"] if not log["ok"]]
    assert (lost["log"], lost["findings"][0]["kind"]) == (gone.log, "missing_log")
    assert run("verify", "--config", config, "--against", "main").code == 1
    by_hand = run("reconcile", built.directory, "--to", tmp_path / "records.sqlite")
    assert by_hand.code == 0, "it may lie in another directory of the host"
    assert f"{gone.log}: no segment of this log is here" in by_hand.err
    forgotten = ("forget", gone.log, "--config", config, "--reason", "moved")
    assert run(*forgotten).code == 1, "nothing on the host knows it"
    assert run(*forgotten, "--force").code == 0
    assert run("reconcile", "--config", config).code == 0
