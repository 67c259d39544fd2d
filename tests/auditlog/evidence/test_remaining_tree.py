"""Roots of a log of which records were deleted under policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditlog.evidence.compact_range import CompactRange
from auditlog.evidence.leaves import DELETED_LEAF
from auditlog.evidence.merkle import leaf_hash
from auditlog.evidence.remaining_tree import RemainingTree
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import Tombstone
from auditlog.reading.inventory import scan
from tests.support.logs import write_log
from tests.support.trees import defined_root

LOG = "queen-rbee@hive1"
SIZES = (3, 7, 12, 15, 17, 20, 24)


def tombstone(leaves: list[bytes], first: int, last: int, *, named: bool = True) -> Tombstone:
    part = CompactRange(first - 1)
    for leaf in leaves[first - 1 : last]:
        part.append(leaf)
    nodes = tuple(part.nodes) if named else ()
    return Tombstone(LOG, first, last, f"part {first}", "", "", "", nodes)


@pytest.fixture
def leaves(tmp_path: Path) -> list[bytes]:
    """Those of five segments with five records each, of which the first three are deleted."""
    log = write_log(tmp_path, LOG, records=5, segments=5)
    for path in log.paths[:3]:
        path.unlink()
    return [leaf_hash(line[:-1]) for line in log.lines]


def tree(directory: Path, *tombstones: Tombstone) -> RemainingTree:
    made = RemainingTree(LOG, SIZES, tombstones)
    made.read(scan(directory).logs[LogId.parse(LOG)])
    assert made.size == 24
    return made


def test_same_root(tmp_path: Path, leaves: list[bytes]) -> None:
    expected = {size: defined_root(leaves[:size]) for size in SIZES}
    stones = [tombstone(leaves, first, first + 4) for first in (1, 6, 11)]
    found = tree(tmp_path, *stones).roots(expected)
    assert {size: found[size] for size in (15, 17, 20, 24)} == {
        size: expected[size] for size in (15, 17, 20, 24)
    }
    assert not found.keys() & {3, 7, 12}, "they end within a deleted segment"


@pytest.mark.parametrize("begun", [1, 2, 3])
def test_blank(tmp_path: Path, leaves: list[bytes], begun: int) -> None:
    """The tree was begun when so many segments were deleted already."""
    signed = [DELETED_LEAF] * 5 * begun + leaves[5 * begun :]
    expected = {size: defined_root(signed[:size]) for size in SIZES}
    stones = [tombstone(leaves, first, first + 4) for first in (1, 6, 11)]
    found = tree(tmp_path, *stones).roots(expected)
    assert {size: root for size, root in found.items() if size in SIZES} == {
        size: root for size, root in expected.items() if size in found
    }
    assert set(found) >= {15, 17, 20, 24}


def test_blank_where_no_tombstone_names_the_leaves(tmp_path: Path, leaves: list[bytes]) -> None:
    stones = [tombstone(leaves, first, first + 4, named=first != 6) for first in (1, 6, 11)]
    expected = {size: defined_root(leaves[:size]) for size in SIZES}
    made = tree(tmp_path, *stones)
    assert made.roots(expected)[24] != expected[24]
    assert made.is_unknown_before(24)
    assert not made.is_unknown_before(5)
