"""Parsing erasure records: only valid ones prove an erasure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from auditlog.format.erasures import ERASURE, Erasure, by_stub, parse_erasure, stub_digest
from auditlog.format.record import parse_header
from tests.support.erasures import erasure_details, stub
from tests.support.logs import make_line

LINE, _ = make_line("queen-rbee@hive1", 42, "ab" * 32)
DETAILS = erasure_details(LINE, "queen-rbee@hive1.2026-11-23.0001.ndjson")


def line_of(details: Any = DETAILS, log: str = "retention@hive1", kind: str = ERASURE) -> bytes:
    return make_line(log, 7, "cd" * 32, event_type=kind, details=details)[0]


def parsed(line: bytes) -> Erasure | None:
    header = parse_header(line)
    return None if header is None else parse_erasure(header, line)


def test_an_erasure_says_who_erased_what_and_why() -> None:
    found = parsed(line_of())
    assert found is not None
    assert (found.log, found.seq, found.by) == ("queen-rbee@hive1", 42, "dpo@example.org")
    assert found.to_json() == {
        "seq": 42,
        "erased_at": "2026-11-23T07:12:00.000000Z",
        "reason": "request 17",
        "by": "dpo@example.org",
        "legal_basis": "GDPR art. 17(1)(a)",
    }


def test_proven() -> None:
    """proven: only a record whose own hash is right counts as an erasure"""
    line = line_of()
    assert parsed(line.replace(b"request 17", b"request 18")) is None
    assert parsed(line_of(log="queen-rbee@hive1")) is None
    assert parsed(line_of(kind="retention.segment_deleted")) is None


@pytest.mark.parametrize("missing", sorted(DETAILS.keys() - {"legal_basis"}))
def test_complete(missing: str) -> None:
    """complete: a record that lacks a member of an erasure is not one"""
    assert parsed(line_of({name: DETAILS[name] for name in DETAILS if name != missing})) is None
    assert parsed(line_of({**DETAILS, missing: 1.5})) is None
    assert parsed(line_of([DETAILS])) is None


def test_no_other() -> None:
    """no_other: an erasure proves one stub, every byte of it"""
    found = parsed(line_of())
    assert found is not None
    known = by_stub([found], "queen-rbee@hive1")
    whole = stub(LINE)
    assert stub_digest(whole) in known
    for index in range(len(whole)):
        changed = whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :]
        assert stub_digest(changed) not in known
    assert by_stub([found], "queen-rbee@hive2") == {}


@pytest.mark.parametrize("seq", [0, -1, True, "42", None])
def test_an_erasure_of_no_record_s_number_is_none(seq: Any) -> None:
    assert parsed(line_of({**DETAILS, "seq": seq})) is None


def test_the_first_record_of_a_log_can_be_erased() -> None:
    found = parsed(line_of({**DETAILS, "seq": 1}))
    assert found is not None
    assert found.seq == 1


@pytest.mark.parametrize("basis", ["", None])
def test_an_erasure_may_lack_its_legal_basis(basis: str | None) -> None:
    found = parsed(line_of({**DETAILS, "legal_basis": basis}))
    assert found is not None
    assert found.to_json()["legal_basis"] is None
    assert parsed(line_of({**DETAILS, "legal_basis": 17})) is None


def test_of_two_erasures_of_one_stub_the_earlier_one_counts() -> None:
    later = parsed(line_of())
    assert later is not None
    earlier = replace(later, erased_at="2026-11-22T00:00:00.000000Z", reason="first")
    for given in ([earlier, later], [later, earlier]):
        assert by_stub(given, later.log) == {later.stub_sha256: earlier}
