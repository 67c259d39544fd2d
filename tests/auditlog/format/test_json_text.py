from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.json_text import encoded

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text('aé"\\\n'), inner)
)


def below(levels: int, value: Any) -> Any:
    """Put the value below so many lists and mappings, with a sibling on both sides."""
    for level in range(levels):
        value = ["é", value, 1.0] if level % 2 else {"a": 1, "b": value, "": None}
    return value


@given(VALUES)
def test_any_depth(value: Any) -> None:
    """any_depth: whatever orjson parses is encoded, and in the bytes that orjson would write"""
    assert encoded(value) == orjson.dumps(value)
    deep = encoded(below(300, value))
    shallow = [orjson.dumps(below(100, mark)) for mark in ("3", "2", value)]
    built = shallow[0].replace(b'"3"', shallow[1].replace(b'"2"', shallow[2]))
    assert deep == built


@pytest.mark.parametrize("levels", [254, 255, 300, 900, 1024])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_line_comes_back_byte_for_byte(levels: int, opened: bytes, closed: bytes) -> None:
    line = opened * levels + b'"\xc3\xa9\\n"' + closed * levels
    assert encoded(orjson.loads(line)) == line


def test_nothing_that_orjson_parses_is_deeper() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(b"[" * 1025 + b"]" * 1025)


def test_what_json_does_not_have_is_refused() -> None:
    with pytest.raises(orjson.JSONEncodeError):
        encoded({"a": object()})
