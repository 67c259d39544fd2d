"""Which indices go: properties over any listing, policy, holds, cursors and instants."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.index_names import IndexNames
from retention.breaker import LastIndexRun
from retention.errors import PolicyError
from retention.holds import Hold
from retention.plan import IndexPlan, plan_indices
from retention.policy import IndexPolicy
from retention.subjects import Index

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
PREFIX = "llama-orch-audit"
START = dt.datetime(2026, 9, 1, tzinfo=dt.UTC)
OTHERS = [
    "llama-orch-journal-2026.09.01",
    f"{PREFIX}-2026.09.01-restored",
    f"{PREFIX}-2026.9.1",
    f"{PREFIX}-2026.02.30",
    f"{PREFIX}-2026.09.01\n",
    f"{PREFIX}-x-2026.09.01",
    f".ds-{PREFIX}-2026.09.01",
    f"{PREFIX}2026.09.01",
    f"{PREFIX}-٢٠٢٦.09.01",
    "precious",
]

days = st.dates(dt.date(2026, 9, 1), dt.date(2026, 12, 31))
instants = st.integers(0, 270 * 24 * 60).map(lambda m: START + dt.timedelta(minutes=m))
ours = days.map(lambda day: f"{PREFIX}-{day:%Y.%m.%d}")
others = st.sampled_from(OTHERS)
listings = st.lists(ours | others, unique=True, max_size=12).map(
    lambda names: [Index(name, f"uuid-{name}", 3, 100) for name in names]
)
holds = st.lists(
    st.builds(
        lambda number, starts, length, expires: Hold(
            f"h{number}",
            "legal",
            "case",
            logs="rbee-hive@*",
            actor="alice",
            from_at=starts,
            until_at=None if starts is None or length is None else starts + length * DAY,
            expires_at=expires,
        ),
        st.integers(0, 99),
        st.none() | instants,
        st.none() | st.integers(1, 30),
        st.none() | instants,
    ),
    max_size=2,
)
policies = st.integers(1, 90).map(
    lambda age: IndexPolicy("main", ("http://a:9200",), PREFIX, age * DAY, 0.5)
)


def policy(days: int = 30, fraction: float = 0.5, url: str = "http://a:9200") -> IndexPolicy:
    return IndexPolicy("main", (url,), PREFIX, days * DAY, fraction)


def indices(*days_ago: int) -> list[Index]:
    names = [f"{PREFIX}-{NOW - ago * DAY:%Y.%m.%d}" for ago in days_ago]
    return [Index(name, name[::-1], 3, 100) for name in names]


def run(
    listed: list[Index],
    chosen: IndexPolicy | None = None,
    now: dt.datetime = NOW,
    last_run: LastIndexRun | None = None,
    **changes: object,
) -> IndexPlan:
    chosen = chosen or policy()
    last_run = last_run or LastIndexRun(now - DAY, chosen.delete_after, chosen.target, 0.5, DAY)
    facts = {"holds": [], "pending_from": None, **changes}
    return plan_indices(listed, chosen, now=now, last_run=last_run, **facts)  # type: ignore[arg-type]  # the facts are of a test's choice


def deleted(plan: IndexPlan) -> set[str]:
    return {action.name for action in plan.only("delete")}


@given(listings, policies, holds, instants, st.none() | days)
def test_partition(
    listed: list[Index],
    chosen: IndexPolicy,
    held: list[Hold],
    now: dt.datetime,
    pending: dt.date | None,
) -> None:
    """partition: every index that was listed is in exactly one of keep and delete"""
    plan = run(listed, chosen, now, holds=held, pending_from=pending)
    assert sorted(a.name for a in plan.actions) == sorted(i.name for i in listed)
    assert all(action.reason and action.detail for action in plan.actions)
    assert plan == run(listed[::-1], chosen, now, holds=held, pending_from=pending)


def day_of(prefix: str, name: str) -> dt.date | None:
    days = IndexNames(prefix).days(name)
    return None if days is None else days[0]


@given(listings, policies, instants)
def test_outside(listed: list[Index], chosen: IndexPolicy, now: dt.datetime) -> None:
    """outside: nothing but the prefix and a day, to the letter, is ever deleted"""
    for name in deleted(run(listed, chosen, now)):
        day = day_of(PREFIX, name)
        assert day is not None
        assert name == f"{PREFIX}-{day:%Y.%m.%d}"


def test_outside_looks_like_a_day_and_is_none() -> None:
    for name in (f"{PREFIX}-2026.02.30", f"{PREFIX}-2026.09.01\n", f"{PREFIX}-٢٠٢٦.09.01"):
        assert day_of(PREFIX, name) is None


def test_indices_of_other_names_are_kept_and_do_not_hold_up_the_rest() -> None:
    listed = [*(Index(name, name[::-1], 3, 100) for name in OTHERS), *indices(0, 1, 2, 40)]
    plan = run(listed)
    assert sorted(a.name for a in plan.actions if a.reason == "outside") == sorted(OTHERS)
    assert deleted(plan) == {f"{PREFIX}-{NOW - 40 * DAY:%Y.%m.%d}"}
    assert not plan.refusals


@given(listings, policies, instants)
def test_recent(listed: list[Index], chosen: IndexPolicy, now: dt.datetime) -> None:
    """recent: neither today's index, nor a later day's, nor the newest is deleted"""
    newest = max((d for i in listed if (d := day_of(PREFIX, i.name))), default=None)
    for name in deleted(run(listed, chosen, now)):
        day = day_of(PREFIX, name)
        assert day is not None
        assert newest is not None
        assert day < now.date()
        assert day < newest
        end = dt.datetime.combine(day, dt.time(), dt.UTC) + DAY
        assert now - end >= chosen.delete_after


@given(listings, policies, holds, instants)
def test_held(listed: list[Index], chosen: IndexPolicy, held: list[Hold], now: dt.datetime) -> None:
    """held: an index whose day a hold in force touches stays"""
    gone = deleted(run(listed, chosen, now, holds=held))
    for name in gone:
        begin = dt.datetime.combine(day_of(PREFIX, name) or dt.date.min, dt.time(), dt.UTC)
        last = begin + DAY - dt.timedelta(microseconds=1)
        for hold in held:
            assert not (hold.in_force(now) and hold.covers("rbee-hive@x", begin, last)), name
    in_force = [hold for hold in held if hold.in_force(now)]
    if not in_force:
        assert gone == deleted(run(listed, chosen, now))


@given(listings, policies, instants, days)
def test_not_shipped(
    listed: list[Index], chosen: IndexPolicy, now: dt.datetime, pending: dt.date
) -> None:
    """not_shipped: an index of a day from which something is still to be shipped stays"""
    gone = deleted(run(listed, chosen, now, pending_from=pending))
    before = deleted(run(listed, chosen, now))
    assert gone == {name for name in before if (day_of(PREFIX, name) or pending) < pending}


@given(listings, policies, instants, st.integers(0, 100))
def test_monotone(listed: list[Index], chosen: IndexPolicy, now: dt.datetime, later: int) -> None:
    """monotone: what is deleted at one instant is deleted at every later one"""
    assert deleted(run(listed, chosen, now)) <= deleted(run(listed, chosen, now + later * DAY))


def test_announced() -> None:
    """announced: the first run, and the first of a shorter age or another target, says so"""
    listed, chosen = indices(0, 1, 2, 3, 40), policy()
    before = LastIndexRun(NOW - DAY, chosen.delete_after, chosen.target, 0.5, DAY)
    first = plan_indices(listed, chosen, [], NOW, pending_from=None, last_run=None)
    assert "first run" in first.announces
    assert deleted(first) == {listed[4].name}
    assert run(listed, chosen, last_run=before).announces == ""
    assert not run(listed, policy(60), last_run=before).announces
    assert "from 30d to 20d" in run(listed, policy(20), last_run=before).announces
    assert "the last run" in run(listed, policy(url="http://b:9200"), last_run=before).announces


def test_the_json_is_the_documented_object() -> None:
    listed = [*indices(0, 1, 2, 3, 40, 41), Index("other", "u", 9, 9)]
    decided = run(listed)
    assert decided.about == "indices of sink main: "
    printed = json.loads(json.dumps(decided.to_json(dry_run=True)))
    assert decided.to_json(dry_run=False)["dry_run"] is False
    actions = printed.pop("actions")
    assert printed == {
        "schema": "auditctl.prune_indices/1",
        "at": "2026-11-24T12:00:00.000000Z",
        "dry_run": True,
        "refusals": [],
        "announced": False,
        "sink": "main",
        "policy": policy().to_json(),
        "announces": None,
        "totals": {"keep": 5, "delete": 2, "documents": 6},
    }
    assert [action["action"] for action in actions] == ["delete", "delete", *["keep"] * 5]
    assert [action["reason"] for action in actions[5:]] == ["newest", "outside"]
    first = plan_indices(listed, policy(), [], NOW, pending_from=None, last_run=None)
    assert first.to_json(dry_run=True)["announces"] == first.announces


def test_the_breaker_stops_what_a_person_has_to_confirm() -> None:
    few, many = indices(0, 1, 2, 3, 40), indices(0, 40, 41)

    def kinds(listed: list[Index], last_run: LastIndexRun, **changes: object) -> list[str]:
        plan = run(listed, last_run=last_run, **changes)  # type: ignore[arg-type]  # as in run
        return [refusal.kind for refusal in plan.refusals]

    well = LastIndexRun(NOW - DAY, 30 * DAY, policy().target, 0.5, DAY)
    assert kinds(few, well) == []
    assert kinds(many, well) == ["too_many_deletes"]
    ahead = LastIndexRun(NOW - 10 * DAY, 30 * DAY, policy().target, 0.5, DAY)
    assert kinds(few, ahead) == ["clock_forwards"]
    assert kinds(few, ahead, simulated=True) == []
    behind = LastIndexRun(NOW + DAY, 30 * DAY, policy().target, 0.5, DAY)
    assert kinds(few, behind) == ["clock_backwards"]
    stricter = LastIndexRun(NOW - DAY, 30 * DAY, policy().target, 0.2, DAY)
    assert kinds(few, stricter) == ["harsher_policy"]
    assert kinds(indices(0, 1), behind) == []  # nothing would go


@pytest.mark.parametrize("days", [0, -1, 0.99])
def test_less_than_a_day_is_no_policy(days: float) -> None:
    with pytest.raises(PolicyError, match="index_delete_after"):
        IndexPolicy("main", (), PREFIX, days * DAY)


def listed_as(*names: str) -> list[Index]:
    return [Index(name, f"uuid of {name}", 1, 1) for name in names]


def test_an_index_of_a_week_or_month_is_as_old_as_its_last_day() -> None:
    """2026.w36 ends on 6 September, 2026.08 on 31 August."""
    chosen = IndexPolicy("main", ("http://es",), "audit", dt.timedelta(days=30), 1.0)
    listed = listed_as("audit-2026.w36", "audit-2026.08", "audit-2026.09.01", "audit-2026.12.01")

    def gone(day: int, pending: dt.date | None = None) -> set[str]:
        now = dt.datetime(2026, 10, day, 12, tzinfo=dt.UTC)
        plan = plan_indices(listed, chosen, [], now, pending_from=pending, last_run=None)
        return {action.name for action in plan.actions if action.action == "delete"}

    assert gone(1) == {"audit-2026.08"}
    assert gone(2) == {"audit-2026.08", "audit-2026.09.01"}
    assert gone(6) == {"audit-2026.08", "audit-2026.09.01"}
    assert gone(7) == {"audit-2026.08", "audit-2026.09.01", "audit-2026.w36"}
    assert gone(7, dt.date(2026, 9, 6)) == {"audit-2026.08", "audit-2026.09.01"}


def test_all_buckets_of_the_newest_day_stay() -> None:
    prefix = "audit-{bucket:3}"
    chosen = IndexPolicy("main", ("http://es",), prefix, dt.timedelta(days=1), 1.0)
    names = [f"audit-{bucket}-2026.09.0{day}" for day in (1, 2) for bucket in range(3)]
    now = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    listed = [*listed_as(*names), *listed_as("audit-2026.09.01", "audit-x-2026.09.01")]
    plan = plan_indices(listed, chosen, [], now, pending_from=None, last_run=None)
    gone = {action.name for action in plan.actions if action.action == "delete"}
    assert gone == set(names[:3])


def test_not_archived() -> None:
    """An index is kept from the first day on of which this host has a segment without upload."""
    listed = indices(100, 99, 98, 97, 0)
    names = [each.name for each in listed[:4]]
    for ago, gone in ((None, 4), (101, 0), (100, 0), (98, 2), (50, 4)):
        since = None if ago is None else (NOW - ago * DAY).date()
        plan = run(listed, policy(fraction=1.0), unarchived_from=since)
        assert deleted(plan) == set(names[:gone])
        reasons = {action.name: action.reason for action in plan.actions}
        assert {reasons[name] for name in names[gone:]} <= {"not_archived"}
