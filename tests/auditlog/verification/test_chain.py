"""The check of one log, line by line: everything wrong is found, named, and named once."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.format.erasures import Erasure
from auditlog.format.record import GENESIS_HASH, RECORD_ERASED, parse_header
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.format.tombstones import SEGMENT_DELETED, Tombstone
from auditlog.reading.registry import KnownRecord
from auditlog.verification.chain import MAX_FINDINGS, ChainCheck, Intact
from tests.support.erasures import erasure_details, stub
from tests.support.logs import START, make_line

LOG = "queen-rbee@hive1"
PER_SEGMENT = 3


def name(part: int) -> SegmentName:
    return SegmentName(LogId.parse(LOG), START.date(), part)


def made(count: int) -> list[bytes]:
    lines, before = [], GENESIS_HASH
    for seq in range(1, count + 1):
        line, before = make_line(LOG, seq, before)
        lines.append(line)
    return lines


LINES = made(9)
SEGMENTS = {part + 1: LINES[part * PER_SEGMENT : (part + 1) * PER_SEGMENT] for part in range(3)}
TOMBSTONES = tuple(
    Tombstone(
        log=LOG,
        first_seq=(part - 1) * PER_SEGMENT + 1,
        last_seq=part * PER_SEGMENT,
        segment=name(part).logical,
        first_prev_hash=parse_header(lines[0]).prev_hash,  # type: ignore[union-attr]  # they are valid
        last_hash=parse_header(lines[-1]).hash,  # type: ignore[union-attr]  # they are valid
        deleted_at="2026-12-24T00:00:00.000000Z",
    )
    for part, lines in SEGMENTS.items()
)


def test_disbelieved() -> None:
    """A record of a deletion without its fields is a finding, and no break of the chain."""
    retention = "retention@hive1"
    first, before = make_line(retention, 1, event_type="retention.segment_deleted", details={})
    second, _ = make_line(retention, 2, before)
    check = ChainCheck(retention)
    check.segment(SegmentName(LogId.parse(retention), START.date(), 1))
    for offset, line in ((0, first), (len(first), second)):
        check.line(line, offset)
    check.finish()
    (finding,) = check.findings
    assert (finding.kind, finding.line, finding.seq) == ("tombstone_invalid", 1, 1)
    assert finding.detail == "this deletion is not believed: it does not say log"
    assert (finding.fatal, check.verified_through_seq, check.suspect_records) == (True, 2, 0)


def checked(
    segments: dict[int, Sequence[bytes]],
    tombstones: tuple[Tombstone, ...] = (),
    *,
    whole: bool = True,
    newest: int | None = None,
    known: Sequence[KnownRecord] = (),
) -> ChainCheck:
    """Feed segments; their lines are split at LF again, as they would be read."""
    check = ChainCheck(LOG, tombstones, whole)
    for part, lines in segments.items():
        check.segment(name(part))
        offset = 0
        for line in re.findall(rb"[^\n]*\n|[^\n]+\Z", b"".join(lines)):
            check.line(line, offset, last_of_log=part == max(segments))
            offset += len(line)
    check.finish(None if newest is None else name(newest), known)
    return check


def kinds(check: ChainCheck) -> list[str]:
    return [finding.kind for finding in check.findings]


def test_an_untouched_log_has_no_findings() -> None:
    check = checked(SEGMENTS, newest=3)
    assert kinds(check) == []
    assert (check.segments, check.records, check.first_seq, check.last_seq) == (3, 9, 1, 9)
    assert (check.verified_through_seq, check.suspect_records) == (9, 0)
    assert check.head_hash == parse_header(LINES[-1]).hash  # type: ignore[union-attr]  # it is valid


@pytest.mark.parametrize("seq", range(1, 10))
def test_every_byte(seq: int) -> None:
    part, index = divmod(seq - 1, PER_SEGMENT)
    original = LINES[seq - 1]
    for position in range(len(original)):
        for flip in (0x01, 0x20):
            changed = bytearray(original)
            changed[position] ^= flip
            lines = list(SEGMENTS[part + 1])
            lines[index] = bytes(changed)
            check = checked({**SEGMENTS, part + 1: lines})
            if position == len(original) - 1 and seq == 9:
                assert kinds(check) == ["torn_tail"], "without its LF it may be a crash's"
                continue
            finding = check.findings[0]
            place = (finding.segment, finding.line, finding.offset, finding.seq)
            offset = sum(map(len, lines[:index]))
            assert place == (name(part + 1).logical, index + 1, offset, seq), (position, flip)
            assert check.verified_through_seq == seq - 1
            assert finding.fatal


@pytest.mark.parametrize(
    ("seq", "deleted"),
    [*((seq, 0) for seq in range(1, 10)), *((seq, 1) for seq in range(1 + PER_SEGMENT, 10))],
)
@pytest.mark.parametrize("whole", [True, False])
def test_one_each(seq: int, whole: bool, deleted: int) -> None:
    """Also where it is the first record of a segment, of the log, or behind a deleted one."""
    part, index = divmod(seq - 1, PER_SEGMENT)
    segments = {key: lines for key, lines in SEGMENTS.items() if key > deleted}
    original = LINES[seq - 1]
    for position in range(len(original) - 1):
        for flip in (0x01, 0x02, 0x20):
            changed = bytearray(original)
            changed[position] ^= flip
            lines = list(SEGMENTS[part + 1])
            lines[index] = bytes(changed)
            tombstones = TOMBSTONES[:deleted] if whole else ()
            check = checked({**segments, part + 1: lines}, tombstones, whole=whole)
            strange = bytes(changed).count(b"\n")  # a byte that became an LF makes two lines
            assert len(check.findings) == strange, (position, flip, check.findings)
            assert check.suspect_records == 9 - seq + strange
            assert check.last_seq in (8, 9)
            assert check.findings[0].seq == seq or not whole


def test_a_lost_lf_makes_one_line_of_two_and_the_second_is_missing() -> None:
    for seq in range(1, 9):
        lines = list(LINES)
        lines[seq - 1] = lines[seq - 1][:-1] + b"*"
        check = checked({1: lines})
        assert kinds(check)[0] == "hash_mismatch", "it begins and ends as a record does"
        assert (check.findings[0].line, check.findings[0].seq) == (seq, seq)
        assert len(check.findings) == (1 if seq == 8 else 2)


def harmed(lines: Sequence[bytes], harm: str, first: int, second: int) -> list[bytes]:
    result = list(lines)
    if harm == "remove":
        del result[first]
    elif harm == "repeat":
        result.insert(second, result[first])
    elif harm == "swap":
        result[first], result[second] = result[second], result[first]
    else:
        result[first] = make_line(LOG, first + 1, "ab" * 32)[0]
    return result


@given(
    st.sampled_from(["remove", "repeat", "swap", "replace"]),
    st.integers(0, 8),
    st.integers(0, 8),
)
@settings(max_examples=200)
def test_removed(harm: str, first: int, second: int) -> None:
    lines = harmed(LINES, harm, first, second)
    whole = lines == LINES or lines == LINES[:-1]  # the end cut cleanly leaves a shorter, good log
    check = checked({1: lines})
    assert bool(check.findings) != whole
    if not whole:
        place = next(i for i, line in enumerate(lines) if line != (*LINES, b"")[i])
        assert check.findings[0].line == place + 1
        assert check.verified_through_seq == place


@pytest.mark.parametrize("part", [1, 2])
def test_removed_segments_are_missing(part: int) -> None:
    rest = {key: lines for key, lines in SEGMENTS.items() if key != part}
    check = checked(rest)
    assert kinds(check) == ["missing_segment"]
    assert check.findings[0].seq == (part - 1) * PER_SEGMENT + 1
    assert str(part * PER_SEGMENT) in check.findings[0].detail


def test_removed_from_the_end_of_a_sealed_segment() -> None:
    check = checked({**SEGMENTS, 1: SEGMENTS[1][:-1]})
    assert kinds(check) == ["missing_segment"]
    assert (check.findings[0].seq, check.findings[0].segment) == (3, name(2).logical)


def test_the_newest_segment_missing_or_emptied_is_found() -> None:
    without = {1: SEGMENTS[1], 2: SEGMENTS[2]}
    for segments in (without, {**without, 3: []}):
        check = checked(segments, newest=3)
        assert kinds(check) == ["missing_segment"]
        assert check.findings[0].segment == name(3).logical
    assert kinds(checked({}, newest=3)) == ["missing_log"], "all of them"
    assert kinds(checked({**SEGMENTS, 4: []}, newest=3)) == [], "4 was just opened"


def test_the_newest_part_is_not_judged_by_its_text() -> None:
    check = ChainCheck(LOG)
    check.segment(name(9_999))
    check.line(LINES[0], 0)
    check.finish(name(10_000))
    assert kinds(check) == ["missing_segment"]
    check = ChainCheck(LOG)
    check.segment(name(10_000))
    check.line(LINES[0], 0)
    check.finish(name(9_999))
    assert kinds(check) == []


@pytest.mark.parametrize("deleted", [(1,), (1, 2), (2,)])
def test_tombstoned(deleted: tuple[int, ...]) -> None:
    rest = {key: lines for key, lines in SEGMENTS.items() if key not in deleted}
    check = checked(rest, tuple(TOMBSTONES[part - 1] for part in deleted))
    assert kinds(check) == []
    assert [tombstone.segment for tombstone in check.deleted] == [
        name(part).logical for part in deleted
    ]
    assert check.verified_through_seq == 9


def test_tombstoned_but_not_deleted_yet_is_no_finding() -> None:
    """Between the tombstone and the unlink a crash may come."""
    for count in (1, 2, 3):
        check = checked(SEGMENTS, TOMBSTONES[:count])
        assert kinds(check) == []
        assert check.deleted == []


def test_tombstoned_but_not_deleted_yet_is_still_checked_from_its_first_line() -> None:
    check = checked({**SEGMENTS, 2: [b"nonsense\n", *SEGMENTS[2][1:]]}, TOMBSTONES[:2])
    assert kinds(check) == ["not_a_record"]
    assert (check.findings[0].seq, check.deleted) == (4, [])


def test_tombstoned_in_part_is_missing_in_part() -> None:
    assert kinds(checked({3: SEGMENTS[3]}, TOMBSTONES[:1])) == ["missing_segment"]
    assert kinds(checked({3: SEGMENTS[3]}, TOMBSTONES[1:2])) == ["missing_segment"]


def test_a_later_tombstone_does_not_excuse_what_was_removed_before_it() -> None:
    """Otherwise whoever removes the oldest segment need only wait for the next clean deletion."""
    check = checked({3: SEGMENTS[3]}, (TOMBSTONES[1],))
    assert check.findings[0].kind == "missing_segment"
    assert check.findings[0].seq == 1


@pytest.mark.parametrize("field", ["first_prev_hash", "last_hash"])
def test_a_tombstone_that_does_not_fit_the_chain_is_not_believed(field: str) -> None:
    values = {key: getattr(TOMBSTONES[1], key) for key in Tombstone.__slots__}
    forged = Tombstone(**{**values, field: "ab" * 32})
    check = checked({1: SEGMENTS[1], 3: SEGMENTS[3]}, (forged,))
    assert check.findings
    assert check.verified_through_seq in (3, 6)


def test_the_first_tombstoned_record_was_changed_before() -> None:
    """The line before a deleted segment is no record: still only one finding."""
    lines = [*SEGMENTS[1][:-1], b"nonsense\n"]
    check = checked({1: lines, 3: SEGMENTS[3]}, (TOMBSTONES[1],))
    assert kinds(check) == ["not_a_record"]


def test_a_record_of_another_day_or_log_is_found() -> None:
    tomorrow, _ = make_line(LOG, 1, at=START + dt.timedelta(days=1))
    assert kinds(checked({1: [tomorrow]})) == ["wrong_day"]
    foreign, _ = make_line("other@hive1", 1)
    assert kinds(checked({1: [foreign]})) == ["chain_break"]


def test_a_torn_tail_is_a_warning_only_at_the_log_s_end() -> None:
    torn = [*SEGMENTS[3], b'{"v":1,']
    check = checked({**SEGMENTS, 3: torn})
    assert kinds(check) == ["torn_tail"]
    assert not check.findings[0].fatal
    assert (check.verified_through_seq, check.suspect_records, check.records) == (9, 0, 9)
    check = checked({**SEGMENTS, 1: [*SEGMENTS[1], b'{"v":1,']})
    assert kinds(check) == ["not_a_record"]


def test_what_cannot_be_read_is_one_finding() -> None:
    check = ChainCheck(LOG)
    check.segment(name(1))
    check.line(LINES[0], 0)
    check.unreadable("the compressed segment cannot be decompressed")
    check.segment(name(2))
    for line in SEGMENTS[2]:
        check.line(line, 0)
    check.finish()
    assert kinds(check) == ["not_a_record"]
    assert (check.findings[0].line, check.findings[0].offset) == (2, len(LINES[0]))
    assert (check.verified_through_seq, check.last_seq) == (1, 6)


def with_strange(strange: int, gone: int) -> list[bytes]:
    """Record 1, strange lines, and the records from 2 on less the first ``gone``."""
    return [LINES[0], *[b"nonsense\n"] * strange, *LINES[1 + gone :]]


@pytest.mark.parametrize("strange", [1, 2, 3])
def test_a_strange_line_stands_for_no_record_for_one_or_for_two(strange: int) -> None:
    for gone in range(2 * strange + 1):
        check = checked({1: with_strange(strange, gone)})
        assert kinds(check) == ["not_a_record"] * strange, gone
        assert [finding.seq for finding in check.findings] == list(range(2, 2 + strange))
        assert (check.last_seq, check.verified_through_seq) == (9, 1)
    check = checked({1: with_strange(strange, 2 * strange + 1)})
    assert kinds(check) == ["not_a_record"] * strange + ["seq_gap"]
    assert check.findings[-1].detail == (f"records {2 + strange} to {2 * strange + 2} are missing")


@pytest.mark.parametrize("strange", [1, 2, 3])
def test_strange_lines_at_a_segments_end_stand_for_as_many_records(strange: int) -> None:
    for gone in range(2 * strange + 2):
        lines = with_strange(strange, gone)
        check = checked({1: lines[: 1 + strange], 2: lines[1 + strange :]})
        missing = ["missing_segment"] if gone > 2 * strange else []
        assert kinds(check) == ["not_a_record"] * strange + missing, gone
        assert check.last_seq == 9
    assert check.findings[-1].detail.startswith(f"records 2 to {2 * strange + 2} are missing")
    assert check.findings[-1].seq == 2


def test_a_record_after_strange_lines_must_still_follow_the_one_before_them() -> None:
    other = make_line(LOG, 2, "ab" * 32)[0]
    check = checked({1: [LINES[0], b"nonsense\n", other]})
    assert kinds(check) == ["not_a_record", "chain_break"]


@pytest.mark.parametrize(
    ("following", "expected"),
    [
        (4, []),
        (5, []),
        (9, []),
        (3, ["seq_repeat"]),
        (1, ["seq_repeat"]),
    ],
)
def test_what_follows_a_segment_that_cannot_be_read_to_its_end(
    following: int, expected: list[str]
) -> None:
    """Any records may have been lost, and none may come again."""
    check = ChainCheck(LOG)
    check.segment(name(1))
    for line in LINES[:3]:
        check.line(line, 0)
    check.unreadable("the compressed segment cannot be decompressed")
    check.segment(name(2))
    check.line(LINES[following - 1], 0)
    check.finish()
    assert kinds(check) == ["not_a_record", *expected]
    assert check.findings[0].seq == 4
    assert (check.verified_through_seq, check.head_segment) == (3, name(2).logical)


def test_the_place_of_a_finding_is_its_segment_line_offset_and_number() -> None:
    check = checked({1: [*LINES[:2], b"x\n", LINES[3]], 2: LINES[4:6]})
    (found,) = check.findings
    offset = len(LINES[0]) + len(LINES[1])
    assert (found.segment, found.line, found.offset, found.seq) == (name(1).logical, 3, offset, 3)
    assert found.detail == "the line is not a record"
    assert (check.records, check.suspect_records, check.segments) == (6, 4, 2)
    assert (check.first_seq, check.last_seq, check.verified_through_seq) == (1, 6, 2)


def test_a_part_of_a_log_begins_where_it_begins() -> None:
    check = checked({2: SEGMENTS[2], 3: SEGMENTS[3]}, whole=False)
    assert kinds(check) == []
    assert (check.first_seq, check.last_seq, check.verified_through_seq) == (4, 9, 9)
    assert kinds(checked({}, whole=False)) == []
    assert kinds(checked({2: SEGMENTS[2]})) == ["missing_segment"]


HASHES = [header.hash for line in LINES if (header := parse_header(line)) is not None]


def begun() -> ChainCheck:
    check = ChainCheck(LOG)
    check.segment(name(1))
    check.line(LINES[0], 0)
    return check


def test_joining_intact_records_is_as_giving_them_line_by_line() -> None:
    check = begun()
    assert check.join(Intact(2, HASHES[0], 3, HASHES[3]), 777) is True
    assert (check.records, check.last_seq, check.verified_through_seq) == (4, 4, 4)
    assert check.head_hash == HASHES[3]
    check.line(LINES[4], 777)
    check.line(b"nonsense\n", 900)
    check.finish()
    (found,) = check.findings
    assert (found.kind, found.line, found.offset, found.seq) == ("not_a_record", 6, 900, 6)
    assert (check.records, check.verified_through_seq) == (6, 5)


def test_what_does_not_simply_go_on_is_not_joined_and_changes_nothing() -> None:
    good = Intact(2, HASHES[0], 3, HASHES[3])
    strange, broken, new = begun(), begun(), begun()
    strange.line(b"nonsense\n", 900)
    for line in (b"nonsense\n", LINES[1]):
        broken.line(line, 900)
    new.segment(name(2))
    for check, intact in (
        (begun(), good._replace(first_seq=3)),
        (begun(), good._replace(prev_hash="ab" * 32)),
        (strange, good),
        (broken, Intact(3, HASHES[1], 1, HASHES[2])),
        (new, good),
    ):
        before = asdict(check)
        assert check.join(intact, 777) is False
        assert asdict(check) == before


def test_a_record_of_another_day_is_found_within_a_segment_too() -> None:
    tomorrow, _ = make_line(LOG, 2, HASHES[0], at=START + dt.timedelta(days=1))
    assert kinds(checked({1: [LINES[0], tomorrow]})) == ["wrong_day"]


@pytest.mark.parametrize("ahead", [0, 1, 2, 3])
def test_strange_lines_before_a_deleted_segment_stand_for_at_most_two_records(ahead: int) -> None:
    first = 2 + ahead
    deleted = Tombstone(LOG, first, 5, name(2).logical, HASHES[first - 2], HASHES[4], "2027")
    check = checked({1: [LINES[0], b"nonsense\n"], 3: LINES[5:]}, (deleted,))
    assert kinds(check) == ["not_a_record", *(["missing_segment"] if ahead > 2 else [])]
    assert check.verified_through_seq == 1


def test_a_forged_tombstone_hides_no_right_one_behind_it() -> None:
    values = {key: getattr(TOMBSTONES[1], key) for key in Tombstone.__slots__}
    forged = Tombstone(**{**values, "first_prev_hash": "ab" * 32})
    check = checked({1: SEGMENTS[1], 3: SEGMENTS[3]}, (TOMBSTONES[0], forged, TOMBSTONES[1]))
    assert kinds(check) == []
    assert check.deleted == [TOMBSTONES[1]]


def test_what_is_missing_at_the_end_is_told_with_who_knows_of_it() -> None:
    (found,) = checked({1: SEGMENTS[1]}, known=[KnownRecord(LOG, "a cursor", 9)]).findings
    assert (found.line, found.seq) == (0, 4)
    assert found.detail == "the files end at seq 3, but a cursor knows it up to seq 9"
    (found,) = checked({}, known=[KnownRecord(LOG, "a cursor", 9)]).findings
    assert (found.line, found.offset, found.seq) == (0, 0, None)
    assert found.detail == "no segment of this log is left; a cursor knows it up to seq 9"
    (found,) = checked({}, known=[KnownRecord(LOG, "a sink", 0)]).findings
    assert found.detail == "no segment of this log is left; a sink knows it"
    (found,) = checked({1: []}, known=[KnownRecord(LOG, "a cursor", 1)]).findings
    assert (found.kind, found.seq) == ("tail_missing", 1)


def test_bounded() -> None:
    assert MAX_FINDINGS == 1000, "as the documents say"
    check = ChainCheck(LOG)
    check.segment(name(1))
    for number in range(MAX_FINDINGS + 500):
        check.line(b"nonsense\n", number * 9)
    check.finish()
    assert len(check.findings) == MAX_FINDINGS
    assert check.findings_omitted == 500
    assert check.suspect_records == MAX_FINDINGS + 500


@given(st.lists(st.sampled_from([*LINES, b"x\n", b"\n", b"\0\n"]), max_size=25), st.booleans())
def test_no_order_of_lines_makes_the_check_fail_or_a_wrong_log_good(
    lines: list[bytes], whole: bool
) -> None:
    check = checked({1: lines[:8], 2: lines[8:]}, whole=whole)
    good = lines == LINES[: len(lines)]
    if whole:
        assert bool(check.findings) != good
    assert check.records == len(lines)


def test_all_of_it() -> None:
    def found(seq: int, upto: int = 3) -> list[str]:
        segments = {part: lines for part, lines in SEGMENTS.items() if part <= upto}
        return kinds(checked(segments, known=[KnownRecord(LOG, "a cursor", seq)]))

    last = len(LINES)
    assert found(0) == found(last) == []
    assert found(last + 1) == ["tail_missing"]
    assert found(last, upto=2) == ["tail_missing"]
    assert found(last, upto=0) == ["missing_log"]


def test_erased() -> None:
    """erased: a stub counts as its record if an erasure proves it, and is a finding if none does"""
    whole = stub(LINES[4])
    segments = {**SEGMENTS, 2: [LINES[3], whole, LINES[5]]}
    erasure = Erasure(**erasure_details(LINES[4], name(2).logical), erased_at="2026-11-24")
    proven = ChainCheck(LOG, erasures={erasure.stub_sha256: erasure})
    for part, lines in segments.items():
        proven.segment(name(part))
        for line in lines:
            proven.line(line, 0)
    proven.finish()
    assert (proven.findings, proven.erased, proven.records) == ([], [erasure], 9)
    assert [(one.kind, one.seq) for one in checked(segments).findings] == [("erasure_unproven", 5)]


def tombstone(first: int, last: int, part: int = 2) -> Tombstone:
    return Tombstone(LOG, first, last, name(part).logical, HASHES[first - 2], HASHES[last - 1], "")


def test_a_check_is_of_a_whole_log_unless_it_says_otherwise() -> None:
    check = ChainCheck(LOG)
    check.finish()
    assert kinds(check) == ["missing_log"]


def test_a_line_without_lf_is_torn_only_where_it_may_be() -> None:
    check = ChainCheck(LOG)
    check.segment(name(1))
    check.line(LINES[0][:-1], 0)
    assert kinds(check) == ["not_a_record"]


def test_a_finding_names_the_number_that_was_expected_or_that_is_there() -> None:
    (changed,) = checked({1: [*LINES[:8], LINES[8].replace(b'"seq":9', b'"seq":7')]}).findings
    assert (changed.kind, changed.seq) == ("hash_mismatch", 9)
    gap, *_ = checked({1: [LINES[0], LINES[3]]}).findings
    assert (gap.kind, gap.seq, gap.detail) == ("seq_gap", 4, "records 2 to 3 are missing")
    again, *_ = checked({1: [*LINES[:3], LINES[0]]}).findings
    assert (again.kind, again.seq) == ("seq_repeat", 1)


def test_a_record_of_the_type_of_a_stub_that_is_none_needs_no_proof() -> None:
    line, _ = make_line(LOG, 1, event_type=RECORD_ERASED)
    assert kinds(checked({1: [line]})) == []


def test_a_deletion_is_looked_for_in_the_logs_of_retention_alone() -> None:
    for log, expected in ((LOG, []), ("retention@hive1", ["tombstone_invalid"])):
        line, _ = make_line(log, 1, event_type=SEGMENT_DELETED, details={})
        check = ChainCheck(log)
        check.segment(SegmentName(LogId.parse(log), START.date(), 1))
        check.line(line, 0)
        assert kinds(check) == expected


def test_what_is_missing_from_a_part_without_records_is_told_too() -> None:
    assert kinds(checked({1: []}, whole=False, known=[KnownRecord(LOG, "a cursor", 0)])) == []
    (found,) = checked({1: []}, whole=False, known=[KnownRecord(LOG, "a cursor", 1)]).findings
    assert (found.kind, found.seq) == ("tail_missing", 1)
    assert found.detail == "the files end at seq 0, but a cursor knows it up to seq 1"
    (found,) = checked({1: SEGMENTS[1]}, newest=3).findings
    assert (found.line, found.offset, found.seq) == (0, 0, None)


def test_a_record_that_a_sink_knows_otherwise_is_told_with_its_segment() -> None:
    check = begun()
    check.contradicted(KnownRecord(LOG, "a sink", 1, "ab" * 32, name(1).logical, 77))
    (found,) = check.findings
    assert (found.kind, found.segment, found.line) == ("hash_mismatch", name(1).logical, 0)
    assert (found.offset, found.seq) == (77, 1)


def erasures_of(*seqs: int) -> dict[str, Erasure]:
    found = [
        Erasure(**erasure_details(LINES[seq - 1], name(1).logical), erased_at="2026-11-24T00:00Z")
        for seq in seqs
    ]
    return {erasure.stub_sha256: erasure for erasure in found}


def unfinished(check: ChainCheck, parts: Sequence[int]) -> list[int | None]:
    for part in parts:
        check.segment(name(part))
        for line in SEGMENTS[part]:
            check.line(line, 0)
    check.finish()
    assert {(found.kind, found.line, found.offset) for found in check.findings} <= {
        ("erasure_unfinished", 0, 0)
    }
    return [found.seq for found in check.findings]


def test_an_erasure_that_was_not_carried_out_is_found_where_its_record_still_is() -> None:
    every = erasures_of(*range(1, 10))
    assert unfinished(ChainCheck(LOG, erasures=every), [1, 2, 3]) == list(range(1, 10))
    deleted = ChainCheck(LOG, (TOMBSTONES[1],), erasures=every)
    assert unfinished(deleted, [1, 3]) == [1, 2, 3, 7, 8, 9]
    part = ChainCheck(LOG, whole=False, erasures=every)
    assert unfinished(part, [2]) == [4, 5, 6]
    empty = ChainCheck(LOG, erasures=erasures_of(1))
    empty.segment(name(1))
    empty.finish()
    assert kinds(empty) == []


def test_a_part_that_begins_with_a_changed_record_is_checked_behind_it() -> None:
    changed = LINES[3].replace(b"task-4", b"task-5")
    assert changed != LINES[3]
    stranger, _ = make_line(LOG, 5, "ab" * 32)
    check = checked({1: [changed, stranger]}, whole=False)
    assert kinds(check) == ["hash_mismatch", "chain_break"]
    assert kinds(checked({1: [changed, *LINES[4:]]}, whole=False)) == ["hash_mismatch"]
    check = checked({1: [b"nonsense\n", changed, *LINES[4:]]}, whole=False)
    assert kinds(check) == ["not_a_record", "hash_mismatch"]


def test_a_tombstone_that_overlaps_what_is_there_is_not_believed() -> None:
    for forged in (tombstone(3, 6), tombstone(4, 7)):
        check = checked({1: SEGMENTS[1], 3: SEGMENTS[3]}, (forged,))
        assert (kinds(check), check.deleted) == (["missing_segment"], [])
    check = checked({1: SEGMENTS[1], 3: SEGMENTS[3]}, (tombstone(4, 9), TOMBSTONES[1]))
    assert (kinds(check), check.deleted) == ([], [TOMBSTONES[1]])


def test_tombstones_at_the_end_are_followed() -> None:
    check = checked({1: SEGMENTS[1]}, (TOMBSTONES[1], TOMBSTONES[2]))
    assert (kinds(check), check.deleted) == ([], [TOMBSTONES[1], TOMBSTONES[2]])
    assert check.verified_through_seq == 9


def test_a_record_between_two_tombstones_is_missing() -> None:
    check = checked({3: SEGMENTS[3]}, (TOMBSTONES[0], tombstone(5, 6)))
    assert [(found.kind, found.seq) for found in check.findings] == [("missing_segment", 4)]


def test_what_follows_a_tombstone_behind_an_unreadable_segment_must_fit_it() -> None:
    for record, expected in ((LINES[6], []), (make_line(LOG, 7, "ab" * 32)[0], ["chain_break"])):
        check = ChainCheck(LOG, (TOMBSTONES[1],))
        check.segment(name(1))
        for line in LINES[:3]:
            check.line(line, 0)
        check.unreadable("the compressed segment cannot be decompressed")
        check.segment(name(3))
        check.line(record, 0)
        check.finish()
        assert kinds(check) == ["not_a_record", *expected]


def test_a_record_behind_strange_lines_is_known_by_its_number() -> None:
    check = checked({1: [*LINES[:2], b"nonsense\n", LINES[1]]})
    assert kinds(check) == ["not_a_record", "seq_repeat"]
    changed = LINES[2].replace(b"task-3", b"task-5")
    check = checked({1: [LINES[0], b"nonsense\n", changed, *LINES[3:]]})
    assert [(found.kind, found.seq) for found in check.findings] == [
        ("not_a_record", 2),
        ("hash_mismatch", 3),
    ]
    assert check.last_seq == 9
