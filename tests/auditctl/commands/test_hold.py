from __future__ import annotations

import datetime as dt
import shutil
from typing import TYPE_CHECKING

import pytest

import auditlog
from auditlog.verification.verify import verify
from auditlog.writer.opening import ReservedService, open_log
from retention.holds import Hold, HoldStore
from tests.support.logs import START, LogBuilder, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result

AT = (START + dt.timedelta(days=200)).isoformat()
CASE = ("--owner", "legal@example.org", "--reason", "subpoena 7")


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    """Six old segments; bob is in the second and, compressed, in the third."""
    built = write_log(tmp_path / "audit", records=3)
    for day in range(1, 6):
        built.at = START + dt.timedelta(days=day)
        built.append(3, actor={"user_id": "bob" if day < 3 else "alice"}, correlation_id="req-1")
    built.compress(2)
    return built


def reasons(run: Callable[..., Result], built: LogBuilder, *more: str) -> list[str]:
    result = run("prune", built.directory, "--at", AT, "-n", "--confirm", "--json", *more)
    return [a["reason"] for a in result.json["actions"] if a["log"] == built.log]


def recorded(built: LogBuilder) -> list[tuple[str, str, str]]:
    """Read the records about holds in retention's own log: type, id, actor."""
    return [
        (record.event_type, record.fields["details"]["id"], record.fields["actor"]["user_id"])
        for record in auditlog.read(built.directory, log_events=True)
        if record.event_type.startswith("retention.hold")
    ]


def test_a_hold_keeps_until_it_is_released_and_both_are_in_the_chain(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    where = ("--dir", built.directory)
    assert reasons(run, built) == ["age"] * 5 + ["active"]
    assert run("hold", "add", "case-7", *where, *CASE, "--actor", "bob").code == 0
    assert reasons(run, built) == ["age", "held", "held", "age", "age", "active"]
    assert run("prune", built.directory, "--at", AT, "--confirm").code == 0
    assert [path.name in {p.name for p in built.directory.iterdir()} for path in built.paths] == [
        False, True, False, False, False, True,
    ]  # fmt: skip
    assert built.path(2).suffix == ".zst"

    listed = run("hold", "list", *where)
    assert "case-7  legal@example.org  yes       * actor=bob" in listed.out
    released = run("hold", "release", "case-7", *where, "--reason", "closed", "--json")
    assert released.json["holds"][0]["id"] == "case-7"
    assert released.json["holds"][0]["in_force"] is False
    assert run("hold", "list", *where).err == "There is no hold.\n"
    assert reasons(run, built) == ["age", "age", "active"]
    types = [(event, hold) for event, hold, who in recorded(built) if who]
    assert types == [("retention.hold_added", "case-7"), ("retention.hold_released", "case-7")]
    last = [
        r
        for r in auditlog.read(built.directory, log_events=True)
        if r.event_type.endswith("_released")
    ][-1]
    assert last.fields["details"]["release_reason"] == "closed"
    assert last.fields["details"]["owner"] == "legal@example.org"
    assert verify(built.directory).ok


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--logs", "queen-*"], 5),
        (["--logs", "rbee-*"], 0),
        (["--until", "2026-11-25T00:00:00Z"], 2),
        (["--from", "2026-11-26T00:00:00Z"], 2),
        (["--correlation-id", "req-1"], 4),
        (["--correlation-id", "req-9"], 0),
        (["--actor", "bob", "--from", "2026-11-25T00:00:00Z"], 1),
        (["--expires", "2027-01-01T00:00:00Z"], 0),  # ended by the instant of the plan
    ],
)
def test_what_a_hold_keeps(
    run: Callable[..., Result], built: LogBuilder, options: list[str], kept: int
) -> None:
    assert run("hold", "add", "x", "--dir", built.directory, *CASE, *options).code == 0
    assert reasons(run, built).count("held") == kept


def test_mistakes_are_told_and_change_nothing(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    where = ("--dir", built.directory)
    assert run("hold", "add", "x", *where, "--owner", "legal").code == 2  # no reason
    assert run("hold", "add", "a/b", *where, *CASE).code == 1
    assert "no hold 'x'" in run("hold", "release", "x", *where, "--reason", "y").err
    assert run("hold", "list", *where, "--json").json == {"schema": "auditctl.hold/1", "holds": []}
    assert recorded(built) == []
    assert run("hold", "add", "x", *where, *CASE).code == 0
    assert "already" in run("hold", "add", "x", *where, *CASE).err
    assert len(recorded(built)) == 1


def test_a_hold_that_cannot_be_recorded_is_in_force_and_is_not_released(
    run: Callable[..., Result], built: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process writes retention's log for longer than anybody waits."""
    where = ("--dir", built.directory)
    monkeypatch.setenv("AUDITLOG_HOST", "hive1")
    store = HoldStore(built.directory / ".auditlog")
    with open_log(built.directory, service=ReservedService("retention"), host="hive1"):
        added = run("hold", "add", "x", *where, *CASE)
        assert added.code == 75
        assert [held.id for held in store.load()] == ["x"]
        released = run("hold", "release", "x", *where, "--reason", "y", "--wait", "1s")
        assert released.code == 75
        assert [held.id for held in store.load()] == ["x"]
    assert run("hold", "release", "x", *where, "--reason", "y").code == 0
    assert store.load() == ()


@pytest.mark.parametrize("lost", ["holds.json", "state"])
def test_a_hold_outlives_its_file(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path, lost: str
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f"directories = ['{built.directory}']\nstate_dir = '{tmp_path}/state'\n")
    where = ("--config", config)
    prune = ("prune", *where, "--at", AT, "--confirm", "--json")
    assert run("hold", "add", "case-7", *where, *CASE, "--actor", "bob").code == 0
    assert "hold case-7" not in run("status", *where).out
    if lost == "state":
        shutil.rmtree(tmp_path / "state")
    else:
        (tmp_path / "state/holds.json").unlink()
    status = run("status", *where)
    assert status.code == 1
    assert "hold case-7 is on record and not in" in status.out
    assert "case-7" in run("hold", "list", *where).out
    kept = [a["reason"] for a in run(*prune).json["actions"] if a["log"] == built.log]
    assert kept == ["age", "held", "held", "age", "age", "active"]
    assert "already" in run("hold", "add", "case-7", *where, *CASE).err
    assert run("hold", "release", "case-7", *where, "--reason", "closed").code == 0
    assert "hold case-7" not in run("status", *where).out
    kept = [a["reason"] for a in run(*prune).json["actions"] if a["log"] == built.log]
    assert kept == ["age", "age", "active"]


def test_a_hold_that_is_not_on_record_keeps_and_is_told_of(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    HoldStore(built.directory / ".auditlog").add(Hold("x", "legal", "audit"))
    assert "hold x is in" in run("status", built.directory).out
    assert reasons(run, built) == ["held"] * 5 + ["active"]


def test_instants_may_be_given_as_durations(run: Callable[..., Result], built: LogBuilder) -> None:
    """200d ago for the records of a hold; in 10d for its end, and for a plan."""
    given = ("--from", "200d", "--until", "100d", "--expires", "10d", "--json")
    now = dt.datetime.now(dt.UTC)
    [hold] = run("hold", "add", "x", "--dir", built.directory, *CASE, *given).json["holds"]
    plan = run("prune", built.directory, "-n", "--at", "90d", "--json").json
    found = [dt.datetime.fromisoformat(hold[f"{word}_at"]) for word in ("from", "until", "expires")]
    found.append(dt.datetime.fromisoformat(plan["at"]))
    days = [round((at - now) / dt.timedelta(days=1)) for at in found]
    assert days == [-200, -100, 10, 90]
