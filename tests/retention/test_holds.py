"""Legal holds."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.errors import Busy, RetentionError, StateDamaged
from retention.holds import Hold, HoldStore
from retention.lock import locked

if TYPE_CHECKING:
    from pathlib import Path

instants = st.datetimes(timezones=st.just(dt.UTC))
AT = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
HOLD = Hold("case-7", "legal@example.org", "subpoena 7", "queen-rbee@*")


def test_round_trip(tmp_path: Path) -> None:
    store = HoldStore(tmp_path / "state")
    other = Hold("case-8", "legal", "audit", "*", AT, AT + dt.timedelta(days=1), AT)
    assert store.load() == ()
    store.add(HOLD)
    store.add(other)
    assert store.load() == (HOLD, other)
    assert store.release("case-7") == HOLD
    assert store.load() == (other,)


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"holds":[{"id":"x"}]}',
        '{"holds":7}',
        '{"holds":[7]}',
        '{"holds":null}',
    ],
)
def test_never_lost(tmp_path: Path, damage: str) -> None:
    store = HoldStore(tmp_path)
    store.path.write_text(damage)
    with pytest.raises(StateDamaged, match="cannot be read"):
        store.load()
    with pytest.raises(StateDamaged):
        store.add(HOLD)
    assert store.path.read_text() == damage


@given(expires_at=instants, now=instants)
def test_expired(expires_at: dt.datetime, now: dt.datetime) -> None:
    hold = Hold("x", "legal", "audit", expires_at=expires_at)
    assert hold.in_force(now) == (now < expires_at)
    assert Hold("x", "legal", "audit").in_force(now)


def test_a_taken_id_and_an_unknown_one_are_refused(tmp_path: Path) -> None:
    store = HoldStore(tmp_path)
    store.add(HOLD)
    with pytest.raises(RetentionError, match="already"):
        store.add(HOLD)
    with pytest.raises(RetentionError, match="no hold 'case-9'"):
        store.release("case-9")


def test_two_people_do_not_change_the_holds_at_once(tmp_path: Path) -> None:
    with locked(tmp_path / "holds.lock"), pytest.raises(Busy, match="pid"):
        HoldStore(tmp_path).add(HOLD)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "a/b"},
        {"owner": " "},
        {"reason": ""},
        {"logs": ""},
        {"from_at": dt.datetime(2026, 1, 1)},  # noqa: DTZ001  (without a zone on purpose)
        {"from_at": AT, "until_at": AT},
    ],
)
def test_a_hold_that_nobody_could_account_for_is_refused(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"id": "x", "owner": "legal", "reason": "audit", **wrong}
    with pytest.raises(RetentionError):
        Hold(**fields)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("first", "last", "covered"),
    [(-2, -1, False), (-2, 0, True), (0, 1, True), (23, 30, True), (24, 30, False), (-9, 99, True)],
)
def test_a_hold_covers_what_its_time_range_touches(first: int, last: int, covered: bool) -> None:
    hold = Hold("x", "legal", "audit", "q*", AT, AT + dt.timedelta(days=1))
    hours = [AT + dt.timedelta(hours=hour) for hour in (first, last)]
    assert hold.covers("queen-rbee@hive1", *hours) == covered
    assert not hold.covers("rbee-hive@hive1", *hours)


def test_recorded(tmp_path: Path) -> None:
    """Recorded or stored, a hold is in force; either alone is a difference."""
    one, other = Hold("one", "legal", "audit"), Hold("other", "legal", "audit", actor="alice")
    store = HoldStore(tmp_path, [one])
    store.add(other)
    assert store.load() == (other, one)
    assert [each.split()[1] for each in store.differences()] == ["other", "one"]
    assert HoldStore(tmp_path, [other]).differences() == ()
    store.release("one")
    assert store.get("one") == one, "its release is not on record"
    with pytest.raises(RetentionError, match="already"):
        store.add(replace(one, reason="another"))
