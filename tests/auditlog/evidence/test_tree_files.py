"""The files of a tree, read beside the signer."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.merkle import verify_consistency, verify_inclusion
from auditlog.evidence.tree_files import TreeFiles
from tests.auditlog.evidence.test_tree_store import LEAVES, grown
from tests.support.trees import defined_root

SIZES = (1, 2, 100, 256, 300, 513, 800)


def test_same_root(tmp_path: Path) -> None:
    files = grown(tmp_path, to=800).files()
    for size in SIZES:
        assert files.root(size) == defined_root(LEAVES[:size])


def test_proofs(tmp_path: Path) -> None:
    files = grown(tmp_path, to=800).files()
    for size in SIZES:
        for index in (0, size // 2, size - 1):
            proof = files.inclusion(index, size)
            assert verify_inclusion(LEAVES[index], index, size, proof, files.root(size))
        proof = files.consistency(size, 800)
        assert verify_consistency(size, 800, proof, files.root(size), files.root(800))


def test_damage(tmp_path: Path) -> None:
    grown(tmp_path, to=800).close()
    (tmp_path / "tree.1").write_bytes(b"")
    with pytest.raises(BadEvidence, match="less than was signed"):
        TreeFiles(tmp_path).root(800)
    leaves = sorted((tmp_path / "leaves").iterdir())
    leaves[-1].write_bytes(leaves[-1].read_bytes()[:-33])
    with pytest.raises(BadEvidence, match="less than was signed"):
        TreeFiles(tmp_path).leaves(790, 10)
    leaves[3].unlink()
    with pytest.raises(BadEvidence, match="less than was signed"):
        TreeFiles(tmp_path).leaves(290, 50)
