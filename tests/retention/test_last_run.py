"""The memory between runs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from retention.errors import StateDamaged
from retention.last_run import BootClock, LastRunStore
from retention.policy import Policy

if TYPE_CHECKING:
    from pathlib import Path

AT = dt.datetime(2026, 11, 23, 3, 17, 1, 2, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
TOTALS = {"keep": 1, "compress": 2, "delete": 3, "freed_bytes": 4}


def store(state_dir: Path, boot_id: str = "a", uptime: dt.timedelta = HOUR) -> LastRunStore:
    return LastRunStore(state_dir, lambda: BootClock(boot_id, uptime))


def test_round_trip(tmp_path: Path) -> None:
    policy = Policy(compression="gzip", keep_at_least=7)
    one, other = tmp_path / "one", tmp_path / "other"
    assert store(tmp_path).load(one) is None
    store(tmp_path).save(one, AT, policy, ("main",), TOTALS)
    store(tmp_path).save(other, AT + HOUR, Policy(), (), TOTALS)
    found = store(tmp_path).load(one)
    assert found is not None
    assert (found.at, found.policy, found.sinks) == (AT, policy, ("main",))
    assert store(tmp_path).load(tmp_path) is None


def test_rebooted(tmp_path: Path) -> None:
    store(tmp_path).save(tmp_path, AT, Policy(), (), TOTALS)
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
