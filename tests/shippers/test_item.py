from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from shippers.item import content_id

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
