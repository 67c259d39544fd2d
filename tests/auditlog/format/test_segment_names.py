"""The names of logs and segments: what can be built can be parsed, and nothing else can."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from auditlog.errors import InvalidName
from auditlog.format.segment_names import COMPRESSIONS, LogId, SegmentName, is_segment_name

ALLOWED = "abcXYZ019._-"
parts = st.text(ALLOWED, min_size=1, max_size=20).filter(lambda text: text.strip("."))
services = parts.filter(lambda text: not text.startswith("."))
log_ids = st.builds(LogId, services, parts, st.one_of(st.just(""), parts))
names = st.builds(
    SegmentName,
    log_ids,
    st.dates(),
    st.one_of(st.integers(1, 20_000), st.integers(1, 999_999_999)),
    st.sampled_from(COMPRESSIONS),
)


@given(names)
def test_round_trip(name: SegmentName) -> None:
    parsed = SegmentName.parse(str(name))
    assert parsed == name
    assert parsed.compression == name.compression
    assert parsed.log == LogId.parse(str(name.log))
    assert SegmentName.parse(name.logical).compression == ""


@given(log_ids, st.lists(st.tuples(st.dates(), st.integers(1, 20_000)), min_size=2, unique=True))
def test_ordered(log: LogId, written: list[tuple[dt.date, int]]) -> None:
    in_order = [SegmentName(log, day, part) for day, part in sorted(written)]
    shuffled = [SegmentName.parse(str(SegmentName(log, day, part))) for day, part in written]
    assert sorted(shuffled) == in_order


def test_ordered_also_where_the_text_is_not() -> None:
    log, day = LogId("queen-rbee", "hive1"), dt.date(2026, 11, 23)
    before, after = SegmentName(log, day, 9_999), SegmentName(log, day, 10_000)
    assert before < after
    assert str(before) > str(after)


@given(st.sampled_from(["service", "host", "instance"]), st.characters())
def test_refused(label: str, character: str) -> None:
    assume(character not in "._-" and not (character.isascii() and character.isalnum()))
    fields = {"service": "queen-rbee", "host": "hive1", "instance": "2"}
    fields[label] += character
    with pytest.raises(InvalidName) as refusal:
        LogId(**fields)
    assert ascii(character) in refusal.value.reason
    assert label in refusal.value.reason


@pytest.mark.parametrize("text", ["", ".", "...", ".hidden", "a/b", "a b", "../a"])
def test_a_service_that_would_be_no_visible_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        LogId(text, "hive1")


def test_hosts_may_contain_dots_and_digits_that_look_like_days() -> None:
    name = SegmentName.parse("q@h.2026-01-01.0001.ndjson.2026-11-23.0002.ndjson.gz")
    assert name.log.host == "h.2026-01-01.0001.ndjson"
    assert (name.day, name.part, name.compression) == (dt.date(2026, 11, 23), 2, ".gz")


@pytest.mark.parametrize(
    "text",
    [
        "queen-rbee@hive1.2026-11-23.0001.ndjson.bz2",
        "queen-rbee@hive1.2026-11-23.0001.ndjson.zst.tmp",
        "queen-rbee@hive1.2026-11-23.0001.ndjson\n",
        "queen-rbee@hive1.2026-11-23.001.ndjson",
        "queen-rbee@hive1.2026-11-23.0000.ndjson",
        "queen-rbee@hive1.2026-11-23.00001.ndjson",
        "queen-rbee@hive1.2026-02-30.0001.ndjson",
        "queen-rbee@hive1.0000-01-01.0001.ndjson",
        "queen-rbee@hive1.٢٠٢٦-11-23.0001.ndjson",
        "queen-rbee.2026-11-23.0001.ndjson",
        "queen-rbee@hive1+.2026-11-23.0001.ndjson",
        "queen-rbee@a@b.2026-11-23.0001.ndjson",
        "audit.ndjson",
        "\udcff@h.2026-11-23.0001.ndjson",
        "",
    ],
)
def test_other_files_are_no_segments(text: str) -> None:
    assert is_segment_name(text) is False
    with pytest.raises(InvalidName):
        SegmentName.parse(text)


def test_a_compressed_segment_is_the_same_segment() -> None:
    plain, packed = (f"queen-rbee@hive1.2026-11-23.0001.ndjson{end}" for end in ("", ".zst"))
    assert SegmentName.parse(plain) == SegmentName.parse(packed)
    assert is_segment_name(plain) is is_segment_name(packed) is True


def test_a_compression_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidName, match="xz"):
        SegmentName(LogId("a", "b"), dt.date(2026, 1, 1), 1, ".xz")


@pytest.mark.parametrize("part", [0, -1, 1_000_000_000])
def test_a_part_outside_its_range_is_refused(part: int) -> None:
    with pytest.raises(InvalidName, match="part"):
        SegmentName(LogId("a", "b"), dt.date(2026, 1, 1), part)


def test_the_longest_log_id_fits_every_file_name_made_of_it() -> None:
    log = LogId("s" * 100, "h" * 70, "i" * 8)
    name = SegmentName(log, dt.date(2026, 1, 1), 999_999_999)
    assert len(f".{name.logical}.{1 << 40}.{'d' * 12}.torn.tmp".encode()) <= 255
    with pytest.raises(InvalidName, match="181 characters"):
        LogId("s" * 100, "h" * 70, "i" * 9)


def test_the_next_part_is_of_the_same_day() -> None:
    name = SegmentName(LogId("a", "b"), dt.date(2026, 1, 1), 7, ".zst")
    assert str(name.next_part()) == "a@b.2026-01-01.0008.ndjson"
