"""A tree on disk that is closed, cut off and opened again is the tree it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.evidence.merkle import EMPTY_ROOT
from auditlog.evidence.tree_files import TreeFiles
from auditlog.evidence.tree_store import TreeStore
from tests.support.trees import defined_root, leaves_of

LEAVES = leaves_of(800)


def grown(directory: Path, *, to: int, size: int = 0, step: int = 100) -> TreeStore:
    """A store in which every ``step`` records begin another segment."""
    store = TreeStore(directory, size)
    while store.size < to:
        store.begin(f"2026-11-23.{store.size // step + 1:04d}")
        store.extend(LEAVES[store.size : min(to, store.size - store.size % step + step)])
    store.sync()
    return store


def test_resumes(tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=30)
    @given(st.lists(st.integers(0, 800), min_size=1, max_size=5), st.integers(1, 300))
    def check(sizes: list[int], step: int) -> None:
        directory = tmp_path_factory.mktemp("tree")
        size = 0
        for to in sorted(sizes):
            store = grown(directory, to=to, size=size, step=step)
            assert store.root() == defined_root(LEAVES[:to])
            assert store.files().root(to) == defined_root(LEAVES[:to])
            store.close()
            size = to

    check()


@pytest.mark.parametrize("size", [0, 1, 99, 100, 255, 256, 257, 512, 700])
def test_cut_back(tmp_path: Path, size: int) -> None:
    """A crash leaves what was never signed; other records may come instead."""
    grown(tmp_path, to=750).close()
    for path in tmp_path.rglob("tree.*"):
        with path.open("ab") as stream:
            stream.write(b"torn")
    store = TreeStore(tmp_path, size)
    assert store.root() == (defined_root(LEAVES[:size]) if size else EMPTY_ROOT)
    other = LEAVES[::-1][: 750 - size]
    store.begin("2026-11-24.0001")
    store.extend(other)
    store.sync()
    whole = [*LEAVES[:size], *other]
    assert store.files().root(750) == store.root() == defined_root(whole)


def test_a_tree_of_a_tile_of_tiles_is_read_back(tmp_path: Path) -> None:
    leaves = [LEAVES[0]] * (65_536 + 300)
    store = TreeStore(tmp_path, 0)
    store.begin("2026-11-23.0001")
    store.extend(leaves)
    store.sync()
    root = store.root()
    store.close()
    assert (tmp_path / "tree.2").stat().st_size == 32
    assert TreeStore(tmp_path, len(leaves)).root() == root
    assert TreeFiles(tmp_path).root(len(leaves)) == root
