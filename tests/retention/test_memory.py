"""The memory between runs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from retention.errors import StateDamaged
from retention.memory import BootClock, IndexRunStore, RunStore
from retention.policy import IndexPolicy, RetentionPolicy

if TYPE_CHECKING:
    from pathlib import Path

AT = dt.datetime(2026, 11, 23, 3, 17, 1, 2, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
TOTALS = {"keep": 1, "compress": 2, "delete": 3, "freed_bytes": 4}


def store(state_dir: Path, boot_id: str = "a", uptime: dt.timedelta = HOUR) -> RunStore:
    return RunStore(state_dir, lambda: BootClock(boot_id, uptime))


def test_round_trip(tmp_path: Path) -> None:
    policy = RetentionPolicy(compression="gzip", keep_at_least=7)
    one, other = tmp_path / "one", tmp_path / "other"
    assert store(tmp_path).load(one) is None
    store(tmp_path).save(one, AT, policy, ("main",), TOTALS)
    store(tmp_path).save(other, AT + HOUR, RetentionPolicy(), (), TOTALS)
    found = store(tmp_path).load(one)
    assert found is not None
    assert (found.at, found.policy, found.sinks) == (AT, policy, ("main",))
    assert store(tmp_path).load(tmp_path) is None


def test_confirmed(tmp_path: Path) -> None:
    """confirmed: a confirmed policy is remembered, and the last success stays as it was"""
    policy = RetentionPolicy(keep_at_least=7)
    store(tmp_path).confirm(tmp_path, policy, ("main",))
    assert store(tmp_path).load(tmp_path) is None
    store(tmp_path).save(tmp_path, AT, RetentionPolicy(), (), TOTALS)
    store(tmp_path, uptime=3 * HOUR).confirm(tmp_path, policy, ("main",))
    found = store(tmp_path, uptime=5 * HOUR).load(tmp_path)
    assert found is not None
    assert (found.at, found.elapsed) == (AT, 4 * HOUR)
    assert (found.policy, found.sinks) == (policy, ("main",))


def test_rebooted(tmp_path: Path) -> None:
    store(tmp_path).save(tmp_path, AT, RetentionPolicy(), (), TOTALS)
    same = store(tmp_path, uptime=5 * HOUR).load(tmp_path)
    anew = store(tmp_path, boot_id="b", uptime=5 * HOUR).load(tmp_path)
    assert same is not None
    assert anew is not None
    assert (same.elapsed, anew.elapsed) == (4 * HOUR, None)


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"directories":{"%s":{}}}'])
def test_unreadable(tmp_path: Path, damage: str) -> None:
    path = store(tmp_path).path
    path.write_text(damage.replace("%s", str(tmp_path.resolve())))
    with pytest.raises(StateDamaged, match="cannot be read"):
        store(tmp_path).load(tmp_path)


def test_the_kernel_tells_a_boot_id() -> None:
    before, after = BootClock.read(), BootClock.read()
    assert before.boot_id == after.boot_id != ""
    assert before.uptime <= after.uptime


# Over indices -----------------------------------------------------------------------------------

INDICES = IndexPolicy("main", ("http://es:9200",), "llama-orch-audit", 30 * DAY)


def clock() -> BootClock:
    return BootClock("boot", dt.timedelta(hours=5))


def test_a_run_over_indices_is_remembered(tmp_path: Path) -> None:
    IndexRunStore(tmp_path, clock).save(INDICES, AT)
    loaded = IndexRunStore(tmp_path, clock).load("main")
    assert loaded is not None
    assert (loaded.at, loaded.delete_after, loaded.target) == (AT, 30 * DAY, INDICES.target)
    assert loaded.elapsed == dt.timedelta(0)
    rebooted = IndexRunStore(tmp_path, lambda: BootClock("other", DAY)).load("main")
    assert rebooted is not None
    assert rebooted.elapsed is None


@pytest.mark.parametrize("text", ["", "{}", '{"sinks": {"main": {}}}', "[1]"])
def test_unreadable_over_indices(tmp_path: Path, text: str) -> None:
    store = IndexRunStore(tmp_path, clock)
    store.path.write_text(text)
    with pytest.raises(StateDamaged, match="cannot be read"):
        store.load("main")


def test_forgotten(tmp_path: Path) -> None:
    store = IndexRunStore(tmp_path, clock)
    store.save(INDICES, AT)
    store.forget_others({"main"})
    assert store.load("main") is not None
    store.forget_others(())
    assert store.load("main") is None
