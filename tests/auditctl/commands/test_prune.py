from __future__ import annotations

import contextlib
import datetime as dt
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from auditlog.cursors import Cursor, CursorStore
from auditlog.verification.verify import verify
from retention.lock import locked
from tests.support.logs import START, LogBuilder, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result

AT = (START + dt.timedelta(days=100)).isoformat()


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    """Segments that are 100, 80, 60, 40 and 20 days old at AT."""
    return write_log(tmp_path / "audit", records=3, segments=5, days=20)


def verbs(result: Result) -> list[tuple[str, str]]:
    return [(action["action"], action["reason"]) for action in result.json["actions"]]


def test_a_dry_run_shows_the_plan_and_changes_nothing(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    before = sorted(built.directory.rglob("*"))
    result = run("prune", built.directory, "--at", AT, "--dry-run")
    assert result.code == 0
    assert "1 would be deleted" in result.out
    assert (
        f"delete    {built.names[0]}  {built.paths[0].stat().st_size / 1024:.1f} KiB" in result.out
    )
    assert sorted(built.directory.rglob("*")) == before


def test_the_real_run_does_what_the_plan_said_and_the_chain_still_verifies(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    planned = run("prune", built.directory, "--at", AT, "--dry-run", "--json")
    done = run("prune", built.directory, "--at", AT, "--json")
    assert (planned.code, done.code) == (0, 0)
    assert verbs(planned) == verbs(done)
    assert verbs(done) == [
        ("delete", "age"), ("compress", "age"), ("compress", "age"), ("compress", "age"),
        ("keep", "active"),
    ]  # fmt: skip
    assert done.json["schema"] == "auditctl.prune/1"
    assert done.json["totals"]["delete"] == 1
    assert not built.paths[0].exists()
    assert built.path(1).suffix == ".zst"
    assert verify(built.directory).ok
    told = run("verify", built.directory).out
    assert re.search(r"seq 4 to 15, 3 records deleted under policy on \d{4}-\d\d-\d\d;", told)


def test_flags_set_the_policy(run: Callable[..., Result], built: LogBuilder) -> None:
    result = run(
        "prune", built.directory, "--at", AT, "-n", "--json",
        "--compress-after", "70d", "--delete-after", "1000d",
    )  # fmt: skip
    assert [verb for verb, _ in verbs(result)] == ["compress", "compress", "keep", "keep", "keep"]


def test_without_a_sink_it_says_that_nothing_waits(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    assert "nothing waits for being shipped" in run("prune", built.directory, "-n", "--at", AT).err


def test_a_sink_that_ever_had_a_cursor_guards_what_it_does_not_have(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    header = built.headers[2]
    cursor = Cursor(
        built.log,
        built.names[0].logical,
        built.paths[0].stat().st_size,
        header.seq,
        header.hash,
        START,
    )
    CursorStore(built.directory / ".auditlog").save("seen", cursor)
    result = run("prune", built.directory, "-n", "--at", AT, "--json")
    assert "waiting for those seen so far: seen" in result.err
    assert [reason for _, reason in verbs(result)] == [
        "age", "not_shipped", "not_shipped", "not_shipped", "active",
    ]  # fmt: skip


def test_a_sink_named_by_hand_guards_too(run: Callable[..., Result], built: LogBuilder) -> None:
    result = run("prune", built.directory, "-n", "--at", AT, "--json", "--sink", "other")
    assert {reason for _, reason in verbs(result)} == {"not_shipped", "active"}


def test_a_configured_directory_keeps_its_sinks_when_it_is_given_by_hand(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        f"directories = ['{built.directory}']\nstate_dir = '{tmp_path}/state'\n"
        f"[sinks.main]\nkind = 'sqlite'\npath = '{tmp_path}/x.sqlite'\n"
    )
    result = run("prune", f"{built.directory}/.", "--config", config, "-n", "--at", AT, "--json")
    assert {reason for _, reason in verbs(result)} == {"not_shipped", "active"}


def test_a_segment_put_back_after_its_turn_is_kept_until_it_is_shipped(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    ship = ("ship", built.directory, "--to", tmp_path / "r.sqlite", "--once")
    away = built.paths[0].rename(tmp_path / built.paths[0].name)
    assert run(*ship).code == 0
    away.rename(built.paths[0])
    prune = ("prune", built.directory, "-n", "--at", AT, "--json")
    assert [reason for _, reason in verbs(run(*prune))] == ["not_shipped", *["age"] * 3, "active"]
    assert run(*ship).code == 0
    assert [reason for _, reason in verbs(run(*prune))] == [*["age"] * 4, "active"]
    with contextlib.closing(sqlite3.connect(tmp_path / "r.sqlite")) as records:
        (count,) = records.execute("SELECT count(*) FROM records").fetchone()
    assert count == len(built.lines)


def test_the_circuit_breaker_stops_with_4_until_confirmed(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    arguments = ("prune", built.directory, "--at", AT, "--compress-after", "1d")
    arguments += ("--delete-after", "30d")
    refused = run(*arguments)
    assert refused.code == 4
    assert "--confirm" in refused.err
    assert all(path.exists() for path in built.paths)
    assert run(*arguments, "--dry-run").code == 4
    refused_json = run(*arguments, "--json")
    assert refused_json.json["refusals"]
    confirmed = run(*arguments, "--confirm")
    assert confirmed.code == 0
    assert "confirmed too_many_deletes: " in confirmed.out
    assert "refused" not in confirmed.out
    assert not built.paths[0].exists()


def test_a_second_run_at_the_same_time_is_locked_out(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    with locked(built.directory / ".auditlog/retention.lock"):
        result = run("prune", built.directory, "--at", AT)
    assert result.code == 75
    assert "pid" in result.err
    assert all(path.exists() for path in built.paths)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--at", "tomorrow"], 2, "tomorrow"),
        (["--at", "2026-12-24T00:00:00"], 2, "time zone"),
        (["--delete-after", "90"], 2, "duration"),
        (["--delete-after", "10d"], 65, "not longer than"),
        (["--compress-after", "0d"], 65, "longer than zero"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(
    run: Callable[..., Result], built: LogBuilder, arguments: list[str], code: int, says: str
) -> None:
    result = run("prune", built.directory, *arguments)
    assert result.code == code
    assert says in result.err


def test_the_deletions_of_each_directory_have_a_log_of_their_own(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    logs = ("queen-rbee@hive1", "rbee-hive@hive1", "other@hive1")
    for name, log in zip("abc", logs, strict=True):
        write_log(tmp_path / name, log, records=3, segments=5, days=20)
    config = tmp_path / "c.toml"
    directories = ", ".join(f"'{tmp_path}/{name}'" for name in "abc")
    config.write_text(f"directories = [{directories}]\nstate_dir = '{tmp_path}/state'\n")
    assert run("prune", "--config", config, "--at", AT).code == 0
    proofs = {path.name.split(".2")[0] for path in tmp_path.glob("?/retention@*")}
    assert len(proofs) == 3
    assert run("config", "check", "--config", config).code == 0
    assert run("verify", "--config", config).code == 0


def test_explain_tells_every_rule_that_looked_at_a_segment(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    built.compress(1)
    before = sorted(built.directory.rglob("*"))
    old = run("prune", built.directory, "--at", AT, "--explain", built.paths[0], "--sink", "main")
    assert old.code == 0
    assert old.out.startswith(f"keep {built.names[0]} (not_shipped: ")
    rules = [line.split()[:2] for line in old.out.splitlines()[1:]]
    assert rules == [
        ["damaged", "lets"], ["active", "lets"], ["not_shipped", "keeps"],
        ["too_recent", "lets"], ["held", "lets"],
    ]  # fmt: skip
    young = run(
        "prune", built.directory, "--at", AT, "--explain", f"{built.names[1]}.zst", "--json"
    ).json
    assert (young["schema"], young["action"]) == ("auditctl.explain/1", "keep")
    assert [rule["rule"] for rule in young["rules"] if rule["keeps"]] == ["too_recent"]
    assert sorted(built.directory.rglob("*")) == before
    assert run("prune", built.directory, "--explain", "none.ndjson").code == 2


def test_a_limit_that_cannot_be_reached_is_said(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        f"directories = ['{built.directory}']\n[retention]\nmax_total_bytes = '1B'\n"
        "compress_after = '200d'\ndelete_after = '300d'\n"
    )
    result = run("prune", "--config", config, "--dry-run", "--at", built.at.isoformat())
    assert "above max_total_bytes, since the rules keep the rest" in result.err
    assert "size: " in result.out


def test_a_sink_that_left_the_configuration_needs_a_person(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"

    def configure(*sinks: str) -> None:
        tables = (f"[sinks.{s}]\nkind = 'sqlite'\npath = '{tmp_path}/{s}.sqlite'\n" for s in sinks)
        trusting = "[retention]\nverify_before_delete = 'none'\n"
        config.write_text(f"directories = ['{built.directory}']\n{trusting}" + "".join(tables))
        for sink in sinks:
            CursorStore(built.directory / ".auditlog").save(
                sink,
                Cursor(
                    built.log,
                    built.names[-1].logical,
                    built.paths[-1].stat().st_size,
                    built.seq,
                    built.hash,
                    START,
                ),
            )

    configure("one", "two")
    configure("one")
    arguments = ("prune", "--config", config, "--at", AT)
    refused = run(*arguments)
    assert refused.code == 4
    assert "two once received records" in refused.err
    assert built.paths[0].exists()
    assert run(*arguments, "--confirm").code == 0
    assert not built.paths[0].exists()


def test_a_directory_that_is_not_mounted_stops_only_itself(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f"directories = ['{tmp_path}/mount', '{built.directory}']\nstate_dir = '{tmp_path}/state'\n"
    )
    result = run("prune", "--config", config, "--at", AT, "--confirm", "--json")
    assert result.code == 3
    assert f"{tmp_path}/mount: there is no such directory" in result.err
    assert result.json["totals"]["compress"] + result.json["totals"]["delete"] > 0
