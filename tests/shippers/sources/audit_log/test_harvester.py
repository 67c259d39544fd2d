from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog import durable_fs
from auditlog.errors import LogDamaged
from auditlog.format.record import Header, check_link, line_hash, parse_header
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import Tombstone
from auditlog.reading.inventory import scan
from auditlog.verification.verify import verify
from shippers.batch import Position, RecordBatch
from shippers.sources.audit_log.harvester import LogHarvester
from tests.support.logs import START, LogBuilder, make_line, write_log

LOG = "queen-rbee@hive1"
BIG = 1 << 20
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


_harvesters: list[LogHarvester] = []


NOWHERE = Position()


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _harvesters:
        _harvesters.pop().close()


def harvest(directory: Path, start: Position = NOWHERE) -> LogHarvester:
    harvester = LogHarvester(LOG, start)
    _harvesters.append(harvester)
    refresh(harvester, directory)
    return harvester


def refresh(harvester: LogHarvester, directory: Path) -> None:
    harvester.refresh(scan(directory).logs.get(LogId.parse(LOG), ()))


def drain(harvester: LogHarvester, records: int = 1000) -> list[RecordBatch]:
    batches = []
    while (batch := harvester.read(BIG, records)) is not None:
        batches.append(batch)
    return batches


def lines_of(batches: list[RecordBatch]) -> list[bytes]:
    return [line for batch in batches for line, _ in batch.items]


def kinds_of(batches: list[RecordBatch]) -> list[str]:
    return [finding.kind for batch in batches for finding in batch.alarms]


def test_whole_lines(tmp_path: Path) -> None:
    """whole_lines: a line without its LF is never given out while it can still grow"""
    log = write_log(tmp_path, records=2)
    harvester = harvest(tmp_path)
    assert lines_of(drain(harvester)) == log.lines
    for line in log.make(2):
        for begin in range(0, len(line), 100):
            assert harvester.read(BIG, 1000) is None
            log.append_raw(line[begin : begin + 100])
        assert lines_of(drain(harvester)) == [line]


@pytest.mark.parametrize("forms", [("", "", ""), (".zst", ".gz", ""), (".gz", ".zst", "")])
@pytest.mark.parametrize("records", [1, 3, 1000])
def test_any_form(tmp_path: Path, forms: tuple[str, ...], records: int) -> None:
    """any_form: plain, .zst, .gz, and a change between two reads, give the same lines"""
    log = write_log(tmp_path, records=7, segments=3, days=1)
    for index, form in enumerate(forms):
        if form:
            log.compress(index, form)
    batches = drain(harvest(tmp_path), records)
    assert lines_of(batches) == log.lines
    assert kinds_of(batches) == []


@pytest.mark.parametrize("form", [".zst", ".gz"])
@pytest.mark.parametrize("known", [True, False])
def test_a_segment_that_is_compressed_while_it_is_read(
    tmp_path: Path, form: str, known: bool
) -> None:
    log = write_log(tmp_path, records=7, segments=2)
    harvester = harvest(tmp_path)
    first = harvester.read(BIG, 3)
    assert first is not None
    log.compress(0, form)
    if known:
        refresh(harvester, tmp_path)
    assert lines_of([first, *drain(harvester, 2)]) == log.lines
    again = harvest(tmp_path, first.position_after(2))
    assert lines_of(drain(again)) == log.lines[2:]


def test_both_forms_of_a_segment_are_read_once(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4, segments=2)
    log.compress(0, keep_plain=True)
    assert lines_of(drain(harvest(tmp_path))) == log.lines


def test_what_is_appended_before_a_rotation_is_not_missed(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=2)
    harvester = harvest(tmp_path)
    drain(harvester)
    log.append(1)
    log.rotate()
    log.append(1)
    refresh(harvester, tmp_path)
    batches = drain(harvester)
    assert lines_of(batches) == log.lines[2:]
    assert kinds_of(batches) == []


@pytest.mark.parametrize("compressed", [False, True])
def test_resumes(tmp_path: Path, compressed: bool) -> None:
    """resumes: from any position given out, exactly the lines after it follow"""
    log = write_log(tmp_path, records=4, segments=3)
    log.append_raw(b"strange\n")
    log.lines.append(b"strange\n")
    log.lines += (made := log.make(1))
    log.append_raw(made[0])
    if compressed:
        log.compress(0)
        log.compress(1, ".gz")
    batches = drain(harvest(tmp_path), 3)
    passed = 0
    for batch in batches:
        for count in range(1, len(batch) + 1):
            passed += 1
            after = drain(harvest(tmp_path, batch.position_after(count)))
            assert lines_of(after) == log.lines[passed:]
            assert "cursor_mismatch" not in kinds_of(after)
    assert passed == len(log.lines)


def test_a_cursor_at_a_segment_that_retention_deleted_goes_on_with_the_next(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3, segments=3)
    (first, *_) = drain(harvest(tmp_path))
    log.path(0).unlink()
    batches = drain(harvest(tmp_path, first.position_after(3)))
    assert lines_of(batches) == log.lines[3:]
    assert kinds_of(batches) == []


def test_a_segment_deleted_before_it_was_shipped_is_an_alarm_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path, records=3, segments=3)
    (first, *_) = drain(harvest(tmp_path))
    log.path(1).unlink()
    batches = drain(harvest(tmp_path, first.position_after(3)))
    assert lines_of(batches) == log.lines[6:]
    assert kinds_of(batches) == ["seq_gap"]


def tombstone(log: LogBuilder, part: int, *, before: str = "") -> Tombstone:
    """That of a segment with three records."""
    first, last = log.headers[3 * part], log.headers[3 * part + 2]
    hashes = before or first.prev_hash, last.hash
    return Tombstone(LOG, first.seq, last.seq, log.names[part].logical, *hashes, "2026-11-24")


def test_deleted(tmp_path: Path) -> None:
    """A hold leaves a hole behind it: who reads the log later finds no break in it."""
    log = write_log(tmp_path, records=3, segments=5)
    for part in (1, 2):
        log.path(part).unlink()
    stones = [tombstone(log, 2), tombstone(log, 1)]
    harvester = LogHarvester(LOG, tombstones=lambda: stones)
    harvester.refresh(scan(tmp_path).logs[LogId.parse(LOG)])
    batches = drain(harvester)
    harvester.close()
    assert lines_of(batches) == log.lines[:3] + log.lines[9:]
    assert kinds_of(batches) == []
    assert batches[-1].gaps == ((4, 9),), "retention still sees that the sink lacks them"


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_deleted_is_what_tombstones_lead_across(tmp_path: Path, lacking: int) -> None:
    log = write_log(tmp_path, records=3, segments=5)
    for part in (1, 2):
        log.path(part).unlink()
    stones = [tombstone(log, 1), tombstone(log, 2), tombstone(log, 1, before="ab" * 32)]
    stones = [stones[1:2], stones[:1], stones[1:]][lacking]
    harvester = LogHarvester(LOG, tombstones=lambda: stones)
    harvester.refresh(scan(tmp_path).logs[LogId.parse(LOG)])
    batches = drain(harvester)
    harvester.close()
    assert kinds_of(batches) == ["seq_gap"]


def test_a_log_whose_oldest_segments_are_gone_is_read_from_what_is_left(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3, segments=3)
    log.path(0).unlink()
    batches = drain(harvest(tmp_path))
    assert lines_of(batches) == log.lines[3:]
    assert kinds_of(batches) == []


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("form", ["", ".zst"])
@pytest.mark.parametrize("missing", [(0,), (1, 2), (0, 2)])
def test_put_back(tmp_path: Path, missing: tuple[int, ...], form: str, restart: bool) -> None:
    """put_back: a segment that was missing when it was its turn is read when it is there"""
    directory, away = tmp_path / "audit", tmp_path / "away"
    log = write_log(directory, records=3, segments=5)
    away.mkdir()
    if form:
        log.compress(missing[-1], form)
    for index in missing:
        log.path(index).rename(away / log.path(index).name)
    harvester = harvest(directory)
    read = lines_of(drain(harvester))
    for gone in reversed(missing):
        assert not {*log.lines[3 * gone : 3 * gone + 3]} & {*read}
        numbers = range(3 * gone + 1, 3 * gone + 4)
        assert all(any(a <= n <= b for a, b in harvester.position.gaps) for n in numbers)
        path = next(
            path for path in away.iterdir() if path.name.startswith(log.names[gone].logical)
        )
        path.rename(directory / path.name)
        if restart:
            harvester = harvest(directory, harvester.position)
        else:
            refresh(harvester, directory)
        again = drain(harvester)
        assert kinds_of(again) == []
        read += lines_of(again)
        assert {*read} >= {*log.lines[3 * gone :]}
    assert {*read} == {*log.lines}
    assert harvester.position.gaps == ()
    refresh(harvester, directory)
    assert drain(harvester) == []


def test_many_gaps_are_taken_for_fewer_and_larger_ones(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=1, segments=260)
    for index in range(0, 260, 2):
        log.path(index).unlink()
    harvester = harvest(tmp_path)
    drain(harvester)
    gaps = harvester.position.gaps
    assert len(gaps) == 100
    assert all(any(a <= n <= b for a, b in gaps) for n in range(1, 260, 2))


@pytest.mark.parametrize("change", ["hash", "seq", "offset", "inside", "segment"])
def test_losing_cursor(tmp_path: Path, change: str) -> None:
    """losing_cursor: a cursor that does not fit the log costs a re-read, and never a line"""
    log = write_log(tmp_path, records=5, segments=2)
    right = drain(harvest(tmp_path), 3)[0].position_after(3)
    wrong = {
        "hash": right._replace(hash="f" * 64),
        "seq": right._replace(seq=9),
        "offset": right._replace(offset=right.offset + 1_000_000),
        "inside": right._replace(offset=right.offset + 5),
        "segment": right._replace(segment=log.names[1].logical, offset=right.offset),
    }[change]
    batches = drain(harvest(tmp_path, wrong))
    assert lines_of(batches) == log.lines
    assert kinds_of(batches)[:1] == ["cursor_mismatch"]


def test_a_segment_that_begins_with_the_number_shipped_last_is_of_another_log(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path, records=3, segments=2)
    shipped = drain(harvest(tmp_path), 3)[0].position_after(3)
    log.path(0).unlink()
    batches = drain(harvest(tmp_path, shipped._replace(seq=shipped.seq + 1)))
    assert lines_of(batches) == log.lines[3:]
    assert kinds_of(batches) == ["cursor_mismatch"]


@pytest.mark.parametrize("later", [False, True])
def test_losing_cursor_when_another_log_has_taken_the_name(tmp_path: Path, later: bool) -> None:
    """The directory was wiped and the log began again, with fewer segments or on a later day."""
    old = tmp_path / "old"
    old.mkdir()
    write_log(old, records=12, segments=4)
    shipped = drain(harvest(old), 12)[-1]
    position = shipped.position_after(len(shipped))
    new = tmp_path / "new"
    new.mkdir()
    days = dt.timedelta(days=2) if later else dt.timedelta(0)
    log = write_log(new, records=3, at=START + days)
    batches = drain(harvest(new, position))
    assert lines_of(batches) == log.lines
    assert kinds_of(batches)[:1] == ["cursor_mismatch"]


def test_an_empty_log_has_nothing_and_then_what_comes(tmp_path: Path) -> None:
    harvester = harvest(tmp_path)
    assert harvester.read(BIG, 10) is None
    log = write_log(tmp_path, records=1)
    refresh(harvester, tmp_path)
    assert lines_of(drain(harvester)) == log.lines


def changed(lines: list[bytes], how: str, at: int) -> list[bytes]:
    line = lines[at]
    other, _ = make_line("rbee-hive@gpu1", at + 1)
    return {
        "content": [*lines[:at], line.replace(b"alice", b"mallo"), *lines[at + 1 :]],
        "hash": [*lines[:at], line[:-67] + b"0" * 64 + b'"}\n', *lines[at + 1 :]],
        "removed": [*lines[:at], *lines[at + 1 :]],
        "repeated": [*lines[: at + 1], *lines[at:]],
        "inserted": [*lines[:at], b'{"not":"ours"}\n', *lines[at:]],
        "replaced": [*lines[:at], b"junk\n", *lines[at + 1 :]],
        "carriage": [*lines[:at], line[:-1] + b"\r\n", *lines[at + 1 :]],
        "zero": [*lines[:at], line.replace(b"alice", b"al\0ce"), *lines[at + 1 :]],
        "foreign": [*lines[:at], other, *lines[at + 1 :]],
        "binary": [*lines[:at], b"\xff\xfe\x00\n", *lines[at:]],
    }[how]


WAYS = ["content", "hash", "removed", "repeated", "inserted", "replaced", "carriage", "zero"]


@pytest.mark.parametrize("how", [*WAYS, "foreign", "binary"])
@pytest.mark.parametrize("at", [1, 4, 8])
@pytest.mark.parametrize("records", [1, 3, 1000])
def test_every_break(tmp_path: Path, how: str, at: int, records: int) -> None:
    """every_break: a line that verify objects to is a finding, and is given out all the same"""
    log = write_log(tmp_path, records=10)
    lines = changed(log.lines, how, at)
    log.active.write_bytes(b"".join(lines))
    batches = drain(harvest(tmp_path), records)
    assert lines_of(batches) == lines
    found = [(f.offset, f.seq is None) for batch in batches for f in batch.alarms]
    objections = {f.offset for entry in verify(tmp_path).logs for f in entry.findings}
    if (
        how == "foreign"
    ):  # a record of another log is a strange line here; verify names its follower
        objections = {min(objections)}
    assert {offset for offset, _ in found} >= objections
    assert len(found) == len(objections) or how == "repeated"
    strange = {"inserted", "replaced", "carriage", "zero", "foreign", "binary"}
    headerless = [line for batch in batches for line, header in batch.items if header is None]
    assert headerless == ([lines[at]] if how in strange else [])


@quick
@given(st.data())
def test_fast_path(tmp_path: Path, data: st.DataObject) -> None:
    """fast_path: the quick check accepts exactly what parse_header and check_link accept"""
    log = LogBuilder(tmp_path)
    before, line = log.make(2)
    place = data.draw(st.integers(0, len(line) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b not in {10, line[place]}))
    cut = data.draw(st.sampled_from([0, 0, 1, 70, 76, 80]))
    mutated = line[:place] + bytes([byte]) + line[place + 1 + cut :]
    for candidate in (line, mutated if mutated.endswith(b"\n") else mutated + b"\n"):
        header = parse_header(candidate)
        good = (
            header is not None
            and header.log == LOG
            and check_link(header, candidate, seq=2, prev_hash=line_hash(before)) is None
        )
        assert headers_seen([before, candidate]) == (
            [parse_header(before), header] if good else None
        )
        harvester = LogHarvester(LOG, Position("", 0, 1, line_hash(before)))
        assert harvester._check_quickly(candidate) == (header if good else None)


def headers_seen(lines: list[bytes]) -> list[Header] | None:
    """Return the first batch of a harvester at the log's beginning, for a block of these lines."""
    harvester = LogHarvester(LOG)
    harvester._anchored = True
    return harvester._check_block(b"".join(lines), list(accumulate(map(len, lines))))


@pytest.mark.parametrize("size", [65_536, 200_000, 3_000_000])
@pytest.mark.parametrize("form", ["", ".zst"])
def test_a_line_longer_than_any_record_is_passed_and_its_beginning_kept(
    tmp_path: Path, size: int, form: str
) -> None:
    log = write_log(tmp_path, records=2)
    log.append_raw(b"x" * size)
    if not form:
        harvester = harvest(tmp_path)
        assert len(lines_of(drain(harvester))) == 2
    log.append_raw(b"\n")
    log.append(2)
    if form:
        log.rotate()
        log.compress(0)
        harvester = harvest(tmp_path)
    batches = drain(harvester)
    long, *rest = lines_of(batches)[-3:]
    assert rest == log.lines[2:]
    assert long.strip(b"x\n") == b""
    assert len(long) <= BIG
    assert kinds_of(batches) == ["not_a_record"]
    assert harvester.position.seq == 4


def test_a_torn_line_at_the_end_of_a_sealed_segment_is_given_out_as_strange(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path, records=2)
    log.append_raw(b'{"v":1,"log":"torn')
    harvester = harvest(tmp_path)
    assert lines_of(drain(harvester)) == log.lines
    log.rotate()
    log.append(1)
    refresh(harvester, tmp_path)
    batches = drain(harvester)
    assert lines_of(batches) == [b'{"v":1,"log":"torn', log.lines[-1]]
    assert kinds_of(batches) == ["unfinished"]


def test_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """durable: a line of the newest segment is synced before it is given out"""
    log = write_log(tmp_path, records=3)
    size, fdatasync = log.paths[0].stat().st_size, durable_fs.fdatasync
    log.append(2)
    synced: list[str] = []

    def sync_while_the_writer_fails(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        fdatasync(fd)
        if len(synced) == 1:
            os.truncate(log.paths[0], size)

    monkeypatch.setattr(durable_fs, "fdatasync", sync_while_the_writer_fails)
    harvester = harvest(tmp_path)
    assert harvester.read(BIG, 1000) is None  # what was read is not all there any more
    assert lines_of(drain(harvester)) == log.lines[:3]
    assert synced == [str(log.paths[0])] * 2


def test_a_torn_tail_that_recovery_cuts_is_never_seen(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=2)
    whole = log.active.stat().st_size
    log.append_raw(b'{"v":1,"log":"torn')
    harvester = harvest(tmp_path)
    assert lines_of(drain(harvester)) == log.lines
    with log.active.open("r+b") as file:
        file.truncate(whole)
    log.append(2)
    batches = drain(harvester)
    assert lines_of(batches) == log.lines[2:]
    assert kinds_of(batches) == []


def test_a_segment_cut_below_the_position_is_an_alarm_and_read_again(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=4)
    harvester = harvest(tmp_path)
    drain(harvester)
    log.active.write_bytes(b"".join(log.lines[:2]))
    batches = drain(harvester)
    assert kinds_of(batches) == ["truncated"]
    assert lines_of(batches) == log.lines[:2]


def test_a_segment_replaced_by_another_file_is_an_alarm_and_read_on(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3)
    harvester = harvest(tmp_path)
    drain(harvester)
    copy = tmp_path / "copy"
    copy.write_bytes(log.active.read_bytes())
    copy.rename(log.active)
    log.append(2)
    batches = drain(harvester)
    assert kinds_of(batches) == ["replaced"]
    assert lines_of(batches) == log.lines[3:]


def test_a_compressed_segment_that_is_damaged_raises_and_loses_nothing_before(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path, records=3, segments=2)
    packed = log.compress(0)
    content = packed.read_bytes()
    packed.write_bytes(content[:40] + bytes([content[40] ^ 255]) + content[41:])
    harvester = harvest(tmp_path)
    with pytest.raises(LogDamaged, match="cannot be decompressed"):
        drain(harvester)
    assert harvester.position.seq == 0
    packed.write_bytes(content)
    harvester.close()
    assert lines_of(drain(harvester)) == log.lines


def test_parts_beyond_9999_follow_in_write_order(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path)
    log.append(1)
    log.names.append(log.names[-1].__class__(log.names[-1].log, log.names[-1].day, 9999))
    log.append(1)
    log.rotate()
    log.append(1)
    batches = drain(harvest(tmp_path))
    assert lines_of(batches) == log.lines
    assert kinds_of(batches) == []


def test_batches_keep_to_their_limits(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3000, step=dt.timedelta(milliseconds=1))
    batches = drain(harvest(tmp_path), 100)
    assert {len(batch) for batch in batches} <= set(range(1, 101))
    assert lines_of(batches) == log.lines
    harvester, sizes = harvest(tmp_path), []
    while (batch := harvester.read(200_000, 10_000)) is not None:
        sizes.append(batch.size_bytes)
    assert max(sizes) <= 200_000


def test_lag_bytes_is_what_lies_behind_the_position(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3, segments=2)
    harvester = harvest(tmp_path)
    total = sum(len(line) for line in log.lines)
    assert harvester.lag_bytes() == total
    batch = harvester.read(BIG, 2)
    assert batch is not None
    assert harvester.lag_bytes() == total - batch.size_bytes
    drain(harvester)
    assert harvester.lag_bytes() == 0
