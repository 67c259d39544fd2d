from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from retention.errors import StateDamaged
from retention.state_entries import StateEntries

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def entries(tmp_path: Path) -> StateEntries:
    return StateEntries(tmp_path / "state.json", "sinks", "what was noted", "Remove it.")


def test_round_trip(entries: StateEntries) -> None:
    assert entries.load() == {}
    entries.save({"main": {"n": 1}, "copy": {"n": 2}})
    assert entries.load() == {"main": {"n": 1}, "copy": {"n": 2}}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"v":1,"sinks":7}'])
def test_unreadable(entries: StateEntries, content: bytes) -> None:
    entries.path.write_bytes(content)
    with pytest.raises(StateDamaged, match="what was noted cannot be read") as raised:
        entries.load()
    assert raised.value.path == entries.path
    assert raised.value.hint == "Remove it."
