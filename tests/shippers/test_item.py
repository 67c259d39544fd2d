from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.item import Document, Shipment, check_source_name, content_id
from tests.support.shipments import shipments

parts = st.lists(st.text() | st.binary(), max_size=5)


@given(parts=parts)
def test_same_id(parts: list[str | bytes]) -> None:
    """same_id: the same parts give the same id"""
    assert content_id(*parts) == content_id(*parts)
    assert re.fullmatch(r"[A-Za-z0-9_-]{27}", content_id(*parts))


@given(text=st.text(min_size=1), cut=st.integers(0, 100), others=parts)
def test_other_id(text: str, cut: int, others: list[str | bytes]) -> None:
    """other_id: parts that differ anywhere, also in where one ends, give another id"""
    cut %= len(text)
    assert content_id(text, *others) != content_id(text[:cut], text[cut:], *others)
    assert content_id(text, *others) != content_id(text + "x", *others)


def test_an_id_stays_what_it_was_when_its_document_was_first_shipped() -> None:
    """A version that made another id would ship every document once more."""
    assert content_id() == "47DEQpj8HBSa-_TImW-5JCeuQeQ"
    assert content_id("a", "b") == "-s3eer8erFswEnOrLigvebqwEA8"
    assert content_id("worker", b"\xff\x00", "\udcff") == "X5ZtwPQl_9QA-hT1kdEedKSqJAo"


def test_a_record_is_known_by_its_log_and_seq() -> None:
    _, second = shipments(2)
    assert second.header is not None
    assert (second.id, second.at) == ("queen-rbee@hive1:2", second.header.timestamp)


def test_a_line_that_is_no_record_has_neither_id_nor_time() -> None:
    strange = Shipment(b"strange\n", None)
    assert (strange.id, strange.at) == ("", None)


def test_the_day_of_a_document_is_that_of_its_time() -> None:
    document = Document("worker", "id", "2026-11-23T07:11:00.000000Z", b"{}\n")
    assert document.day == "2026-11-23"


@pytest.mark.parametrize("name", ["a", "worker", "a_b-2", "a" * 50, "auditor"])
def test_a_source_name_that_an_index_name_can_contain_is_returned(name: str) -> None:
    assert check_source_name(name) == name


@pytest.mark.parametrize("name", ["", "2a", "-a", "Worker", "a b", "a.b", "é", "a\n", "a" * 51])
def test_a_source_name_that_no_index_name_can_contain_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not usable"):
        check_source_name(name)


@pytest.mark.parametrize("name", ["audit", "audit-2"])
def test_a_source_name_of_the_audit_logs_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="belongs to the audit logs"):
        check_source_name(name)
