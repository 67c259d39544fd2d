"""Checkpoints in exports: chosen whatever else there is, with hashes that lead to their roots."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditctl.export.checkpoints import ChosenCheckpoints, LeafRuns, subtrees_of
from auditlog.evidence.compact_range import CompactRange
from auditlog.evidence.merkle import leaf_hash
from auditlog.evidence.note import Signer
from auditlog.evidence.tree_files import level_path
from tests.auditctl.conftest import Result
from tests.auditctl.export.test_bundle import check
from tests.support.signed_host import SignedHost
from tests.support.trees import ORIGIN, defined_root, signed

LOG = "queen-rbee@hive1"
SIGNER = Signer(ORIGIN, bytes(32))


def write(content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(content)

    return damage


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(1 << 34)


def make_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    "damage",
    [
        write(b"{}\n"),
        write(b"\xff\xfe\n"),
        write(b'{"at":"2026-11-23T07:12:00.123456Z","note":7}\n'),
        write(b"[" * 70_000 + b"\n"),
        write(b"\n" * 5_000_000),
        grow,
        make_a_directory,
        link_to_itself,
    ],
    ids=["object", "bytes", "number", "nested", "lines", "huge", "directory", "link"],
)
def test_never_stops(
    run: Callable[..., Result], host: SignedHost, damage: Callable[[Path], None]
) -> None:
    """The checkpoints in the log evidence@hive1 are there still."""
    damage(host.checkpoints)
    host.policy.write_bytes(b"\0 no policy at all")
    with host.config.open("a") as file:
        file.write(f'[evidence]\npolicy = "{host.policy}"\n')
    made = run("export", "--config", host.config, "-o", host.place / "case.tar.zst")
    assert made.code == 0, made.err
    assert str(host.checkpoints) in made.err
    assert "the export goes on without these checkpoints" in made.err
    place = host.export()
    assert len(list(place.glob(f"checkpoints/{LOG}.*"))) == 1
    code, said = check(place)
    assert (code, "not compared" in said) == (0, True), said


def test_never_stops_without_the_signers_trees(host: SignedHost) -> None:
    for path in host.checkpoints.parent.glob("tree.*"):
        path.unlink()
    shutil.rmtree(host.checkpoints.parent / "leaves")
    level_path(host.checkpoints.parent, 1).mkdir()
    code, said = check(host.export("--since", "2026-11-24"), "--policy", host.policy)
    assert (code, "what was signed at 15 records has no root: hashes" in said) == (1, True), said


def test_one_checkpoint_of_each_set_of_signers_is_chosen() -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(9)]
    notes = [
        signed(leaves[:size], SIGNER, witnesses=who)
        for size in (2, 5, 9, 4)
        for who in ((), (1,), (1, 2), (2, 3))
        if size < 6 or len(who) < 2
    ]
    foreign = signed(leaves, SIGNER, origin="audit.example.com/hive1/other@hive1")
    whole = ChosenCheckpoints({LOG: None})
    whole.take([*notes, foreign])
    sizes = sorted(checkpoint.size for checkpoint, _ in whole.of(LOG).checkpoints)
    assert sizes == [5, 5, 9, 9]
    assert whole.of("other@hive1").checkpoints == ()
    part = ChosenCheckpoints({LOG: 4})
    part.take(notes)
    assert {checkpoint.size for checkpoint, _ in part.of(LOG).checkpoints} == {4}
    late = ChosenCheckpoints({LOG: 7})
    late.take(notes)
    sizes = sorted(checkpoint.size for checkpoint, _ in late.of(LOG).checkpoints)
    assert sizes == [5, 5, 9, 9]


@given(st.data())
def test_same_root(data: st.DataObject) -> None:
    """Whatever lines are missing, the hashes of the whole tree stand in for them."""
    size = data.draw(st.integers(1, 40))
    lines = [b"record %d\n" % number for number in range(size)]
    leaves = [leaf_hash(line[:-1]) for line in lines]
    there = data.draw(st.sets(st.integers(1, size)))
    sizes = data.draw(st.sets(st.integers(1, size), min_size=1))
    roots = {each: defined_root(leaves[:each]) for each in sizes}
    runs = LeafRuns(frozenset(sizes))
    for seq in sorted(there):
        runs.line(seq, lines[seq - 1])
        runs.line(seq, b"again\n")
    ranges = [
        CompactRange.of_subtrees(
            start, end, lambda height, at: defined_root(leaves[at << height : (at + 1) << height])
        )
        for start, end in runs.gaps(max(sizes))
    ]
    whole, found = CompactRange(), {}
    for each in sorted([*runs.runs, *ranges], key=lambda each: each.start):
        whole.extend(each)
        found[whole.end] = whole.root()
    assert {each: found.get(each) for each in sizes} == roots


def test_same_root_of_what_is_left_is_none_without_any_hashes(tmp_path: Path) -> None:
    runs = LeafRuns(frozenset({3}))
    runs.line(2, b"record 1\n")
    assert subtrees_of(runs, {3: bytes(32)}, 3, tmp_path, ()) == []
    assert runs.gaps(3) == [(0, 1), (2, 3)]
