from __future__ import annotations

import datetime as dt
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.foreign_files import line_hash
from shippers.item import Document
from shippers.quarantine.entry import Entry, decode, encode, entry_id
from shippers.sources.ndjson.line import Line, LineFormat, to_document
from tests.support.shipments import shipments

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
LOG = "queen-rbee@hive1"
SEGMENT = f"{LOG}.2026-11-23.0001.ndjson"


@given(
    kind=st.sampled_from(["refused", "tampered", "not_a_record", "chain_break"]),
    reason=st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace").decode()),
    offset=st.integers(0, 2**40),
    line=st.binary(max_size=50),
    segment=st.sampled_from(["", SEGMENT]),
)
def test_round_trip(kind: str, reason: str, offset: int, line: bytes, segment: str) -> None:
    """round_trip: what was encoded is decoded, whatever bytes the line holds"""
    entry = Entry(kind, reason, LOG, segment, offset, 7, line=line)
    stored = decode(encode(entry, "main", NOW))
    assert (stored.key, stored.line, stored.alarm) == (entry.key, line, kind != "refused")
    assert (stored.fields["sink"], stored.fields["reason"]) == ("main", reason)
    assert stored.fields["v"] == 1
    assert stored.id == entry_id(encode(entry, "main", NOW))


def test_an_id_is_the_beginning_of_the_hash_of_the_line() -> None:
    """People type it, and scripts hold it."""
    assert entry_id(b"a line\n") == sha256(b"a line\n").hexdigest()[:16]


def test_an_alarm_and_the_record_at_its_place_are_two_entries() -> None:
    def key(kind: str, reason: str, offset: int = 0) -> object:
        return Entry(kind, reason, LOG, SEGMENT, offset, 7).key

    assert key("refused", "one") == key("tampered", "other"), "one record, however often it fails"
    assert key("refused", "one") != key("chain_break", "one")
    assert key("chain_break", "one") != key("chain_break", "other")
    assert key("refused", "one") != key("refused", "one", offset=5)


def test_records_and_documents_can_be_delivered_again() -> None:
    record = shipments(1)[0]
    document = Document("app", "id", "2026-11-23T07:12:00.000000Z", b'{"n":1}\n')
    for item, named in ((record, None), (document, document)):
        entry = Entry("refused", "no", LOG, "", 0, line=item.line, document=named)
        stored = decode(encode(entry, "main", NOW))
        assert stored.item == item
        assert stored.key == entry.key


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"[1]\n",
        b"{}\n",
        b'{"kind":"refused","log":"a","reason":"b","segment":""}\n',
        b'{"kind":1,"log":"a","reason":"b","segment":"","offset":0}\n',
        b'{"kind":"refused","log":"a","reason":"b","segment":"","offset":0,"document":{}}\n',
    ],
)
def test_refused(line: bytes) -> None:
    """refused: a line that is not an entry raises ValueError"""
    with pytest.raises(ValueError, match=r"."):
        decode(line)


@pytest.mark.parametrize("depth", [1, 1022, 5000])
def test_the_place_of_a_line_is_known_however_deep_it_is_nested(depth: int) -> None:
    body = b'{"v":' + b"[" * depth + b"]" * depth + b"}"
    line = Line("/var/log/app.log", "f" * 64, 7, body, line_hash(body), len(body))
    document, _ = to_document(line, LineFormat("app", "hive1"), NOW)
    entry = Entry("refused", "too deep", "app", "", 0, line=document.line, document=document)
    assert decode(encode(entry, "main", NOW)).place == "/var/log/app.log:7"
