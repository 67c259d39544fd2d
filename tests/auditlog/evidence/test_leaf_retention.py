"""Trees of deleted segments without their leaves."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.leaf_retention import drop_leaves
from auditlog.evidence.merkle import verify_consistency, verify_inclusion
from auditlog.evidence.note import Signer
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.service import EvidenceOptions, EvidenceService
from auditlog.evidence.tree_files import TreeFiles
from auditlog.evidence.tree_store import TreeStore
from tests.support.logs import LogBuilder
from tests.support.trees import defined_root, leaves_of

SEGMENTS = {"2026-11-20.0001": 700, "2026-11-21.0001": 900, "2026-11-21.0002": 40,
            "2026-11-22.0001": 600, "2026-11-23.0001": 300}  # fmt: skip
LEAVES = leaves_of(sum(SEGMENTS.values()))
LATEST = dt.date(2026, 12, 1)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    store, first = TreeStore(tmp_path, 0), 0
    for label, count in SEGMENTS.items():
        store.begin(label)
        store.extend(LEAVES[first : first + count])
        first += count
    store.sync()
    store.close()
    return tmp_path


def kept(tree: Path) -> int:
    return sum(path.stat().st_size for path in (tree / "leaves").iterdir()) // 32


def check(tree: Path, present: range, limit: int) -> None:
    """Every proof that may still be asked for is that of the whole tree."""
    files, size = TreeFiles(tree), len(LEAVES)
    root = defined_root(LEAVES)
    assert files.root(size) == root
    for old in range(limit, size, 37):
        proof = files.consistency(old, size)
        assert verify_consistency(old, size, proof, defined_root(LEAVES[:old]), root)
    for index in present:
        assert verify_inclusion(LEAVES[index], index, size, files.inclusion(index, size), root)


def test_same_root(tree: Path) -> None:
    left = {"2026-11-22.0001", "2026-11-23.0001"}
    assert drop_leaves(tree, left, 1640, LATEST) == 512 + 768
    assert kept(tree) == len(LEAVES) - 1280
    check(tree, range(1640, len(LEAVES), 13), 1640)
    with pytest.raises(BadEvidence, match="less than was signed"):
        TreeFiles(tree).inclusion(100, len(LEAVES))
    assert drop_leaves(tree, left, 1640, LATEST) == 0
    store = TreeStore(tree, len(LEAVES))  # it goes on from there
    assert store.root() == defined_root(LEAVES)
    more = leaves_of(len(LEAVES) + 500)
    store.begin("2026-11-24.0001")
    store.extend(more[len(LEAVES) :])
    store.sync()
    assert store.root() == TreeFiles(tree).root(len(more)) == defined_root(more)
    store.close()


def test_same_root_where_a_held_segment_lies_between(tree: Path) -> None:
    left = {"2026-11-21.0001", "2026-11-23.0001"}
    assert drop_leaves(tree, left, 2400, LATEST) == 512 + 256
    check(tree, range(700, 1600, 13), 2400)


def test_present(tree: Path) -> None:
    everything = len(LEAVES)
    assert drop_leaves(tree, SEGMENTS, everything, LATEST) == 0
    assert drop_leaves(tree, (), everything, dt.date(2026, 11, 20)) == 0
    assert drop_leaves(tree, (), 255, LATEST) == 0
    check(tree, range(0, everything, 29), 1)
    assert drop_leaves(tree, (), everything, dt.date(2026, 11, 21)) == 512
    assert drop_leaves(tree, (), 1200, LATEST) == 256
    check(tree, range(1024, everything, 29), 1200)
    assert drop_leaves(tree, (), everything, LATEST) == 256 + 512
    assert [path.name for path in sorted((tree / "leaves").iterdir())][-1] == (
        "0000000000002241.2026-11-23.0001.leaves"
    ), "the newest file is still appended to"


def test_killed(tree: Path, tmp_path: Path) -> None:
    """Between the copy of the rest and the cut, both files have it."""
    before = tmp_path / "before"
    shutil.copytree(tree / "leaves", before)
    left = {"2026-11-22.0001", "2026-11-23.0001"}
    drop_leaves(tree, left, 1640, LATEST)
    after = sorted(path.name for path in (tree / "leaves").iterdir())
    for name in ("0000000000000001.2026-11-20.0001.leaves",
                 "0000000000000701.2026-11-21.0001.leaves"):  # fmt: skip
        shutil.copy(before / name, tree / "leaves" / name)
        check(tree, range(1640, len(LEAVES), 29), 1640)
        assert drop_leaves(tree, left, 1640, LATEST) in (512, 768)
        assert sorted(path.name for path in (tree / "leaves").iterdir()) == after
        check(tree, range(1640, len(LEAVES), 29), 1640)


def test_the_service_drops_what_was_deleted_and_signs_on(
    tmp_path: Path, state: ProofState, key: Signer
) -> None:
    (tmp_path / "audit").mkdir()
    log = LogBuilder(tmp_path / "audit")
    for _ in range(3):
        log.append(600)
        log.rotate(days=1)
    log.append(10)
    tree = state.directory(log.log)

    def signed_seq(kept_for: dt.timedelta | None) -> int:
        options = EvidenceOptions(leaves_kept_for=kept_for)
        service = EvidenceService([tmp_path / "audit"], state, key, options, host="hive1")
        found = {each.log: each for each in service.run_once()}
        assert not found[log.log].trouble
        return found[log.log].signed_seq

    size = signed_seq(None)
    log.path(0).unlink()
    log.append(5)
    assert signed_seq(None) == size + 5
    assert kept(tree) == size + 5
    assert signed_seq(dt.timedelta(0)) == size + 5
    assert kept(tree) == size + 5 - 512
    log.append(5)
    assert signed_seq(dt.timedelta(0)) == size + 10
    assert kept(tree) == size + 10 - 512
