"""One record, one line: built, taken apart, checked; and the test vectors checked without us."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import subprocess
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auditlog.errors import LogDamaged
from auditlog.format.record import (
    GENESIS_HASH,
    MAX_OVERHEAD_BYTES,
    MAX_RECORD_BYTES,
    RECORD_ERASED,
    check_link,
    decode,
    format_ns,
    format_timestamp,
    line_hash,
    log_prefix,
    parse_header,
    parse_timestamp,
    seal,
    stub_leaf,
    stub_of,
    too_large,
)
from auditlog.verification.verify import verify
from tests.support.logs import START, make_line

VECTORS = Path(__file__).parents[2] / "data" / "vectors"
LOG = "queen-rbee@hive1"
AT = "2026-11-23T07:12:00.123456Z"

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


def sealed(body: bytes, seq: int = 1, prev_hash: str = GENESIS_HASH) -> tuple[bytes, str]:
    return seal(log_prefix(LOG), seq, prev_hash, AT, body)


def refused(line: bytes, *, seq: int, prev_hash: str) -> bool:
    header = parse_header(line)
    return header is None or check_link(header, line, seq=seq, prev_hash=prev_hash) is not None


def sha256sum(content: bytes) -> str:
    done = subprocess.run(["sha256sum"], input=content, capture_output=True, check=True)
    return done.stdout.split()[0].decode()


def test_sealed(tmp_path: Path) -> None:
    line, digest = make_line(LOG, 42, "ab" * 32, details={"name": "Größe 🦙", "quote": '"\\\n'})
    path = tmp_path / "line"
    path.write_bytes(line)
    content = subprocess.run(["head", "-c", "-76", path], capture_output=True, check=True).stdout
    assert sha256sum(content) == digest == line_hash(line)
    assert line == content + f',"hash":"{digest}"}}\n'.encode()
    assert json.loads(line)["hash"] == digest


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.ndjson")), ids=lambda path: path.name)
def test_sealed_also_every_line_of_the_vectors_by_sha256sum_alone(path: Path) -> None:
    before = None
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        stated = line[-67:-3].decode()
        assert sha256sum(line[:-76]) == stated, f"line {number}"
        assert line[-76:] == f',"hash":"{stated}"}}\n'.encode()
        fields = json.loads(line)
        assert fields["hash"] == stated
        assert before is None or fields["prev_hash"] == before
        before = stated


def test_the_vectors_are_read_as_they_are_meant() -> None:
    report = verify(VECTORS)
    assert report.ok
    assert [(log.log, log.segments, log.records) for log in report.logs] == [
        ("queen-rbee@hive1", 2, 7),
        ("rbee-hive@gpu-1.example.org+2", 1, 5),
    ]
    for path in VECTORS.glob("*.ndjson"):
        for line in path.read_bytes().splitlines(keepends=True):
            record, fields = decode(line), json.loads(line)
            assert record.fields == fields
            header = record.header
            assert (header.log, header.seq, header.prev_hash, header.hash) == (
                fields["log"],
                fields["seq"],
                fields["prev_hash"],
                fields["hash"],
            )
            assert (header.timestamp, header.event_type) == (
                fields["@timestamp"],
                fields["event_type"],
            )


def test_our_code_seals_the_vectors_to_the_same_bytes() -> None:
    for path in VECTORS.glob("*.ndjson"):
        for line in path.read_bytes().splitlines(keepends=True):
            fields = json.loads(line)
            body = line[line.index(b'"event_type"') : -76]
            line_again, _ = seal(
                log_prefix(fields["log"]),
                fields["seq"],
                fields["prev_hash"],
                fields["@timestamp"],
                body,
            )
            assert line_again == line


def test_the_vectors_are_what_the_script_beside_them_makes(tmp_path: Path) -> None:
    subprocess.run(["sh", VECTORS / "make.sh"], cwd=tmp_path, check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in VECTORS.glob("*.ndjson")}


def test_sealing_adds_no_more_than_the_overhead() -> None:
    log, seq = f"{'s' * 90}@{'h' * 89}", 10**19 - 1
    body = b'"event_type":"x"'
    line, _ = seal(log_prefix(log), seq, "ab" * 32, AT, body)
    assert parse_header(line) is not None
    assert len(line) - len(body) <= MAX_OVERHEAD_BYTES


def test_a_record_says_what_its_line_says() -> None:
    line, digest = make_line(LOG, 42, "ab" * 32)
    record = decode(line)
    assert (record.log, record.seq, record.prev_hash, record.hash) == (LOG, 42, "ab" * 32, digest)
    assert (record.event_type, record.at) == ("task_submitted", START)
    assert record.header.day == "2026-11-23"
    assert (record.outcome, record.severity, record.details) == (
        "success",
        "info",
        {"task_id": "task-42"},
    )
    assert (record.reason, record.correlation_id) == (None, None)
    told, _ = make_line(LOG, 1, reason="because", correlation_id="req-1")
    assert (decode(told).reason, decode(told).correlation_id) == ("because", "req-1")
    bare = decode(sealed(b'"event_type":"x"')[0])
    assert (bare.outcome, bare.severity, bare.details) == ("", "", {})


def test_a_record_that_is_too_large_is_told_with_its_size_and_the_limit() -> None:
    assert str(MAX_RECORD_BYTES + 5) in str(too_large(MAX_RECORD_BYTES + 6))
    assert str(MAX_RECORD_BYTES) in str(too_large(MAX_RECORD_BYTES + 6))


def test_any_byte() -> None:
    line, _ = make_line(LOG, 42, "ab" * 32)
    assert not refused(line, seq=42, prev_hash="ab" * 32)
    for position in range(len(line)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(line)
            changed[position] ^= flip
            assert refused(bytes(changed), seq=42, prev_hash="ab" * 32), (position, flip)


@given(st.data())
def test_any_byte_changed_inserted_or_removed(data: st.DataObject) -> None:
    line, _ = make_line(LOG, 42, "ab" * 32)
    position = data.draw(st.integers(0, len(line) - 1))
    removed = data.draw(st.integers(0, 3))
    inserted = data.draw(st.binary(max_size=4))
    changed = line[:position] + inserted + line[position + removed :]
    if changed != line:
        assert refused(changed, seq=42, prev_hash="ab" * 32)


@given(st.dictionaries(st.text(), values))
@example({"a": "\n\r\0\x85\u2028\u2029", "\n": "\x7f\x1b[31m"})
def test_one_line(details: dict[str, object]) -> None:
    body = b'"event_type":"x.y","details":' + orjson.dumps(details)
    line, digest = sealed(body)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\r" not in line
    assert b"\0" not in line
    header = parse_header(line)
    assert header is not None
    assert (header.hash, header.event_type) == (digest, "x.y")


@pytest.mark.parametrize("strange", [b"\n", b"\r", b"\0"])
def test_one_line_is_refused_when_a_body_breaks_it(strange: bytes) -> None:
    line, _ = sealed(b'"event_type":"x","reason":"' + strange + b'"')
    assert parse_header(line) is None


def test_a_line_of_the_largest_size_is_a_record_and_one_byte_more_is_none() -> None:
    assert MAX_RECORD_BYTES == 65_535, "readers of other people's making rely on it"
    empty, _ = sealed(b'"event_type":"x","reason":""')
    room = MAX_RECORD_BYTES + 1 - len(empty)
    for pad, fits in ((room, True), (room + 1, False)):
        line, _ = sealed(b'"event_type":"x","reason":"%b"' % (b"a" * pad))
        assert (parse_header(line) is not None) == fits


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'"seq":42', b'"seq":042'),
        (b'"seq":42', b'"seq":0'),
        (b'"seq":42', b'"seq":-42'),
        (b'"seq":42', b'"seq":4.2'),
        (b'"seq":42', b'"seq": 42'),
        (b'"seq":42', b'"seq":"42"'),
        (b"T07:12:00", b"T24:12:00"),
        (b"T07:12:00", b"T07:60:00"),
        (b"T07:12:00", b"T07:12:61"),
        (b".000000Z", b".000000+00:00"),
        (b".000000Z", b".000Z"),
        (b"task_submitted", b"Task_submitted"),
        (b"task_submitted", b""),
        (b"task_submitted", b"x" * 65),
    ],
)
def test_a_header_of_another_form_is_none(old: bytes, new: bytes) -> None:
    line, _ = make_line(LOG, 42, "ab" * 32)
    content = line[:-76].replace(old, new, 1)
    assert content != line[:-76]
    forged = content + f',"hash":"{hashlib.sha256(content).hexdigest()}"}}\n'.encode()
    assert parse_header(forged) is None, "although its hash is right"


@pytest.mark.parametrize("line", [b"", b"\n", b"{}\n", b"x" * 200 + b"\n"])
def test_what_is_no_line_of_ours_has_no_header(line: bytes) -> None:
    assert parse_header(line) is None
    with pytest.raises(LogDamaged, match="not a record"):
        decode(line, path="/x", offset=7)


def test_check_link_says_which_link_is_broken() -> None:
    line, _ = make_line(LOG, 42, "ab" * 32)
    header = parse_header(line)
    assert header is not None
    assert check_link(header, line, seq=42, prev_hash="ab" * 32) is None
    assert check_link(header, line, seq=41, prev_hash="ab" * 32) == "seq_gap"
    assert check_link(header, line, seq=43, prev_hash="ab" * 32) == "seq_repeat"
    assert check_link(header, line, seq=42, prev_hash="cd" * 32) == "chain_break"
    altered = line.replace(b"alice", b"bob__")
    assert check_link(header, altered, seq=1, prev_hash="") == "hash_mismatch"


def test_decode_names_the_place_and_never_the_content() -> None:
    line, _ = make_line(LOG, 42, "ab" * 32)
    altered = line.replace(b"alice", b"mally")
    with pytest.raises(LogDamaged) as refusal:
        decode(altered, path="/var/log/x.ndjson", offset=1234)
    error = refusal.value
    assert (str(error.path), error.offset, error.seq) == ("/var/log/x.ndjson", 1234, 42)
    assert "mally" not in str(error)


def test_an_intact_line_that_is_not_json_is_damage_and_not_a_crash() -> None:
    for body in (b'"event_type":"x","reason":nonsense', b'"event_type":"x","reason":"\xff"'):
        line, _ = sealed(body)
        with pytest.raises(LogDamaged, match="not valid JSON"):
            _ = decode(line).fields


def test_an_intact_line_of_a_day_that_does_not_exist_is_damage() -> None:
    line, _ = seal(
        log_prefix(LOG), 1, GENESIS_HASH, "2026-02-30T00:00:00.000000Z", b'"event_type":"x"'
    )
    with pytest.raises(LogDamaged, match="day that does not exist"):
        decode(line)


@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(9999, 12, 31)))  # noqa: DTZ001  (made aware below)
def test_a_timestamp_is_written_and_read_to_the_microsecond(naive: dt.datetime) -> None:
    at = naive.replace(tzinfo=dt.UTC)
    text = format_timestamp(at)
    assert len(text) == 27
    assert parse_timestamp(text) == at
    whole = int(at.replace(microsecond=0).timestamp()) * 1_000_000_000
    assert format_ns(whole + at.microsecond * 1000 + 999) == text, "what is below is cut off"


def test_a_timestamp_of_another_zone_is_written_in_utc() -> None:
    zone = dt.timezone(dt.timedelta(hours=-5))
    at = dt.datetime(2026, 11, 23, 20, 0, tzinfo=zone)
    assert format_timestamp(at) == "2026-11-24T01:00:00.000000Z"


def test_stub() -> None:
    """stub: a stub is intact without its content, and holds nothing but what is named above"""
    line, digest = make_line(
        "queen-rbee@hive1", 42, "ab" * 32, details={"secret": "Ottilie Wetzlar"}
    )
    made = stub_of(line)
    assert made is not None
    header, before = parse_header(made), parse_header(line)
    assert header is not None
    assert before is not None
    assert len(made) == len(line)
    assert b"Ottilie" not in made
    assert b"alice" not in made
    assert header == before._replace(event_type=RECORD_ERASED)
    assert check_link(header, made, seq=42, prev_hash="ab" * 32) is None
    assert check_link(header, made, seq=43, prev_hash="ab" * 32) == "seq_repeat"
    assert check_link(header, made, seq=42, prev_hash="cd" * 32) == "chain_break"
    assert decode(made).hash == digest
    assert stub_leaf(made) == hashlib.sha256(b"\0" + line[:-1]).digest()
    assert stub_leaf(line) is None
    for smuggled in (
        made.replace(b'   ,"hash"', b' "a","hash"'),
        made.replace(b'   ,"hash"', b'  \t,"hash"'),
        made.replace(b'"leaf":"', b'"leaf":""'),
        made.replace(b"log.record_erased", b"log.record_erasee"),
    ):
        assert smuggled != made
        found = parse_header(smuggled)
        assert found is not None
        assert check_link(found, smuggled, seq=42, prev_hash="ab" * 32) == "hash_mismatch"


def test_a_line_that_fits_its_own_hash_is_a_record_whatever_it_says() -> None:
    body = orjson.dumps({"event_type": RECORD_ERASED, "leaf": "A" * 43})[1:-1]
    line, _ = sealed(body)
    assert stub_leaf(line) is None


def test_what_is_too_short_for_a_stub_has_nothing_in_it() -> None:
    body = b'"event_type":"a","service":"s","host":"h","outcome":"success"'
    line, _ = seal(log_prefix("s@h"), 1, GENESIS_HASH, "2026-11-23T07:12:00.000000Z", body)
    assert stub_of(line) is None
    salted = body + b',"salt":"' + b"A" * 22 + b'"'
    line, _ = seal(log_prefix("s@h"), 1, GENESIS_HASH, "2026-11-23T07:12:00.000000Z", salted)
    assert stub_of(line) is not None


def test_a_stub_is_as_long_as_its_line_and_no_longer() -> None:
    def line_of(pad: int) -> bytes:
        body = b'"event_type":"a","service":"s","host":"h","d":"%b"' % (b"x" * pad)
        return seal(log_prefix("s@h"), 1, GENESIS_HASH, "2026-11-23T07:12:00.000000Z", body)[0]

    roomy = stub_of(line_of(99))
    assert roomy is not None
    least = 99 - roomy.count(b" ")
    assert least > 0
    tight = stub_of(line_of(least))
    assert tight is not None
    assert (tight.count(b" "), len(tight)) == (0, len(line_of(least)))
    assert stub_of(line_of(least - 1)) is None
