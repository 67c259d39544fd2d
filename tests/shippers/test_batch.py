from __future__ import annotations

from auditlog.format.record import GENESIS_HASH
from shippers.batch import DocumentBatch, Position
from shippers.item import Document, Shipment
from tests.support.shipments import batch_of, shipments

RECORDS = shipments(7)
STRANGE = Shipment(b"no record\n", None)


def test_position_after() -> None:
    """position_after: the position is behind the counted items, and the batch's start for none"""
    at = "2026-11-23T07:12:00.000000Z"
    documents = [Document("app", str(n), at, b"{}\n") for n in range(3)]
    batch = DocumentBatch(log="app", start="start", items=documents, positions=["a", "b", "c"])
    assert [batch.position_after(n) for n in range(4)] == ["start", "a", "b", "c"]
    assert (len(batch), batch.items[2].at, documents[0].day) == (3, at, "2026-11-23")


def test_a_batch_of_documents_has_no_places_and_begins_without_faults() -> None:
    batch = DocumentBatch(log="app", start="start")
    assert (len(batch), batch.size_bytes, batch.bad_lines, batch.cut_lines) == (0, 0, 0, 0)
    assert batch.place_of(0) == batch.place_of(5) == ("", 0)


def test_a_position_in_nothing_is_before_the_first_record() -> None:
    assert Position() == Position("", 0, 0, GENESIS_HASH, ())


def test_the_position_of_a_record_is_that_of_the_last_one_before_it() -> None:
    start = Position("before", 50, 4, "ab" * 32, ((1, 2),))
    first, second = RECORDS[:2]
    assert first.header is not None
    assert second.header is not None
    batch = batch_of([STRANGE, first, STRANGE, second], start, "s")
    assert [batch.position_after(count) for count in range(5)] == [
        start,
        Position("s", batch.ends[0], 4, "ab" * 32, ((1, 2),)),
        Position("s", batch.ends[1], 1, first.header.hash),
        Position("s", batch.ends[2], 1, first.header.hash),
        Position("s", batch.ends[3], 2, second.header.hash),
    ]


def test_a_record_lies_behind_the_one_before_it() -> None:
    batch = batch_of([RECORDS[0], STRANGE, RECORDS[1]], Position("s", 50, 0), "s")
    first = len(RECORDS[0].line)
    assert [batch.place_of(n) for n in range(3)] == [
        ("s", 50),
        ("s", 50 + first),
        ("s", 50 + first + len(STRANGE.line)),
    ]


def test_a_position_names_the_gaps_before_it_and_no_later_one() -> None:
    records = [RECORDS[2], STRANGE, RECORDS[3], RECORDS[6]]
    batch = batch_of(records, Position("s", 0, 0), "s")
    batch.gaps = ((1, 2), (5, 6))
    assert [batch.position_after(count).gaps for count in range(5)] == [
        (),
        ((1, 2),),
        ((1, 2),),
        ((1, 2),),
        ((1, 2), (5, 6)),
    ]
