"""Leaves come for the lines that carry the log's next numbers, and for no others."""

from __future__ import annotations

from pathlib import Path

from auditlog.evidence.leaves import DELETED_LEAF, leaf_of, leaves_in_order
from auditlog.evidence.merkle import leaf_hash
from auditlog.format.record import log_prefix
from tests.support.erasures import stub
from tests.support.logs import write_log

PREFIX = log_prefix("queen-rbee@hive1")


def test_in_order(tmp_path: Path) -> None:
    lines = [line[:-1] for line in write_log(tmp_path, records=12).lines]
    leaves = [leaf_hash(line) for line in lines]
    assert leaves_in_order(lines, PREFIX, 1) == leaves
    assert leaves_in_order(lines[4:], PREFIX, 5) == leaves[4:]
    assert leaves_in_order(lines, PREFIX, 2) == []
    assert leaves_in_order([*lines[:3], *lines[4:]], PREFIX, 1) == leaves[:3]
    assert leaves_in_order([*lines[:3], b"", *lines[3:]], PREFIX, 1) == leaves[:3]
    assert leaves_in_order(lines, log_prefix("queen-rbee@hive1+2"), 1) == []


def test_a_stub_has_the_leaf_of_the_record_whose_place_it_takes(tmp_path: Path) -> None:
    lines = write_log(tmp_path, records=6).lines
    leaves = [leaf_hash(line[:-1]) for line in lines]
    erased = [*lines[:2], stub(lines[2]), *lines[3:]]
    assert erased != lines
    assert [leaf_of(line[:-1]) for line in erased] == leaves
    assert leaves_in_order([line[:-1] for line in erased], PREFIX, 1) == leaves
    assert leaves_in_order([erased[2][:-1]], PREFIX, 3) == [leaves[2]]


def test_a_deleted_record_has_the_leaf_of_an_empty_line() -> None:
    assert leaf_of(b"") == DELETED_LEAF == leaf_hash(b"")


def test_in_order_where_the_numbers_become_longer(tmp_path: Path) -> None:
    """Lines are looked at all together where their numbers have as many digits, else one by one."""
    lines = [line[:-1] for line in write_log(tmp_path, records=130).lines]
    leaves = [leaf_hash(line) for line in lines]
    for first in (1, 2, 9, 10, 11, 99, 100, 101):
        assert leaves_in_order(lines[first - 1 :], PREFIX, first) == leaves[first - 1 :]
    for place in (0, 1, 20, 29):  # 101 to 130
        others = [lines[99 + place] + b"0", lines[100 + place][: len(PREFIX) + 3], b"", lines[50]]
        for other in others:
            changed = [*lines[100 : 100 + place], other, *lines[101 + place :]]
            assert leaves_in_order(changed, PREFIX, 101) == leaves[100 : 100 + place]
    assert leaves_in_order([], PREFIX, 7) == []
