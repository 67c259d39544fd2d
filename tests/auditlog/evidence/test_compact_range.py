"""Ranges of leaves by their largest complete subtrees."""

from __future__ import annotations

import pytest

from auditlog.evidence.compact_range import CompactRange
from tests.support.trees import defined_root, leaves_of

LEAVES = leaves_of(70)


def range_of(start: int, end: int) -> CompactRange:
    made = CompactRange(start)
    for leaf in LEAVES[start:end]:
        made.append(leaf)
    return made


@pytest.mark.parametrize("end", range(71))
def test_same_root(end: int) -> None:
    assert range_of(0, end).root() == defined_root(LEAVES[:end])
    for start in range(end + 1):
        joined = range_of(0, start)
        joined.extend(CompactRange.of(start, end, range_of(start, end).nodes))
        assert joined.root() == defined_root(LEAVES[:end])


@pytest.mark.parametrize(("start", "end"), [(0, 64), (3, 64), (31, 70), (64, 64)])
def test_determined(start: int, end: int) -> None:
    nodes = range_of(start, end).nodes
    assert CompactRange.of(start, end, nodes).nodes == nodes
    for others in (nodes[1:] if nodes else [b""], [*nodes, bytes(32)]):
        with pytest.raises(ValueError, match="zip"):
            CompactRange.of(start, end, others)


def test_a_range_continues_only_where_the_other_ends() -> None:
    with pytest.raises(ValueError, match="does not continue"):
        range_of(0, 5).extend(range_of(6, 9))
    with pytest.raises(ValueError, match="has no root"):
        range_of(1, 5).root()


def test_a_copy_goes_its_own_way() -> None:
    first = range_of(0, 5)
    second = first.copy()
    second.append(LEAVES[5])
    assert (first.root(), second.root()) == (defined_root(LEAVES[:5]), defined_root(LEAVES[:6]))


def test_a_range_begins_at_the_first_leaf_unless_it_is_told() -> None:
    made = CompactRange()
    made.append(LEAVES[0])
    assert made.root() == defined_root(LEAVES[:1])


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (0, 64), (3, 64), (31, 70), (6, 7)])
def test_leaves_that_are_all_the_same_need_not_be_added_one_by_one(start: int, end: int) -> None:
    made = CompactRange(start)
    for _ in range(start, end):
        made.append(LEAVES[0])
    uniform = CompactRange.uniform(start, end, LEAVES[0])
    assert (uniform.start, uniform.end, uniform.nodes) == (start, end, made.nodes)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 64), (3, 64), (31, 70), (6, 7)])
def test_a_range_is_made_of_the_roots_of_its_subtrees(start: int, end: int) -> None:
    def subtree(height: int, index: int) -> bytes:
        return defined_root(LEAVES[index << height : (index + 1) << height])

    made = CompactRange.of_subtrees(start, end, subtree)
    assert made.nodes == range_of(start, end).nodes
