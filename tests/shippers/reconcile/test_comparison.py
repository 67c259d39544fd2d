from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.erasures import by_stub
from auditlog.format.record import GENESIS_HASH, Header, parse_header
from auditlog.format.tombstones import Tombstone
from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import proofs_in
from shippers.reconcile.comparison import Side, TombstoneCheck, alike, compare, intact, same
from shippers.sinks.read_back import Stored
from tests.support.erasures import erase, header_of
from tests.support.logs import LogBuilder, write_log

LOG = "queen-rbee@hive1"
LINES = LogBuilder(Path("unused"), LOG).make(12)
OTHER = LogBuilder(Path("unused"), LOG).make(12, details={"other": True})
RECORDS = [(header, line) for line in LINES if (header := parse_header(line)) is not None]


def stored(seq: int, lines: list[bytes] = LINES, name: str = "") -> Stored:
    return Stored(name or f"{LOG}:{seq}", seq, lines[seq - 1])


def differences(
    records: Iterable[tuple[Header, bytes]], held: Iterable[Stored]
) -> list[tuple[str, int]]:
    return [(d.kind, d.seq) for d in compare(records, held, Side(), Side())]


seqs = st.sets(st.integers(1, 12))


@given(seqs, seqs, seqs, seqs)
def test_every_one(
    in_files: set[int], in_sink: set[int], changed: set[int], doubled: set[int]
) -> None:
    """every_one: every record removed, changed or added on one side is told, and no other"""
    records = [record for record in RECORDS if record[0].seq in in_files]
    held = []
    for seq in sorted(in_sink | doubled):
        if seq in in_sink:
            held.append(stored(seq, OTHER if seq in changed else LINES))
        if seq in doubled:
            held.append(stored(seq, name="put-there-by-hand"))
    expected = {("missing", seq) for seq in in_files - in_sink}
    expected |= {("different", seq) for seq in in_files & in_sink & changed}
    found = differences(records, held)
    extra = sorted([*(in_sink - in_files), *doubled])
    assert sorted(seq for kind, seq in found if kind == "extra") == extra
    assert {pair for pair in found if pair[0] != "extra"} == expected
    assert len(found) == len(expected) + len(extra)
    assert [seq for _, seq in found] == sorted(seq for _, seq in found)


def test_the_two_sides_are_counted_and_their_digest_is_what_sha256sum_says() -> None:
    files, sink = Side(), Side()
    assert list(compare(RECORDS, map(stored, range(1, 13)), files, sink)) == []
    assert (files.records, files.first_seq, files.last_seq) == (12, 1, 12)
    hashes = "".join(f"{header.hash}\n" for header, _ in RECORDS)
    assert files.digest == sink.digest == sha256(hashes.encode()).hexdigest()
    assert files.head_hash == sink.head_hash == RECORDS[-1][0].hash


def test_what_only_the_sink_has_is_counted_there_and_what_is_no_record_has_no_hash() -> None:
    files, sink = Side(), Side()
    held = [stored(1), Stored("by hand", 1, b"{}"), stored(3)]
    found = list(compare(RECORDS[:2], held, files, sink))
    assert [(each.kind, each.seq) for each in found] == [("extra", 1), ("missing", 2), ("extra", 3)]
    assert [each.stored for each in found] == [held[1], None, held[2]]
    assert [each.record for each in found] == [None, RECORDS[1], None]
    assert (files.records, files.first_seq, files.last_seq) == (2, 1, 2)
    assert (sink.records, sink.first_seq, sink.last_seq) == (3, 1, 3)
    hashes = f"{RECORDS[0][0].hash}\n\n{RECORDS[2][0].hash}\n"
    assert sink.digest == sha256(hashes.encode()).hexdigest()
    assert Side().records == 0
    assert Side().head_hash == ""


def test_a_line_is_intact_when_its_hash_is_that_of_its_content() -> None:
    assert intact(LINES[0])
    assert not intact(LINES[0].replace(b"alice", b"mally"))
    assert not intact(b"{}\n")


@pytest.mark.parametrize(
    ("line", "copy", "alike"),
    [
        (b'{"a":1,"b":"x"}', b'{"a": 1, "b": "x"}', True),
        (b'{"a":1}', b'{"a":true}', False),
        (b'{"a":1}', b'{"a":1.0}', False),
        (b'{"a":1}', b'{"a":"1"}', False),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', False),
        (b'{"a":null}', b"{}", False),
        (b'{"a":1}', b"not json", False),
        (b'{"a":9007199254740993}', b'{"a":9007199254740992}', False),
    ],
)
def test_a_copy_is_the_same_by_value_and_order(line: bytes, copy: bytes, alike: bool) -> None:
    assert same(line, copy) is alike


@pytest.mark.parametrize("levels", [300, 900, 2000])
def test_a_copy_is_compared_however_deep_it_is(levels: int) -> None:
    line, changed, spaced = (
        b'{"a":' * levels + value + b"}" * levels for value in (b'["b",1]', b'["b",2]', b'["b", 1]')
    )
    assert same(line, line)
    assert not same(line, changed)
    assert same(line, spaced) == (levels <= 1024), "bytes alone count where nothing can be parsed"
    assert not same(LINES[0], line)


def test_a_copy_that_keeps_bytes_is_the_same_by_bytes_and_where_it_is_looked_for() -> None:
    line = RECORDS[0][1]
    spaced = line.replace(b'{"v":1,', b'{"v": 1,')
    assert alike(line, Stored("x", 1, spaced))
    assert not alike(line, Stored("x", 1, spaced, verbatim=True))
    assert alike(line, Stored("x", 1, line, verbatim=True))
    assert not alike(line, Stored("x", 1, line, verbatim=True, misfiled=True))


def tombstone(first: int, last: int) -> Tombstone:
    headers = [header for header, _ in RECORDS]
    before = headers[first - 2].hash if first > 1 else GENESIS_HASH
    name = f"{LOG}.2026-11-23.0001.ndjson"
    return Tombstone(LOG, first, last, name, before, headers[last - 1].hash, "2027")


FAULTS = ["nothing", "one_gone", "changed", "twice"]


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(FAULTS), st.data())
def test_proven(one: int, two: int, what: str, data: st.DataObject) -> None:
    """proven: a deleted segment is whole in the sink only when its chain is, from end to end"""
    first, last = min(one, two), max(one, two)
    check = TombstoneCheck(tombstone(first, last))
    target = data.draw(st.integers(first, last))
    for seq in range(first, last + 1):
        assert check.covers(seq)
        if what == "one_gone" and seq == target:
            continue
        lines = OTHER if what == "changed" and seq == target else LINES
        check.add(stored(seq, lines))
        if what == "twice" and seq == target:
            check.add(stored(seq))
    check.finish()
    all_gone = what == "one_gone" and first == last
    # A whole other record that fits its hash is found by its neighbours, or by the tombstone.
    assert check.ok == (what == "nothing" or all_gone)


def test_a_deleted_segment_whose_record_was_changed_in_the_sink_is_named() -> None:
    check = TombstoneCheck(tombstone(1, 3))
    forged = orjson.dumps({**orjson.loads(LINES[1]), "outcome": "failure"}) + b"\n"
    for line, seq in ((LINES[0], 1), (forged, 2), (LINES[2], 3)):
        check.add(Stored(f"{LOG}:{seq}", seq, line))
    check.finish()
    assert check.problem == "record 2 was changed in the sink"


@pytest.mark.parametrize(
    ("seqs", "problem"),
    [
        ([2, 3, 4], ""),
        ([], ""),
        ([3, 4], "records 2 to 2 are missing in the sink"),
        ([2, 4], "records 3 to 3 are missing in the sink"),
        ([2, 3], "records 4 to 4 are missing in the sink"),
        ([2, 2, 3, 4], "record 2 is there twice"),
        ([2, 3, 4, 4], "record 4 is there twice"),
    ],
)
def test_the_first_problem_of_a_deleted_segment_is_named(seqs: list[int], problem: str) -> None:
    check = TombstoneCheck(tombstone(2, 4))
    assert [seq for seq in range(7) if check.covers(seq)] == [2, 3, 4]
    for seq in seqs:
        check.add(stored(seq))
    check.finish()
    assert (check.problem, check.ok, check.records) == (problem, not problem, len(seqs))


def test_a_deleted_record_put_in_by_another_name_is_named() -> None:
    check = TombstoneCheck(tombstone(1, 1))
    check.add(stored(1, name="by hand"))
    assert check.problem == "record 1 is there twice"


def test_a_deleted_segment_of_other_records_is_named_by_the_chain_and_by_its_end() -> None:
    check = TombstoneCheck(tombstone(1, 2))
    check.add(stored(1))
    check.add(stored(2, OTHER))
    assert check.problem == "record 2 does not follow the one before it"
    check = TombstoneCheck(tombstone(1, 1))
    check.add(stored(1, OTHER))
    check.finish()
    assert check.problem == "record 1 is not the one that was deleted here"


def test_a_deleted_record_that_is_misfiled_in_the_sink_is_named() -> None:
    check = TombstoneCheck(tombstone(1, 1))
    check.add(Stored(f"{LOG}:1", 1, LINES[0], misfiled=True))
    assert check.problem == "record 1 was changed in the sink"


def stored_line(line: bytes) -> Stored:
    header = header_of(line)
    return Stored(f"{header.log}:{header.seq}", header.seq, line, verbatim=True)


def test_erased(tmp_path: Path) -> None:
    """erased: an erased record is right where it is missing, and found where it is still there"""
    log = write_log(tmp_path, records=6)
    there = [stored_line(line) for line in log.lines]
    erase(log, 2, 6)
    pairs = [(header_of(line), line) for line in log.lines]
    files, sink = Side(), Side()
    assert not list(compare(pairs, [there[n] for n in (0, 2, 3, 4)], files, sink))
    assert (files.records, files.digest) == (4, sink.digest)
    found = list(compare(pairs, there, Side(), Side()))
    assert [(one.kind, one.seq) for one in found] == [("erased", 2), ("erased", 6)]


def test_a_deleted_segment_is_proven_in_the_sink_without_what_was_erased_of_it(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path, records=5)
    there = [stored_line(line) for line in log.lines]
    erase(log, 2, 3, 5)
    erasures = by_stub(proofs_in(scan(tmp_path).logs).erasures, LOG).values()
    tombstone = Tombstone(
        LOG, 1, 5, log.active.name, "0" * 64, header_of(log.lines[4]).hash, "2026-12-24T00:00:00Z"
    )

    def problem(kept: tuple[int, ...]) -> str:
        check = TombstoneCheck(tombstone, {one.seq: one for one in erasures})
        for index in kept:
            check.add(there[index])
        check.finish()
        return check.problem

    assert problem((0, 3)) == ""
    assert "record 2 was erased" in problem((0, 1, 3))
    assert "are missing" in problem((0,))
