from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

import auditlog
from auditctl.main import main
from auditctl.report.page import render_page
from auditlog.cursors import Cursor, CursorStore
from auditlog.format.record import format_timestamp, parse_timestamp
from tests.support.logs import START

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditctl.report.collect import ActivityReport
    from tests.support.logs import LogBuilder

SINCE = format_timestamp(START - dt.timedelta(days=30))
NOW = format_timestamp(START)


def tree(directory: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): ((stat := path.lstat()).st_mtime_ns, stat.st_size)
        for path in directory.rglob("*")
    }


def test_reads_only(month: LogBuilder, report_on: Callable[..., ActivityReport]) -> None:
    """reads_only: nothing is created or changed"""
    month.compress(0)
    before = tree(month.directory)
    report_on(month.directory)
    assert tree(month.directory) == before


def test_sourced(month: LogBuilder, report_on: Callable[..., ActivityReport]) -> None:
    """sourced: every number on the page is there again in what it was taken from"""
    for index in (1, 2, 20):
        month.compress(index)
    found = report_on(month.directory)
    naive = [
        record
        for record in auditlog.read(month.directory, log_events=True)
        if SINCE <= record.header.timestamp < NOW
    ]
    kinds = {kind: sum(record.event_type == kind for record in naive) for kind in
             ("task_submitted", "pool.drained", "auth_failure")}  # fmt: skip
    assert found.counts.events == len(naive) > 100
    page = re.sub(r"\s+", " ", render_page(found))
    assert f"<b>{len(naive):,}</b><span>events</span>" in page
    assert f"<b>{kinds['auth_failure']:,}</b><span>refused logins</span>" in page
    for kind, count in kinds.items():
        assert f'<tr><td>{kind}</td><td class="n">{count:,}</td>' in page
    (log,) = auditlog.verify(month.directory).logs
    assert log.head_hash in page
    assert f"{log.records:,}" in page


def test_a_changed_record_is_a_break_on_the_page(
    month: LogBuilder, report_on: Callable[..., ActivityReport]
) -> None:
    content = month.paths[-3].read_bytes()
    month.paths[-3].write_bytes(content.replace(b"pool.drained", b"pool.brained", 1))
    found = report_on(month.directory)
    assert (found.ok, found.gaps) == (False, 1)
    page = render_page(found)
    assert "NOT verified" in page
    assert "hash_mismatch" in page


def test_a_line_that_is_no_record_is_counted(
    month: LogBuilder, report_on: Callable[..., ActivityReport]
) -> None:
    whole = report_on(month.directory).counts.events
    lines = month.paths[-2].read_bytes().splitlines(keepends=True)
    month.paths[-2].write_bytes(b"".join([b"not a record\n", *lines[1:]]))
    found = report_on(month.directory).counts
    assert (found.events, found.unreadable) == (whole - 1, 1)


def test_what_was_shipped_and_deleted_is_what_the_commands_did(
    month: LogBuilder, tmp_path: Path, report_on: Callable[..., ActivityReport]
) -> None:
    directory = month.directory
    assert main(["ship", str(directory), "--to", str(tmp_path / "a.sqlite"), "--once"]) == 0
    at = (START + dt.timedelta(days=70)).isoformat()
    prune = ["prune", str(directory), "--at", at, "--confirm", "--delete-after", "90d"]
    assert main([*prune, "--compress-after", "80d"]) == 0
    # Tombstones bear the time of the run, which is now and not --at.
    found = report_on(directory, until=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1))
    assert found.ok
    oldest = parse_timestamp(found.deleted[0].deleted_at)
    assert not report_on(directory, until=oldest).deleted, "the end is no part of the time"
    page = render_page(found)
    assert found.survey.logs[0].sinks[0].sink in page
    deleted = {gone.segment for gone in found.deleted}
    assert deleted
    assert not deleted & {path.name for path in directory.iterdir()}
    assert all(segment in page for segment in deleted)
    gone = sum(tombstone.records for tombstone in found.deleted)
    assert f"<b>{gone:,}</b><span>records deleted under policy</span>" in page
    assert report_on(directory).deleted == ()  # a time before the run has none


def test_a_directory_without_a_log_makes_an_empty_page(
    tmp_path: Path, report_on: Callable[..., ActivityReport]
) -> None:
    found = report_on(tmp_path)
    assert (found.ok, found.counts.records) == (True, 0)
    assert "there is no log yet" in render_page(found)


def test_a_log_that_is_gone_and_a_tail_that_is_missing_are_in_the_report(
    month: LogBuilder, report_on: Callable[..., ActivityReport]
) -> None:
    last, path = month.headers[-1], month.active
    at = dt.datetime.now(dt.UTC)
    store = CursorStore(month.directory / ".auditlog")
    cursor = Cursor(month.log, path.name, path.stat().st_size, last.seq, last.hash, at)
    store.save("main", cursor)
    assert report_on(month.directory).ok
    path.unlink()
    (log,) = report_on(month.directory).verified
    assert [finding.kind for finding in log.findings] == ["tail_missing"]
    for other in month.paths[:-1]:
        other.unlink()
    found = report_on(month.directory)
    (log,) = found.verified
    assert [finding.kind for finding in log.findings] == ["missing_log"]
    assert not found.ok
    assert "missing_log" in render_page(found)
