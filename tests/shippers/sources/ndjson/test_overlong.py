from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.foreign_files import line_hash
from shippers.sources.ndjson.overlong import Overlong

pieces = st.lists(st.lists(st.sampled_from([b"x", b"yy", b"\r", b"\0"])).map(b"".join))


@given(pieces=pieces)
def test_same_hash(pieces: list[bytes]) -> None:
    """same_hash: fed in any pieces, it has the hash and the size of the whole line"""
    overlong = Overlong(b"")
    for piece in pieces:
        overlong.feed(piece)
    line = b"".join(pieces)
    assert overlong.line_hash() == line_hash(line)
    assert overlong.size_bytes == len(line.rstrip(b"\r"))
    assert overlong.scanned_bytes == len(line)
