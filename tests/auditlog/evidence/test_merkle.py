"""Trees against the recursive definition of RFC 6962, for every small size and some large ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.evidence.merkle import (
    EMPTY_ROOT,
    TreeBuilder,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    node_hash,
    range_root,
    verify_consistency,
    verify_inclusion,
)
from tests.support.trees import defined_root, leaves_of, subtrees_of

LEAVES = leaves_of(70)
ROOTS = [defined_root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


def built(leaves: list[bytes]) -> TreeBuilder:
    builder = TreeBuilder()
    for leaf in leaves:
        builder.append(leaf)
    return builder


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert TreeBuilder().root() == ROOTS[0] == EMPTY_ROOT


def test_definition_for_every_small_size() -> None:
    builder = TreeBuilder()
    for size, leaf in enumerate(LEAVES, 1):
        builder.append(leaf)
        assert (builder.size, builder.root()) == (size, ROOTS[size])
        assert range_root(0, size, subtrees_of(LEAVES)) == ROOTS[size]


def test_definition_at_the_edges_of_tiles() -> None:
    leaves = leaves_of(2 * 256 + 1)
    for size in (255, 256, 257, 511, 512, 513):
        assert built(leaves[:size]).root() == defined_root(leaves[:size])


def test_definition_where_a_tile_of_tiles_is_complete() -> None:
    """65,536 leaves complete a tile of the second level; the third begins."""
    leaf = LEAVES[0]
    builder = TreeBuilder()
    completed = [len(builder.append(leaf)) for _ in range(65_536)]
    assert completed[-1] == 2
    assert completed.count(1) == 255
    assert [len(tile) for tile in builder.levels] == [0, 0, 1]
    assert builder.root() == builder.levels[2][0]


@pytest.mark.parametrize("step", [1, 7, 255, 256, 257, 1000])
def test_definition_holds_however_many_leaves_are_added_at_once(step: int) -> None:
    leaves, builder, one_by_one = leaves_of(1500), TreeBuilder(), TreeBuilder()
    for start in range(0, len(leaves), step):
        completed = builder.extend(leaves[start : start + step])
        expected = [
            numbered
            for leaf in leaves[start : start + step]
            for numbered in enumerate(one_by_one.append(leaf), 1)
        ]
        assert completed == expected
        assert (builder.size, builder.root()) == (one_by_one.size, one_by_one.root())


@given(st.integers(1, 70), st.data())
def test_inclusion(size: int, draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, subtrees_of(LEAVES))
    assert verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])
    assert not verify_inclusion(LEAVES[(index + 1) % 70], index, size, proof, ROOTS[size])
    assert not verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size - 1])
    assert not verify_inclusion(LEAVES[index], size, size, proof, ROOTS[size])
    for other in range(size):
        if other != index:
            assert not verify_inclusion(LEAVES[index], other, size, proof, ROOTS[size])
    for at in range(len(proof)):
        without = [*proof[:at], *proof[at + 1 :]]
        assert not verify_inclusion(LEAVES[index], index, size, without, ROOTS[size])
    assert not verify_inclusion(LEAVES[index], index, size, [*proof, LEAVES[0]], ROOTS[size])


@settings(max_examples=200)
@given(st.integers(0, 70), st.data())
def test_consistency(size: int, draw: st.DataObject) -> None:
    old = draw.draw(st.integers(0, size))
    proof = consistency_proof(old, size, subtrees_of(LEAVES))
    assert verify_consistency(old, size, proof, ROOTS[old], ROOTS[size])
    other = LEAVES[-1]
    assert not verify_consistency(old, size, proof, other, ROOTS[size])
    assert not verify_consistency(old, size, [*proof, other], ROOTS[old], ROOTS[size])
    if old:
        assert not verify_consistency(old, size, proof, ROOTS[old], other)
        assert not verify_consistency(size + 1, old, proof, ROOTS[old], ROOTS[size])
    for at in range(len(proof)):
        changed = [*proof[:at], other, *proof[at + 1 :]]
        assert not verify_consistency(old, size, changed, ROOTS[old], ROOTS[size])
        without = [*proof[:at], *proof[at + 1 :]]
        assert not verify_consistency(old, size, without, ROOTS[old], ROOTS[size])


def test_the_leaves_of_many_records_are_those_of_each() -> None:
    records = [b"", b"a", b"x" * 1000]
    assert leaf_hashes(records) == [leaf_hash(record) for record in records]


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (6, 5), (0, 0)])
def test_a_leaf_outside_of_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"leaf {index} is not in a tree of {size}"):
        inclusion_proof(index, size, subtrees_of(LEAVES))
    assert verify_inclusion(LEAVES[0], index, size, [], ROOTS[size]) is False


def test_a_leaf_before_the_first_is_not_in_a_tree_of_one() -> None:
    assert verify_inclusion(LEAVES[0], 0, 1, [], LEAVES[0]) is True
    assert verify_inclusion(LEAVES[0], -1, 1, [], LEAVES[0]) is False


@pytest.mark.parametrize(("old", "size"), [(-1, 5), (6, 5), (-1, -1)])
def test_a_tree_that_does_not_begin_with_the_other_has_no_proof(old: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"a tree of {size} does not begin with {old} leaves"):
        consistency_proof(old, size, subtrees_of(LEAVES))
    assert verify_consistency(old, size, [], ROOTS[5], ROOTS[5]) is False


@pytest.mark.parametrize("old", [0, 5])
def test_the_empty_tree_and_the_same_tree_need_no_proof(old: int) -> None:
    assert consistency_proof(old, 5, subtrees_of(LEAVES)) == []
    assert verify_consistency(old, 5, [], ROOTS[old], ROOTS[5]) is True
    assert verify_consistency(old, 5, [LEAVES[0]], ROOTS[old], ROOTS[5]) is False
    assert verify_consistency(old, 5, [], LEAVES[0], ROOTS[5]) is False


def test_an_empty_proof_proves_no_larger_tree() -> None:
    for old in (1, 2, 3, 4):
        assert verify_consistency(old, 5, [], ROOTS[old], ROOTS[5]) is False
        assert verify_consistency(old, 5, [], ROOTS[5], ROOTS[5]) is False


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_proof_has_only_hashes(length: int) -> None:
    """Longer ones could move the border between the two hashes of a node."""
    leaf, node = LEAVES[0], b"x" * length
    assert verify_inclusion(leaf, 0, 2, [node], node_hash(leaf, node)) is False
    assert verify_consistency(1, 2, [node], leaf, node_hash(leaf, node)) is False
    node = b"x" * 32
    assert verify_inclusion(leaf, 0, 2, [node], node_hash(leaf, node)) is True
    assert verify_consistency(1, 2, [node], leaf, node_hash(leaf, node)) is True


def test_a_proof_that_is_too_long_is_refused() -> None:
    """Also where the hash over all of it is the given root."""
    leaf, node = LEAVES[0], LEAVES[1]
    for longer in (node_hash(node_hash(leaf, node), node), node_hash(node, node_hash(leaf, node))):
        assert verify_inclusion(leaf, 0, 2, [node, node], longer) is False
        assert verify_consistency(1, 2, [node, node], leaf, longer) is False
