"""Runs over the indices of a cluster in memory, with real files on our side."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import auditlog
from auditlog.archived import ArchivedSpan
from auditlog.cursors import Cursor, CursorStore
from auditlog.errors import AuditLogError
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import scan
from auditlog.reading.reader import bounds
from auditlog.reading.tombstone_scan import index_tombstones
from auditlog.writer.opening import ReservedService, open_log
from retention.errors import StateDamaged
from retention.gather import unarchived_from
from retention.holds import Hold, HoldStore
from retention.memory import IndexRunStore
from retention.plan import IndexPlan, Refused
from retention.policy import IndexPolicy
from retention.service import RunResult, run_index_retention
from retention.subjects import Index
from tests.support.logs import LogBuilder, write_log

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 12, 31, 12, tzinfo=dt.UTC)
PREFIX = "llama-orch-audit"
POLICY = IndexPolicy("main", ("http://es:9200",), PREFIX, 30 * DAY)
OLD = [f"{PREFIX}-2026.11.{day}" for day in ("20", "21")]


class MemoryCluster:
    """Indices by name; what is asked to be deleted is checked against the tombstones."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        names = [*OLD, *(f"{PREFIX}-2026.12.{day}" for day in range(25, 32)), "precious"]
        self.uuids = {name: f"uuid-{name}" for name in names}
        self.refused: set[str] = set()
        self.unproven: list[str] = []
        self.on_list: Callable[[int], None] = lambda _: None
        self.lists = 0

    def indices(self) -> list[Index]:
        self.lists += 1
        self.on_list(self.lists)
        return [Index(name, uuid, 7, 100) for name, uuid in self.uuids.items()]

    def delete(self, name: str) -> None:
        proven = {(t.index, t.uuid) for t in index_tombstones(self.directory)}
        if (name, self.uuids[name]) not in proven:
            self.unproven.append(name)
        if name in self.refused:
            raise AuditLogError("the server answered 503")
        del self.uuids[name]


def tree(directory: Path) -> dict[Path, tuple[bytes, int]]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def shipped(log_directory: Path, tmp_path: Path) -> LogBuilder:
    """A log that the sink has to its end."""
    built = write_log(log_directory, segments=2, days=1)
    acknowledge(built, tmp_path / "state", len(built.headers))
    return built


def acknowledge(built: LogBuilder, state: Path, seq: int) -> None:
    header = built.headers[seq - 1]
    name = next(n.logical for n in built.names if n.day.isoformat() == header.day)
    CursorStore(state).save("main", Cursor(built.log, name, 1, seq, header.hash, NOW))


def acknowledge_tombstones(directory: Path, state: Path) -> None:
    """As when the agent has shipped retention's own log."""
    for log, segments in scan(directory).logs.items():
        ends = bounds(segments[-1])
        if log.service == "retention" and ends is not None:
            name = segments[-1].name.logical
            cursor = Cursor(str(log), name, 1, ends.last_seq, ends.last_hash, NOW)
            CursorStore(state).save("main", cursor)


@pytest.fixture
def cluster(shipped: LogBuilder) -> MemoryCluster:
    return MemoryCluster(shipped.directory)


@pytest.fixture
def run(cluster: MemoryCluster, tmp_path: Path) -> Callable[..., RunResult[IndexPlan]]:
    def call(
        policy: IndexPolicy = POLICY, now: dt.datetime = NOW, **options: bool
    ) -> RunResult[IndexPlan]:
        state = tmp_path / "state"
        return run_index_retention(
            [cluster.directory], policy, cluster, state, now, host="hive1", by="ops", **options
        )

    return call


Run = Callable[..., RunResult[IndexPlan]]


def test_dry(run: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """dry: a dry run asks the cluster for a list, and changes nothing anywhere"""
    before, there = tree(tmp_path), dict(cluster.uuids)
    result = run(dry_run=True)
    assert [action.name for action in result.plan.only("delete")] == OLD
    assert (tree(tmp_path), cluster.uuids, cluster.lists) == (before, there, 1)


def test_announces(run: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """announces: the first run deletes nothing, the next one what it said"""
    first = run()
    assert first.announced
    assert not any(step.done for step in first.steps)
    assert set(OLD) < set(cluster.uuids)
    assert not index_tombstones(cluster.directory)
    second = run()
    assert [s.action.name for s in second.steps if s.done] == OLD
    assert not set(OLD) & set(cluster.uuids)
    assert "precious" in cluster.uuids
    shorter = IndexPolicy("main", POLICY.urls, PREFIX, 3 * DAY)
    acknowledge_tombstones(cluster.directory, tmp_path / "state")
    assert run(shorter).announced
    assert len(cluster.uuids) == 8
    assert [s.action.subject.day for s in run(shorter).steps if s.done] == [
        dt.date(2026, 12, day) for day in (25, 26, 27)
    ]


def test_a_person_may_confirm_at_once(run: Run, cluster: MemoryCluster) -> None:
    assert [step.done for step in run(confirm=True).steps].count(True) == 2


def test_refused(run: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """refused: what the breaker stops changes nothing"""
    run()
    for day in range(25, 30):
        del cluster.uuids[f"{PREFIX}-2026.12.{day}"]
    cluster.uuids[f"{PREFIX}-2026.11.22"] = "x"
    state, there = (tmp_path / "state/index-retention.json").read_bytes(), dict(cluster.uuids)
    with pytest.raises(Refused, match="3 of the 5 indices of main"):
        run()
    assert (tmp_path / "state/index-retention.json").read_bytes() == state
    assert cluster.uuids == there
    assert not index_tombstones(cluster.directory)
    run(confirm=True)
    assert len(cluster.uuids) == 3


def test_proven(run: Run, cluster: MemoryCluster) -> None:
    """proven: no index is asked to be deleted without a durable tombstone"""
    run(confirm=True)
    assert not cluster.unproven
    records = [
        record
        for record in auditlog.read(cluster.directory, log_events=True)
        if record.event_type == "retention.index_deleted"
    ]
    assert [record.log for record in records] == ["retention@hive1"] * 2
    assert records[0].fields["details"] == {
        "sink": "main",
        "urls": ["http://es:9200"],
        "index": OLD[0],
        "day": "2026-11-20",
        "uuid": f"uuid-{OLD[0]}",
        "documents": 7,
        "bytes": 100,
        "policy": {"index_delete_after": "30d", "max_delete_fraction": 0.5},
        "by": "ops",
    }
    assert auditlog.verify(cluster.directory).ok


def test_proven_or_not_done(run: Run, cluster: MemoryCluster) -> None:
    """A log of tombstones that somebody else is writing leaves every index where it is."""
    with open_log(cluster.directory, service=ReservedService("retention"), host="hive1"):
        result = run(confirm=True)
    assert len(result.errors) == 2
    assert set(OLD) < set(cluster.uuids)


def test_once(run: Run, cluster: MemoryCluster) -> None:
    """once: an index that could not be deleted gets no second tombstone"""
    cluster.refused = set(OLD)
    assert len(run(confirm=True).errors) == 2
    cluster.refused = set()
    assert not run(confirm=True).errors
    assert [t.index for t in index_tombstones(cluster.directory)] == OLD
    cluster.uuids[OLD[0]] = "made again"  # by another host: that is another index
    run(confirm=True)
    assert [t.uuid for t in index_tombstones(cluster.directory)][2:] == ["made again"]
    assert OLD[0] not in cluster.uuids


def test_changed(run: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """changed: an index that is another one by now, or is held by now, stays"""

    def change(nth: int) -> None:
        if nth == 2:
            cluster.uuids[OLD[0]] = "another"
            at = dt.datetime(2026, 11, 21, 23, tzinfo=dt.UTC)
            hold = Hold("case-7", "legal", "subpoena", from_at=at, until_at=at + DAY)
            HoldStore(tmp_path / "state").add(hold)

    cluster.on_list = change
    result = run(confirm=True)
    assert [s.action.reason for s in result.steps[:2]] == ["changed", "held"]
    assert set(OLD) < set(cluster.uuids)
    assert not index_tombstones(cluster.directory)


def test_goes_on(run: Run, cluster: MemoryCluster, tmp_path: Path) -> None:
    """goes_on: one index that cannot be deleted does not stop the others"""
    cluster.refused = {OLD[0]}
    result = run(confirm=True)
    assert [(step.done, step.error) for step in result.steps[:2]] == [
        (False, "the server answered 503"),
        (True, ""),
    ]
    assert IndexRunStore(tmp_path / "state").load("main") is None  # it did not end well


@pytest.mark.parametrize("acknowledged", [None, 10, 19])
def test_a_day_that_is_not_wholly_shipped_keeps_its_index(
    run: Run, cluster: MemoryCluster, shipped: LogBuilder, tmp_path: Path, acknowledged: int | None
) -> None:
    day = shipped.names[0].day
    names = [f"{PREFIX}-{day + n * DAY:%Y.%m.%d}" for n in (-1, 0, 1)]
    cluster.uuids |= {name: name for name in names}
    if acknowledged is None:
        for path in (tmp_path / "state/cursors/main").iterdir():
            path.unlink()
    else:
        acknowledge(shipped, tmp_path / "state", acknowledged)
    run(confirm=True)
    left = [name for name in names if name in cluster.uuids]
    assert left == (names[2:] if acknowledged == 19 else names[1:])


@pytest.mark.parametrize(("first", "last"), [(1, 10), (8, 12), (10, 10)])
def test_pending_behind_a_gap(  # noqa: PLR0917  (fixtures and parameters)
    run: Run, cluster: MemoryCluster, shipped: LogBuilder, tmp_path: Path, first: int, last: int
) -> None:
    """Records that were missing when it was their turn came back, and the sink lacks them."""
    day = shipped.names[0].day
    names = [f"{PREFIX}-{day + n * DAY:%Y.%m.%d}" for n in (-1, 0, 1)]
    cluster.uuids |= {name: name for name in names}
    store = CursorStore(tmp_path / "state")
    cursor = store.load("main", LogId.parse(shipped.log))
    assert cursor is not None
    store.save("main", replace(cursor, gaps=((first, last),)))
    result = run(confirm=True)
    assert [name for name in names if name in cluster.uuids] == names[1:]
    assert {s.action.reason for s in result.steps if s.action.name == names[1]} == {"not_shipped"}
    for path in shipped.paths[:1]:  # deleted again: nothing of the gap is on disk
        path.unlink()
    store.save("main", replace(cursor, gaps=((first, 10),)))
    run(confirm=True)
    assert names[1] not in cluster.uuids


def test_a_directory_that_is_not_mounted_keeps_everything(
    cluster: MemoryCluster, tmp_path: Path
) -> None:
    directories = [cluster.directory, tmp_path / "elsewhere"]
    with pytest.raises(StateDamaged, match="still to be shipped"):
        run_index_retention(
            directories, POLICY, cluster, tmp_path / "state", NOW, host="h", confirm=True
        )
    assert set(OLD) < set(cluster.uuids)


def test_not_archived_from_the_oldest_segment_that_the_archive_lacks(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path)
    for _ in range(3):
        log.append()
        log.rotate(days=1)
    names = [path.name for path in log.paths]
    spans = {name: ArchivedSpan(1, 1, "") for name in names}
    assert unarchived_from([tmp_path], None) is None, "no archive is configured"
    assert unarchived_from([tmp_path], {}) == log.names[0].day
    assert unarchived_from([tmp_path], {log.log: spans}) is None
    del spans[names[1]]
    assert unarchived_from([tmp_path], {log.log: spans}) == log.names[1].day
    assert unarchived_from([tmp_path], {"other@host": spans}) == log.names[0].day
