"""The quick checks say yes exactly where the full one does: of one line, and of many at once."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.record import (
    GENESIS_HASH,
    MAX_RECORD_BYTES,
    check_link,
    log_prefix,
    parse_header,
    seal,
)
from auditlog.verification.fast_path import (
    Chained,
    check_following,
    follow,
    following_start,
    line_ends,
)
from tests.support.logs import make_line

LOG = "queen-rbee@hive1"
PREFIX = log_prefix(LOG)
AT = "2026-11-23T07:12:00.123456Z"
BEFORE = "ab" * 32


def accepted(block: bytes, seq: int, prev_hash: str) -> list[tuple[str, str, str]] | None:
    """By the full check: hash, timestamp and event type of each line; None where one is refused."""
    seen = []
    for content in block.split(b"\n")[:-1]:
        line = content + b"\n"
        header = parse_header(line)
        if header is None or header.log != LOG:
            return None
        if check_link(header, line, seq=seq, prev_hash=prev_hash) is not None:
            return None
        seen.append((header.hash, header.timestamp, header.event_type))
        seq, prev_hash = seq + 1, header.hash
    return seen


def said(following: Chained | None) -> list[tuple[str, str, str]] | None:
    if following is None:
        return None
    return [
        (digest, match[1].decode(), match[2].decode())
        for digest, match in zip(following.hashes, following.found, strict=True)
    ]


def followed(block: bytes, seq: int, prev_hash: str) -> list[tuple[str, str, str]] | None:
    return said(follow(block, line_ends(block, 1000), PREFIX, seq, prev_hash))


def made(first: int, count: int, prev_hash: str = BEFORE) -> list[bytes]:
    lines = []
    for seq in range(first, first + count):
        line, prev_hash = make_line(LOG, seq, prev_hash)
        lines.append(line)
    return lines


def test_what_follows_is_said_with_hash_timestamp_and_type() -> None:
    block = b"".join(made(42, 5))
    expected = accepted(block, 42, BEFORE)
    assert expected is not None
    assert len(expected) == 5
    assert followed(block, 42, BEFORE) == expected


def test_every_byte() -> None:
    block = b"".join(made(42, 3))
    for position in range(len(block)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(block)
            changed[position] ^= flip
            if position == len(block) - 1:
                changed[position:] = b"x\n"  # without its LF it is no line, and not asked about
            assert followed(bytes(changed), 42, BEFORE) is None, (position, flip)


def test_another_place_in_the_chain_is_none() -> None:
    block = b"".join(made(42, 3))
    for seq, prev_hash in ((41, BEFORE), (42, "cd" * 32), (420, BEFORE), (4, BEFORE)):
        assert followed(block, seq, prev_hash) is None
    assert follow(b"", [], PREFIX, 42, BEFORE) is None
    assert follow(block, line_ends(block, 3), log_prefix("other@hive1"), 42, BEFORE) is None


def test_only_the_lines_asked_about_are_looked_at() -> None:
    lines = made(42, 3)
    block = b"".join(lines) + b"\0\r strange \n" + lines[0][:50]
    ends = line_ends(block, 3)
    assert ends == [len(lines[0]), len(lines[0] + lines[1]), len(b"".join(lines))]
    assert said(follow(block, ends, PREFIX, 42, BEFORE)) == accepted(b"".join(lines), 42, BEFORE)
    assert followed(block, 42, BEFORE) is None


def test_a_line_that_is_shorter_than_any_record_is_refused() -> None:
    """Its end then lies within what its start has to be."""
    first, before = make_line(LOG, 42, BEFORE)
    start = following_start(PREFIX, 43, before)
    for length in range(len(start) + 1):
        digest = sha256(start[:length]).hexdigest()
        short = start[:length] + f',"hash":"{digest}"}}\n'.encode()
        for behind in (b"", make_line(LOG, 44, digest)[0]):
            assert followed(first + short + behind, 42, BEFORE) is None, length


def test_line_ends_stop_at_the_last_lf() -> None:
    assert line_ends(b"a\n\nbc\nd", 9) == [2, 3, 6]
    assert line_ends(b"a\n\nbc\nd", 2) == [2, 3]
    assert line_ends(b"abc", 9) == []
    assert line_ends(b"\na\n", 9) == [1, 3]


@pytest.mark.parametrize("first", [9, 97, 998, 9_999])
def test_where_numbers_grow_by_a_digit_there_is_no_verdict(first: int) -> None:
    lines = made(first, 4)
    assert followed(b"".join(lines), first, BEFORE) is None
    assert all(
        check_following(
            line, following_start(PREFIX, seq, accepted_hash(lines[: seq - first], first))
        )
        for seq, line in enumerate(lines, first)
    ), "line by line they follow"


@pytest.mark.parametrize("first", [6, 96, 996])
def test_up_to_the_last_number_of_as_many_digits_there_is_a_verdict(first: int) -> None:
    block = b"".join(made(first, 4))
    assert followed(block, first, BEFORE) == accepted(block, first, BEFORE)
    assert followed(block, first, BEFORE) is not None


def accepted_hash(lines: list[bytes], first: int) -> str:
    seen = accepted(b"".join(lines), first, BEFORE)
    return seen[-1][0] if seen else BEFORE


@given(data=st.data())
def test_same_verdict(data: st.DataObject) -> None:
    """same_verdict: however lines are changed, moved, left out or cut, both say the same"""
    lines = made(42, 4)
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(lines) - 1))
        what = data.draw(st.sampled_from(["swap", "repeat", "remove", "byte", "cut", "strange"]))
        if what == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[place], lines[other] = lines[other], lines[place]
        elif what == "repeat":
            lines.insert(place, lines[place])
        elif what == "remove" and len(lines) > 1:
            del lines[place]
        elif what == "strange":
            lines.insert(place, data.draw(st.binary(max_size=80)) + b"\n")
        else:
            line = lines[place]
            at = data.draw(st.integers(0, len(line) - 1))
            until = at + (1 if what == "byte" else data.draw(st.integers(1, 90)))
            byte = bytes([data.draw(st.integers(0, 255))]) if what == "byte" else b""
            lines[place] = line[:at] + byte + line[until:]
    block = b"".join(lines)
    if block.endswith(b"\n"):
        assert followed(block, 42, BEFORE) == accepted(block, 42, BEFORE)


bodies = st.one_of(
    st.binary(max_size=80).map(lambda rest: b'"event_type":"x"' + rest),
    st.sampled_from(
        [
            b'"event_type":"x"',
            b'"event_type":"x",',
            b'"event_type":"X"',
            b'"event_type":"x","details":"\0"',
            b'"event_type":"x","details":"\r"',
            b'"event_type":"x"},',
            b"",
        ]
    ),
)


@given(
    parts=st.lists(
        st.tuples(
            bodies,
            st.sampled_from([0, 0, 0, MAX_RECORD_BYTES - 300, MAX_RECORD_BYTES]),
            st.sampled_from([AT, AT, "2026-11-23T25:00:00.000000Z", "2026-11-23"]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_sealed_lines_get_the_same_verdict(parts: list[tuple[bytes, int, str]]) -> None:
    """Whatever stands in lines that are sealed and linked as they should be."""
    lines, prev_hash = [], GENESIS_HASH
    for seq, (body, pad, timestamp) in enumerate(parts, 1):
        line, digest = seal(PREFIX, seq, prev_hash, timestamp, body + b"a" * pad)
        quick = check_following(line, following_start(PREFIX, seq, prev_hash))
        full = parse_header(line)
        assert (quick is None) == (full is None)
        lines.append(line)
        prev_hash = digest
    block = b"".join(lines)
    if block.count(b"\n") == len(lines):
        assert followed(block, 1, GENESIS_HASH) == accepted(block, 1, GENESIS_HASH)


LONGEST = MAX_RECORD_BYTES + 1 - len(seal(PREFIX, 42, BEFORE, AT, b'"event_type":"x","d":""')[0])


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        (b"\\u0000", True),
        (b"\0", False),
        (b"\r", False),
        (b"a" * LONGEST, True),
        (b"a" * (LONGEST + 1), False),
    ],
    ids=["escaped", "NUL", "CR", "longest", "too long"],
)
def test_what_no_line_may_hold_is_refused_also_where_it_is_sealed(
    content: bytes, holds: bool
) -> None:
    first, before = seal(PREFIX, 42, BEFORE, AT, b'"event_type":"x","d":"%b"' % content)
    second, _ = make_line(LOG, 43, before)
    seen = followed(first + second, 42, BEFORE)
    assert (seen is not None) == holds
    assert seen == accepted(first + second, 42, BEFORE)
    quick = check_following(first, following_start(PREFIX, 42, BEFORE))
    assert (quick is not None) == holds
    before_it, digest = make_line(LOG, 41, "cd" * 32)
    first, before = seal(PREFIX, 42, digest, AT, b'"event_type":"x","d":"%b"' % content)
    block = before_it + first + make_line(LOG, 43, before)[0]
    assert (followed(block, 41, "cd" * 32) is not None) == holds
    assert (followed(before_it + first, 41, "cd" * 32) is not None) == holds


def test_one_line_passes_nothing_that_the_full_check_refuses() -> None:
    line, digest = make_line(LOG, 42, BEFORE)
    start = following_start(PREFIX, 42, BEFORE)
    found = check_following(line, start)
    assert found is not None
    assert (found[0], found[1].groups()) == (
        digest,
        (b"2026-11-23T07:12:00.000000Z", b"task_submitted"),
    )
    for position in range(len(line)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(line)
            changed[position] ^= flip
            assert check_following(bytes(changed), start) is None, (position, flip)
    for seq, prev_hash in ((41, BEFORE), (42, "cd" * 32), (420, BEFORE)):
        assert check_following(line, following_start(PREFIX, seq, prev_hash)) is None
