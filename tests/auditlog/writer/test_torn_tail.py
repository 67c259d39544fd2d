"""The end of a log after a crash: what stands, what is torn, what is damage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.format.record import MAX_RECORD_BYTES
from auditlog.writer.flush_policy import MAX_COMMIT_BYTES
from auditlog.writer.torn_tail import WINDOW_BYTES, Tail, scan_tail
from tests.support.logs import make_line

LOG = "queen-rbee@hive1"


def chain(count: int, *, log: str = LOG, pad: int = 0) -> list[bytes]:
    lines, before = [], "0" * 64
    for seq in range(1, count + 1):
        line, before = make_line(log, seq, before, details={"pad": "x" * pad})
        lines.append(line)
    return lines


LINES = chain(4)
CONTENT = b"".join(LINES)
ENDS = [sum(map(len, LINES[:count])) for count in range(len(LINES) + 1)]


def test_every_cut() -> None:
    for cut in range(len(CONTENT) + 1):
        tail = scan_tail(CONTENT[:cut], 0, LOG)
        whole = max(count for count, end in enumerate(ENDS) if end <= cut)
        assert not tail.damage, cut
        assert tail.end == ENDS[whole], cut
        assert (tail.last.seq if tail.last else 0) == whole, cut


def test_every_cut_also_of_a_window_that_starts_inside_the_segment() -> None:
    for start in (1, ENDS[1] - 1, ENDS[1] + 5):
        first_whole = min(count for count, end in enumerate(ENDS) if end > start)
        for cut in range(ENDS[first_whole + 1], len(CONTENT) + 1):
            tail = scan_tail(CONTENT[start:cut], start, LOG)
            whole = max(count for count, end in enumerate(ENDS) if end <= cut)
            assert not tail.damage, (start, cut)
            assert tail.end == ENDS[whole], (start, cut)


@given(cut=st.integers(0, len(CONTENT)), zeros=st.integers(1, 5000), rest=st.binary(max_size=50))
def test_zeros(cut: int, zeros: int, rest: bytes) -> None:
    torn = CONTENT[:cut] + bytes(zeros) + rest
    tail = scan_tail(torn, 0, LOG)
    assert not tail.damage
    assert tail.end == max(end for end in ENDS if end <= cut)


@given(st.binary(min_size=1, max_size=300).filter(lambda rest: b"\n" not in rest))
def test_zeros_or_anything_else_without_an_lf(rest: bytes) -> None:
    tail = scan_tail(CONTENT + rest, 0, LOG)
    assert (tail.damage, tail.end) == ("", len(CONTENT))


def test_zeros_in_place_of_a_page_are_torn_with_all_that_follows() -> None:
    """Whole lines behind a hole were never acknowledged: the sync that covers both did not end."""
    for begin in range(ENDS[1], ENDS[3], 7):
        holed = CONTENT[:begin] + bytes(64) + CONTENT[begin + 64 :]
        tail = scan_tail(holed, 0, LOG)
        assert not tail.damage, begin
        assert tail.end == max(end for end in ENDS if end <= begin)


@pytest.mark.parametrize("line", range(len(LINES)))
def test_evidence(line: int) -> None:
    """Also in the last line, and also where the change makes a line no record at all."""
    for position in range(ENDS[line], ENDS[line + 1]):
        for flip in (0x01, 0x20):
            changed = bytearray(CONTENT)
            changed[position] ^= flip
            if position == len(CONTENT) - 1:
                continue  # without its last LF, the end is what a crash leaves
            tail = scan_tail(bytes(changed), 0, LOG)
            assert tail.damage, (position, flip)
            assert tail.end == ENDS[line], (position, flip)


def test_evidence_of_removed_repeated_swapped_and_foreign_records() -> None:
    one, two, three, four = LINES
    foreign = chain(1, log="other@hive1")[0]
    for lines, what in (
        ([one, three, four], "missing"),
        ([one, two, two, three], "repeats"),
        ([one, three, two, four], "missing"),
        ([one, two, foreign], "another log"),
        ([one, two, b"\n", three], "not a record"),
        ([one, two, b"hello\n"], "not a record"),
        ([one, make_line(LOG, 2, "ab" * 32)[0]], "does not follow"),
    ):
        assert what in scan_tail(b"".join(lines), 0, LOG).damage


def test_evidence_is_more_than_one_commit_can_have_torn() -> None:
    torn = CONTENT + b"x" * MAX_COMMIT_BYTES
    assert not scan_tail(torn, 0, LOG).damage
    assert "more than one commit" in scan_tail(torn + b"x", 0, LOG).damage


def test_untouched() -> None:
    tail = scan_tail(CONTENT, 0, LOG)
    assert (tail.end, tail.damage) == (len(CONTENT), "")
    assert tail.last is not None
    assert tail.last.seq == 4
    assert scan_tail(b"", 0, LOG).end == 0


def test_a_window_without_any_line_end_is_damage() -> None:
    for start in (1, 5000):
        assert scan_tail(b"x" * 1000, start, LOG) == Tail(
            None, start, "no line ends within the last bytes"
        )
        assert scan_tail(b"x" * 10 + b"\n" + bytes(1000), start, LOG) == Tail(
            None, start + 11, "there is no intact record within the last bytes"
        )


def test_a_window_may_begin_with_the_end_of_a_line() -> None:
    tail = scan_tail(b"\n" + LINES[0], 1, LOG)
    assert (tail.damage, tail.end) == ("", 1 + len(b"\n" + LINES[0]))


def test_the_window_holds_the_longest_record_before_the_longest_torn_commit() -> None:
    lines = chain(3, pad=MAX_RECORD_BYTES + 1 - len(LINES[0]))
    assert {len(line) for line in lines} == {MAX_RECORD_BYTES + 1}
    content = b"".join(lines) + bytes(MAX_COMMIT_BYTES)
    start = len(content) - WINDOW_BYTES
    tail = scan_tail(content[start:], start, LOG)
    assert (tail.damage, tail.end) == ("", len(content) - MAX_COMMIT_BYTES)


@given(
    pad=st.sampled_from([0, 1000, MAX_RECORD_BYTES - 700]),
    torn=st.integers(0, MAX_COMMIT_BYTES),
)
@settings(max_examples=20)
def test_the_window_holds_the_last_record_whatever_a_crash_tore(pad: int, torn: int) -> None:
    lines = chain(4 if pad > 1000 else 200, pad=pad)
    content = b"".join(lines) + bytes(torn)
    start = max(0, len(content) - WINDOW_BYTES)
    tail = scan_tail(content[start:], start, LOG)
    assert not tail.damage
    assert tail.end == len(content) - torn
    assert tail.last is not None
    assert tail.last.seq == len(lines)
