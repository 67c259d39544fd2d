"""The chain's head, driven against a simple model: a list of what was accepted, with its clock."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from auditlog.errors import RecordTooLarge
from auditlog.format.record import MAX_RECORD_BYTES, Header, Record, format_ns, parse_header
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.verification.chain import ChainCheck
from auditlog.writer import log_events
from auditlog.writer.chain_head import ChainHead, next_segment
from auditlog.writer.clock import SECOND_NS, day_of
from auditlog.writer.flush_policy import MAX_COMMIT_BYTES
from auditlog.writer.recovery import Recovered
from auditlog.writer.ticket import Commit

LOG = LogId("queen-rbee", "hive1")
ME = '"service":"queen-rbee","host":"hive1"'
START_NS = int(dt.datetime(2026, 11, 23, 23, 59, 50, tzinfo=dt.UTC).timestamp()) * SECOND_NS
DAY_NS = 86_400 * SECOND_NS


def body_of(details: dict[str, Any], event_type: str = "load.test") -> bytes:
    return b'"event_type":"%b",%b,"outcome":"success","severity":"info","details":%b' % (
        event_type.encode(),
        ME.encode(),
        orjson.dumps(details),
    )


def head_of(max_segment_bytes: int = 1 << 20, max_age_ns: int | None = None) -> ChainHead:
    return ChainHead(LOG, ME, max_segment_bytes, max_segment_age_ns=max_age_ns)


def header_of(line: bytes) -> Header:
    header = parse_header(line)
    assert header is not None
    return header


def records_of(commits: list[Commit]) -> list[tuple[SegmentName, Record]]:
    return [
        (commit.segment, Record(line, header_of(line)))
        for commit in commits
        for line in commit.lines
    ]


def state_of(head: ChainHead) -> tuple[Any, ...]:
    return (
        head.seq,
        head.hash,
        head.segment,
        head.size,
        head.records,
        head.queued_bytes,
        head.queued_events,
        [list(commit.lines) for commit in head.commits],
    )


class ChainHeadAgainstModel(RuleBasedStateMachine):
    """Whatever is appended, with whatever clock, comes out as one good log."""

    head: ChainHead
    max_segment_bytes: int

    @initialize(
        size=st.sampled_from([2_000, 5_000, 100_000]),
        max_age=st.sampled_from([None, 30 * SECOND_NS]),
    )
    def begin(self, size: int, max_age: int | None) -> None:
        self.max_segment_bytes = size
        self.head = head_of(size, max_age)
        self.now_ns = START_NS
        self.taken: list[Commit] = []

    @rule(step=st.integers(0, 20 * SECOND_NS))
    def time_passes(self, step: int) -> None:
        self.now_ns += step

    @rule(step=st.sampled_from([1, SECOND_NS, 60 * SECOND_NS, DAY_NS, 3 * DAY_NS]))
    def the_clock_goes_back(self, step: int) -> None:
        self.now_ns -= step

    @rule(step=st.sampled_from([3600 * SECOND_NS, DAY_NS, 40 * DAY_NS]))
    def the_clock_jumps(self, step: int) -> None:
        self.now_ns += step

    @rule(pad=st.one_of(st.integers(0, 300), st.integers(0, 60_000)))
    def append(self, pad: int) -> None:
        body = body_of({"pad": "x" * pad})
        commit = self.head.append(body, self.now_ns)
        record = Record(commit.lines[-1], header_of(commit.lines[-1]))
        assert (record.seq, record.hash) == (self.head.seq, self.head.hash)
        assert commit is self.head.commits[-1]
        assert record.fields["details"]["pad"] == "x" * pad
        clock_at = record.fields["details"].get("clock_at", record.header.timestamp)
        assert clock_at == format_ns(self.now_ns), "the clock's reading is never lost"

    @rule(extra=st.sampled_from([1, 50_000]))
    def append_too_much(self, extra: int) -> None:
        before = state_of(self.head)
        with pytest.raises(RecordTooLarge, match="65535 are allowed"):
            self.head.append(body_of({"pad": "x" * (MAX_RECORD_BYTES + extra)}), self.now_ns)
        assert state_of(self.head) == before

    @rule()
    def grow_older(self) -> None:
        self.head.grow_older(self.now_ns)

    @rule()
    def rotate(self) -> None:
        self.head.rotate(self.now_ns)

    @precondition(lambda self: self.head.commits)
    @rule()
    def commit_succeeds(self) -> None:
        commit = self.head.oldest()
        self.head.finished(commit)
        self.taken.append(commit)

    @precondition(lambda self: self.head.commits)
    @rule()
    def commit_fails_and_is_queued_again(self) -> None:
        commit = self.head.oldest()
        assert self.head.oldest() is commit is self.head.commits[0]

    @invariant()
    def one_good_log(self) -> None:
        if not hasattr(self, "taken"):
            return
        commits = [*self.taken, *self.head.commits]
        queued = [line for commit in self.head.commits for line in commit.lines]
        assert self.head.queued_bytes == sum(map(len, queued))
        assert self.head.queued_events == len(queued)
        check = ChainCheck(str(LOG))
        segment: SegmentName | None = None
        size = 0
        for commit in commits:
            assert commit.size == sum(map(len, commit.lines)) <= MAX_COMMIT_BYTES
            assert commit.last_seq == header_of(commit.lines[-1]).seq
            if commit.segment != segment:
                assert segment is None or segment < commit.segment
                segment, size = commit.segment, 0
                check.segment(segment)
                assert header_of(commit.lines[0]).event_type == "log.segment_opened"
            assert commit.offset == size
            for line in commit.lines:
                check.line(line, size)
                size += len(line)
        assert check.findings == []
        assert check.last_seq in (self.head.seq, None)
        assert self.head.segment == segment
        assert segment is None or self.head.size == size


ChainHeadAgainstModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None
)
TestChainHeadAgainstModel = ChainHeadAgainstModel.TestCase


@given(st.lists(st.tuples(st.integers(0, 2 * 3600), st.integers(0, 2_000)), max_size=30))
@settings(deadline=None)
def test_no_gap(arrivals: list[tuple[int, int]]) -> None:
    head, now_ns = head_of(10_000), START_NS
    for step, pad in arrivals:
        now_ns += step * SECOND_NS
        head.append(body_of({"pad": "x" * pad}), now_ns)
    before = "0" * 64
    for number, (_, record) in enumerate(records_of(list(head.commits)), 1):
        assert (record.seq, record.prev_hash) == (number, before)
        before = record.hash
    assert before == head.hash


def test_opened_first() -> None:
    head = head_of(3_000)
    for _ in range(30):
        head.append(body_of({"pad": "x" * 300}), START_NS)
    head.append(body_of({}), START_NS + DAY_NS)
    records = records_of(list(head.commits))
    sizes: dict[str, int] = {}
    seen: SegmentName | None = None
    last_hash = ""
    for segment, record in records:
        if segment != seen:
            assert record.event_type == "log.segment_opened"
            details = record.fields["details"]
            if seen is None:
                assert details == {"previous_segment": None}
            else:
                assert details == {
                    "previous_segment": seen.logical,
                    "previous_bytes": sizes[seen.logical],
                    "previous_hash": last_hash,
                }
            seen = segment
        sizes[segment.logical] = sizes.get(segment.logical, 0) + len(record.line)
        last_hash = record.hash
    assert len(sizes) > 4
    assert all(size <= 3_000 for size in sizes.values())


@pytest.mark.parametrize("back_ns", [1, SECOND_NS, DAY_NS, 400 * DAY_NS])
def test_own_day(back_ns: int) -> None:
    """Also when the clock goes back over midnight; then the record says what the clock said."""
    head = head_of()
    after_midnight = START_NS - START_NS % DAY_NS + DAY_NS
    head.append(body_of({}), after_midnight)
    head.append(body_of({"n": 1}), after_midnight - back_ns)
    head.append(b'"event_type":"bare.body",%b,"outcome":"success"' % ME.encode(), START_NS - 1)
    head.append(body_of({"n": 2}), after_midnight + 5)
    records = records_of(list(head.commits))
    assert {segment.day.isoformat() for segment, _ in records} == {"2026-11-24"}
    assert {record.header.day for _, record in records} == {"2026-11-24"}
    clamped, bare, after = (record for _, record in records[-3:])
    assert clamped.fields["details"] == {"n": 1, "clock_at": format_ns(after_midnight - back_ns)}
    assert bare.fields["details"] == {"clock_at": format_ns(START_NS - 1)}
    assert after.fields["details"] == {"n": 2}


def test_a_clamped_record_never_names_a_member_twice() -> None:
    """An index refuses a document that does; log.clock_stepped comes when the clock went back."""
    head = head_of()
    head.append(body_of({}), START_NS + DAY_NS)
    back = START_NS - DAY_NS
    head.append(log_events.clock_stepped(ME, back, -2 * DAY_NS), back)
    head.append(body_of({"clock_at": "mine"}), back)
    records = [record for _, record in records_of(list(head.commits))]
    assert [len(re.findall(rb'"clock_at":', record.line)) for record in records[-3:]] == [0, 1, 1]
    assert {record.header.day for record in records} == {"2026-11-24"}


def test_the_same_second_is_not_read_as_another() -> None:
    head = head_of()
    instants = [START_NS, START_NS + 999_999_999, START_NS + SECOND_NS, START_NS + 1, START_NS - 1]
    for now_ns in instants:
        head.append(body_of({}), now_ns)
    written = [record.header.timestamp for _, record in records_of(list(head.commits))[1:]]
    assert written == [format_ns(now_ns) for now_ns in instants]


def test_a_record_of_the_largest_size_is_taken_and_one_byte_more_changes_nothing() -> None:
    head = head_of()
    head.append(body_of({"pad": ""}), START_NS)
    room = MAX_RECORD_BYTES + 1 - len(head.commits[-1].lines[-1])
    before = state_of(head)
    with pytest.raises(RecordTooLarge, match="65536 bytes"):
        head.append(body_of({"pad": "x" * (room + 1)}), START_NS)
    assert state_of(head) == before
    head.append(body_of({"pad": "x" * room}), START_NS)
    assert len(head.commits[-1].lines[-1]) == MAX_RECORD_BYTES + 1


def test_what_is_too_large_opens_no_segment_for_the_new_day() -> None:
    head = head_of()
    too_large = body_of({"pad": "x" * MAX_RECORD_BYTES})
    with pytest.raises(RecordTooLarge):
        head.append(too_large, START_NS)
    assert (head.seq, head.segment, len(head.commits)) == (0, None, 0)
    head.append(body_of({}), START_NS)
    before = state_of(head)
    with pytest.raises(RecordTooLarge):
        head.append(too_large, START_NS + DAY_NS)
    assert state_of(head) == before


def test_a_number_that_grows_a_digit_while_rotating_makes_no_line_too_long() -> None:
    """With seq 9 it would just fit; the record that opens the segment takes 9, so it gets 10."""
    head = head_of(70_000)
    for _ in range(7):
        head.append(body_of({"pad": "x" * 2000}), START_NS)
    assert head.seq == 8
    empty = len(head.commits[-1].lines[-1]) - 2000
    before = state_of(head)
    with pytest.raises(RecordTooLarge):
        head.append(body_of({"pad": "x" * (MAX_RECORD_BYTES + 1 - empty)}), START_NS)
    assert state_of(head) == before
    head.append(body_of({"pad": "x" * (MAX_RECORD_BYTES - empty)}), START_NS)
    assert len(head.commits[-1].lines[-1]) == MAX_RECORD_BYTES + 1


def test_a_commit_is_at_most_one_mebibyte() -> None:
    head = head_of(1 << 30)
    for _ in range(40):
        head.append(body_of({"pad": "x" * 60_000}), START_NS)
    assert len(head.commits) == 3
    assert all(commit.size <= MAX_COMMIT_BYTES for commit in head.commits)
    assert len({commit.segment for commit in head.commits}) == 1


def test_resume_goes_on_behind_the_last_record() -> None:
    head = head_of()
    segment = SegmentName(LOG, dt.date(2026, 11, 23), 7)
    head.resume(Recovered(segment, 1234, 41, "ab" * 32, format_ns(START_NS - 5_000)), START_NS)
    commit = head.append(body_of({}), START_NS)
    assert (commit.segment, commit.offset, head.seq) == (segment, 1234, 42)
    assert header_of(commit.lines[0]).prev_hash == "ab" * 32


def test_resume_on_a_later_day_opens_a_segment_that_names_the_one_before() -> None:
    head = head_of()
    segment = SegmentName(LOG, dt.date(2026, 11, 20), 7)
    head.resume(Recovered(segment, 1234, 41, "ab" * 32, format_ns(0)), START_NS)
    head.append(body_of({}), START_NS)
    (_, opened), _ = records_of(list(head.commits))
    assert opened.fields["details"]["previous_segment"] == segment.logical
    assert opened.fields["details"]["previous_bytes"] == 1234


def test_rotating_a_segment_that_holds_only_its_first_record_does_nothing() -> None:
    head = head_of()
    head.rotate(START_NS)
    assert head.segment is None
    head.append(body_of({}), START_NS)
    for _ in range(3):
        head.rotate(START_NS)
    assert head.segment is not None
    assert head.segment.part == 2


def test_a_log_without_a_record_is_empty_and_has_no_segment_to_grow_older() -> None:
    head = head_of(max_age_ns=SECOND_NS)
    head.grow_older(START_NS)
    assert (head.seq, head.size, head.records) == (0, 0, 0)
    assert head.segment is None


def test_a_clock_at_the_epoch_opens_a_segment_like_any_other() -> None:
    head = head_of()
    commit = head.append(body_of({}), 0)
    assert commit.segment == SegmentName(LOG, dt.date(1970, 1, 1), 1)


@pytest.mark.parametrize("now_ns", [-1, -SECOND_NS, -DAY_NS, -DAY_NS - 1, -300 * 365 * DAY_NS])
def test_a_clock_before_the_epoch_is_recorded_as_it_is(now_ns: int) -> None:
    head = head_of()
    instants = [now_ns, now_ns, START_NS]
    commits = [head.append(body_of({}), at) for at in instants]
    assert commits[0].segment == SegmentName(LOG, day_of(now_ns), 1)
    written = [record.header.timestamp for _, record in records_of(list(head.commits))]
    assert written == [format_ns(at) for at in (now_ns, *instants[:-1], START_NS, START_NS)]


def test_a_segment_of_before_the_epoch_keeps_its_day_when_the_clock_is_behind_it() -> None:
    head = head_of()
    empty = SegmentName(LOG, dt.date(1969, 12, 30), 1)
    head.resume(Recovered(empty=empty), -3 * DAY_NS)
    assert [record.header.timestamp for _, record in records_of(list(head.commits))] == [
        "1969-12-30T00:00:00.000000Z"
    ]


def test_a_record_at_midnight_is_the_new_days_and_says_no_other_time() -> None:
    head = head_of()
    midnight = START_NS - START_NS % DAY_NS + DAY_NS
    head.append(body_of({}), midnight - 1)
    commit = head.append(body_of({}), midnight)
    assert commit.segment.day == dt.date(2026, 11, 24)
    (_, record) = records_of([commit])[-1]
    assert record.header.timestamp == format_ns(midnight)
    assert record.fields["details"] == {}


def test_the_records_of_a_second_that_began_before_the_first_have_their_own_times() -> None:
    head = head_of()
    instants = [START_NS + ms * 1_000_000 for ms in (300, 650, 900)]
    for now_ns in instants:
        head.append(body_of({}), now_ns)
    written = [record.header.timestamp for _, record in records_of(list(head.commits))[1:]]
    assert written == [format_ns(now_ns) for now_ns in instants]


def test_a_record_that_fills_the_segment_is_taken_whatever_its_number_would_be_in_another() -> None:
    """In a new segment its number would have one digit more, which would not fit."""
    first = with_short_numbers(1 << 20)
    head = with_short_numbers(first.size + MAX_RECORD_BYTES + 1)
    commit = head.append(largest_after(head), START_NS)
    assert len(commit.lines[-1]) == MAX_RECORD_BYTES + 1
    assert head.size == head.max_segment_bytes
    assert (head.seq, len({each.segment for each in head.commits})) == (9, 1)


def test_a_number_that_keeps_its_digits_while_rotating_refuses_nothing() -> None:
    """With seq 8 it just fits; the record that opens the segment takes 8, so it gets 9."""
    head = with_short_numbers(70_000, events=6)
    assert head.seq == 7
    commit = head.append(largest_after(head), START_NS)
    assert (head.seq, head.records) == (9, 2)
    assert len(commit.lines[-1]) == MAX_RECORD_BYTES + 1


def with_short_numbers(max_segment_bytes: int, events: int = 7) -> ChainHead:
    """A head whose numbers have one digit up to now."""
    head = head_of(max_segment_bytes)
    for _ in range(events):
        head.append(body_of({"pad": "x" * 2000}), START_NS)
    return head


def largest_after(head: ChainHead) -> bytes:
    """A body whose line is as long as a record may be, with a number of as many digits."""
    empty = len(head.commits[-1].lines[-1]) - 2000
    return body_of({"pad": "x" * (MAX_RECORD_BYTES + 1 - empty)})


def test_a_commit_may_be_one_mebibyte_to_the_byte() -> None:
    head = head_of(1 << 30)
    head.append(body_of({"pad": ""}), START_NS)
    for _ in range(8):  # the numbers from 10 on have two digits
        head.append(body_of({"pad": "x" * 60_000}), START_NS)
    empty = len(head.commits[-1].lines[-1]) - 60_000
    while (room := MAX_COMMIT_BYTES - head.size) > MAX_RECORD_BYTES:
        head.append(body_of({"pad": "x" * 40_000}), START_NS)
    head.append(body_of({"pad": "x" * (room - empty)}), START_NS)
    assert [commit.size for commit in head.commits] == [MAX_COMMIT_BYTES]


def test_a_log_that_was_resumed_may_rotate_at_once() -> None:
    head = head_of()
    segment = SegmentName(LOG, dt.date(2026, 11, 23), 7)
    head.resume(Recovered(segment, 1234, 41, "ab" * 32, format_ns(START_NS)), START_NS)
    head.rotate(START_NS)
    assert head.segment == segment.next_part()


@pytest.mark.parametrize(("day", "used"), [(22, False), (23, True), (24, True)])
def test_a_segment_without_a_record_is_used_again_unless_its_day_is_over(
    day: int, used: bool
) -> None:
    head = head_of()
    empty = SegmentName(LOG, dt.date(2026, 11, day), 3)
    head.resume(Recovered(empty=empty), START_NS)
    assert (head.segment, head.seq) == ((empty, 1) if used else (None, 0))


def test_a_segment_goes_on_until_it_is_as_old_as_it_may_be() -> None:
    head = head_of(max_age_ns=100 * SECOND_NS)
    now = START_NS - 3600 * SECOND_NS
    head.append(body_of({}), now)
    segment = head.segment
    head.grow_older(now + 100 * SECOND_NS - 1)
    assert head.segment == segment
    head.grow_older(now + 100 * SECOND_NS)
    assert head.segment != segment


def test_a_segment_grows_older_from_its_first_event_on() -> None:
    """As far as it was asked for: the record that opened it does not count."""
    head = head_of(max_age_ns=100 * SECOND_NS)
    now = START_NS - 3600 * SECOND_NS
    head.append(body_of({}), now)
    head.rotate(now)
    assert head.records == 1
    head.grow_older(now + 90 * SECOND_NS)
    head.append(body_of({}), now + 90 * SECOND_NS)
    head.grow_older(now + 150 * SECOND_NS)
    assert head.records == 2
    head.grow_older(now + 190 * SECOND_NS)
    assert head.records == 1


def test_a_log_without_a_limit_of_age_opens_no_segment_for_a_day_without_events() -> None:
    head = head_of()
    head.append(body_of({}), START_NS)
    before = state_of(head)
    head.grow_older(START_NS + 3 * DAY_NS)
    assert state_of(head) == before


@pytest.mark.parametrize(("beyond", "goes_on"), [(0, True), (1, False)])
def test_a_segment_that_grows_older_goes_on_while_it_is_within_its_size(
    beyond: int, goes_on: bool
) -> None:
    """Only a first event that is too long for any makes it larger."""
    whole = head_of()
    whole.append(body_of({}), START_NS)
    head = head_of(whole.size - beyond, DAY_NS)
    head.append(body_of({}), START_NS)
    segment = head.segment
    head.grow_older(START_NS + 1)
    assert (head.segment == segment) is goes_on


@pytest.mark.parametrize(("limit", "rotates"), [(0, True), (1, False)])
def test_a_segment_has_no_age_where_none_is_given(limit: int, rotates: bool) -> None:
    got = next_segment(
        SegmentName(LOG, DAY, 1),
        size=0,
        records=2,
        line_bytes=1,
        day=DAY,
        max_segment_bytes=1000,
        max_segment_age_ns=limit,
    )
    assert (got is not None) is rotates


DAY = dt.date(2026, 11, 23)
MAX_BYTES = 1000

arrivals = st.lists(st.tuples(st.integers(-2, 3), st.integers(1, 1500)), min_size=1, max_size=60)


def written(arriving: list[tuple[int, int]]) -> list[tuple[SegmentName, list[tuple[dt.date, int]]]]:
    """Put lines of (day, bytes) where next_segment says; a segment begins with one of 100 bytes."""
    current = SegmentName(LOG, DAY, 1)
    segments: list[tuple[SegmentName, list[tuple[dt.date, int]]]] = [(current, [(DAY, 100)])]
    day = DAY
    for step, size in arriving:
        day += dt.timedelta(days=step)
        lines = segments[-1][1]
        following = next_segment(
            current,
            size=sum(line_bytes for _, line_bytes in lines),
            records=len(lines),
            line_bytes=size,
            day=day,
            max_segment_bytes=MAX_BYTES,
        )
        if following is not None:
            current = following
            segments.append((current, [(day, 100)]))
        segments[-1][1].append((day, size))
    return segments


@given(arrivals)
def test_own_day_of_the_segment(arriving: list[tuple[int, int]]) -> None:
    for name, lines in written(arriving):
        assert all(day <= name.day for day, _ in lines), "only a clock that went back is earlier"


@given(arrivals)
def test_never_back(arriving: list[tuple[int, int]]) -> None:
    names = [name for name, _ in written(arriving)]
    assert names == sorted(set(names))


@given(arrivals)
def test_bounded_size(arriving: list[tuple[int, int]]) -> None:
    for _, lines in written(arriving):
        if len(lines) > 2:
            assert sum(size for _, size in lines) <= MAX_BYTES


ages = st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=80)


@given(ages)
def test_bounded_age(steps: list[tuple[int, bool]]) -> None:
    """Whenever it is asked, what lies in the newest segment is younger than max_segment_age."""
    head, now, limit = head_of(max_age_ns=100 * SECOND_NS), START_NS, 100
    events: list[tuple[SegmentName, int]] = []
    head.append(body_of({}), now)
    events.append((head.segment, now))  # type: ignore[arg-type]  # it has one now
    for seconds, writes in steps:
        now += seconds * SECOND_NS
        head.grow_older(now)
        assert all(
            now - at < (limit + 40) * SECOND_NS for name, at in events if name == head.segment
        )
        if writes:
            head.append(body_of({}), now)
            events.append((head.segment, now))  # type: ignore[arg-type]  # as above
    quiet = now + 3 * limit * SECOND_NS
    head.grow_older(quiet)
    assert head.records == 1, "a log that falls silent is finished, too"
    segment = head.segment
    head.grow_older(quiet + limit * SECOND_NS)
    if day_of(quiet + limit * SECOND_NS) == day_of(quiet):
        assert head.segment == segment, "and no segment without an event follows"


@given(
    records=st.integers(1, 3),
    age=st.integers(-10, 10),
    limit=st.one_of(st.none(), st.integers(1, 10)),
    size=st.integers(0, 1000),
)
def test_bounded_age_by_the_rule_alone(
    records: int, age: int, limit: int | None, size: int
) -> None:
    current = SegmentName(LOG, DAY, 1)
    common = {"size": size, "records": records, "line_bytes": 1, "max_segment_bytes": 1001}
    got = next_segment(current, **common, day=DAY, age_ns=age, max_segment_age_ns=limit)
    old = limit is not None and age >= limit and records > 1
    assert got == (current.next_part() if old else None)
    tomorrow = DAY + dt.timedelta(days=1)
    got = next_segment(current, **common, day=tomorrow, age_ns=age, max_segment_age_ns=limit)
    assert got == SegmentName(LOG, tomorrow, 1)


def test_a_line_that_just_fits_does_not_rotate() -> None:
    current = SegmentName(LOG, DAY, 1)
    for line_bytes, expected in ((100, None), (101, current.next_part())):
        got = next_segment(
            current, size=900, records=2, line_bytes=line_bytes, day=DAY, max_segment_bytes=1000
        )
        assert got == expected


@pytest.mark.parametrize(("records", "part"), [(1, None), (2, 2), (3, 2)])
def test_a_segment_of_one_record_takes_any_line(records: int, part: int | None) -> None:
    got = next_segment(
        SegmentName(LOG, DAY, 1),
        size=900,
        records=records,
        line_bytes=101,
        day=DAY,
        max_segment_bytes=1000,
    )
    assert (None if got is None else got.part) == part


def test_a_new_day_begins_with_part_one() -> None:
    current = SegmentName(LOG, DAY, 7)
    tomorrow = DAY + dt.timedelta(days=1)
    got = next_segment(
        current, size=1, records=1, line_bytes=1, day=tomorrow, max_segment_bytes=1000
    )
    assert got == SegmentName(LOG, tomorrow, 1)
