"""No two signatures of a log contradict each other, whatever happened between them."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
from pathlib import Path

import pytest

from auditlog.evidence.errors import SigningStopped
from auditlog.evidence.merkle import verify_consistency
from auditlog.evidence.note import Signer
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.signer import LogSigner
from auditlog.evidence.tree_appender import TreeAppender
from tests.auditlog.evidence.test_tree_appender import (
    LOG,
    appender_of,
    closed,
    new_log,
    root_of,
    segments_in,
)

AT = dt.datetime(2026, 11, 23, 7, 12, tzinfo=dt.UTC)


__all__ = ["closed"]


def follow(signer: LogSigner, directory: Path) -> TreeAppender:
    appender = appender_of(directory, signer.tree)
    appender.advance(segments_in(directory))
    return appender


def test_consistent(tmp_path: Path, state: ProofState, key: Signer) -> None:
    log = new_log(tmp_path / "logs")
    for number in range(1, 40):
        log.append()
        if number % 9 == 0:
            log.rotate()
        if number % 5 == 0:
            signer = LogSigner(state, LOG, key)  # another process each time
            follow(signer, tmp_path / "logs")
            signed = signer.sign(AT)
            assert signed is not None
            assert signed.checkpoint.size == number
            assert signed.checkpoint.root == root_of(log.lines)
            assert signed.note.verified([key.renamed(signer.origin).key])
            signer.close()
        if number == 20:  # the files of the tree are lost
            shutil.rmtree(state.directory(LOG) / "leaves")
            (state.directory(LOG) / "tree.1").unlink(missing_ok=True)
    files = signer.tree.files()
    for old, new in itertools.pairwise(each.checkpoint for each in signer.signed):
        proof = files.consistency(old.size, new.size)
        assert verify_consistency(old.size, new.size, proof, old.root, new.root)


def test_one_root(tmp_path: Path, state: ProofState, key: Signer) -> None:
    """The log is written anew, with hashes that fit, and the state's trees are lost."""
    log = new_log(tmp_path / "logs")
    for _ in range(10):
        log.append()
    signer = LogSigner(state, LOG, key)
    follow(signer, tmp_path / "logs")
    assert signer.sign(AT) is not None
    signer.close()
    shutil.rmtree(tmp_path / "logs")
    shutil.rmtree(state.directory(LOG) / "leaves")
    forged = new_log(tmp_path / "logs")
    for _ in range(10):
        forged.append(details={"task_id": "forged"})
    signer = LogSigner(state, LOG, key)
    follow(signer, tmp_path / "logs")
    with pytest.raises(SigningStopped, match="are not those that were signed"):
        signer.sign(AT)
    signer.close()
    with pytest.raises(SigningStopped, match="not signed any more"):
        LogSigner(state, LOG, key)
    with state.locked():
        state.restart(LOG)
    signer = LogSigner(state, LOG, key)
    assert signer.origin.endswith("~e2")
    follow(signer, tmp_path / "logs")
    assert signer.sign(AT) is not None


def test_one_root_where_the_files_of_the_tree_lie(
    tmp_path: Path, state: ProofState, key: Signer
) -> None:
    log = new_log(tmp_path / "logs")
    for _ in range(10):
        log.append()
    signer = LogSigner(state, LOG, key)
    follow(signer, tmp_path / "logs")
    signer.tree.sync()
    (leaves,) = (state.directory(LOG) / "leaves").iterdir()
    leaves.write_bytes(bytes(len(leaves.read_bytes())))
    with pytest.raises(SigningStopped, match="do not have the root"):
        signer.sign(AT)


def test_nothing_is_signed_while_a_lost_tree_is_smaller_than_the_signed_one(
    tmp_path: Path, state: ProofState, key: Signer
) -> None:
    log = new_log(tmp_path / "logs")
    for _ in range(10):
        log.append()
    signer = LogSigner(state, LOG, key)
    follow(signer, tmp_path / "logs")
    signer.sign(AT)
    signer.close()
    log.paths[0].write_bytes(b"".join(log.lines[:4]))
    shutil.rmtree(state.directory(LOG) / "leaves")
    signer = LogSigner(state, LOG, key)
    follow(signer, tmp_path / "logs")
    assert signer.tree.size == 4
    assert signer.sign(AT) is None


def test_synced(tmp_path: Path, state: ProofState, key: Signer) -> None:
    """A checkpoint is on disk, readable by other processes, before it is returned."""
    log = new_log(tmp_path / "logs")
    log.append()
    signer = LogSigner(state, LOG, key)
    follow(signer, tmp_path / "logs")
    signed = signer.sign(AT)
    assert signed is not None
    other = LogSigner(state, LOG, key)
    assert other.newest == signed
    assert other.tree.root() == signed.checkpoint.root


def test_another_prefix_is_refused(tmp_path: Path, state: ProofState, key: Signer) -> None:
    log = new_log(tmp_path / "logs")
    log.append()
    signer = LogSigner(state, LOG, key)
    follow(signer, tmp_path / "logs")
    signer.sign(AT)
    with pytest.raises(SigningStopped, match=r"was signed as audit\.example\.com/hive1/"):
        LogSigner(state, LOG, key.renamed("elsewhere.example"))
