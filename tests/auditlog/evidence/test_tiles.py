"""Trees for other programs, read back by the specification and by a program in Go."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.merkle import leaf_hash
from auditlog.evidence.note import Signer
from auditlog.evidence.tiles import numbered_lines, tile_path, write_tiles
from auditlog.evidence.tree_files import TreeFiles
from auditlog.evidence.tree_store import TreeStore
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import scan
from tests.auditlog.evidence.test_judges import says
from tests.support.logs import write_log
from tests.support.trees import ORIGIN, defined_root, leaves_of, signed

SIGNER = Signer(ORIGIN, bytes(range(32)))


def tree_of(place: Path, leaves: list[bytes]) -> TreeFiles:
    store = TreeStore(place, 0)
    store.begin("2026-11-23.0001")
    store.extend(leaves)
    store.sync()
    store.close()
    return TreeFiles(place)


def lines_of(count: int) -> list[bytes]:
    return [b"record %d" % number for number in range(count)]


def files_in(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("index", "width", "name"), [
    (0, 256, "tile/0/000"),
    (999, 256, "tile/0/999"),
    (1000, 7, "tile/0/x001/000.p/7"),
    (1234067, 256, "tile/0/x001/x234/067"),
])  # fmt: skip
def test_layout_of_names(index: int, width: int, name: str) -> None:
    """The last is the specification's own example."""
    assert tile_path("0", index, width) == name


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700, 65_536, 65_800])
def test_root(tmp_path: Path, size: int) -> None:
    """From the tiles alone, by the recursive definition; then by x/mod in Go."""
    leaves = leaves_of(size)
    place = tmp_path / "out"
    note = signed(leaves, SIGNER, witnesses=(1,))
    tree = tree_of(tmp_path / "tree", leaves)
    assert write_tiles(place, note, tree, enumerate(lines_of(size))) == size
    found = b"".join(
        (place / tile_path("0", first // 256, min(256, size - first))).read_bytes()
        for first in range(0, size, 256)
    )
    hashes = [found[at : at + 32] for at in range(0, len(found), 32)]
    assert hashes == leaves
    if size < 1000:
        assert defined_root(hashes) == tree.root(size)
    assert says("tilesjudge", place, SIGNER.key).startswith(f"OK {size} leaves, {size} entries")


def test_root_that_was_not_signed_is_not_written(tmp_path: Path) -> None:
    leaves = leaves_of(10)
    tree = tree_of(tmp_path / "tree", [*leaves[:9], leaf_hash(b"other")])
    with pytest.raises(BadEvidence, match="root that was signed"):
        write_tiles(tmp_path / "out", signed(leaves, SIGNER), tree, ())
    assert not (tmp_path / "out").exists()


def test_root_is_not_that_of_a_file_that_was_changed(tmp_path: Path) -> None:
    leaves, place = leaves_of(300), tmp_path / "out"
    tree = tree_of(tmp_path / "tree", leaves)
    write_tiles(place, signed(leaves, SIGNER), tree, enumerate(lines_of(300)))
    for name in sorted(files_in(place)):
        content = (place / name).read_bytes()
        (place / name).write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
        assert says("tilesjudge", place, SIGNER.key).startswith("refused"), name
        (place / name).write_bytes(content)
    (place / "tile/0/000.p").mkdir()
    (place / "tile/0/000.p/3").write_bytes(bytes(96))
    assert "not part of the tree" in says("tilesjudge", place, SIGNER.key)


@pytest.mark.parametrize(("changed", "left"), [
    ({300: b"forged"}, {0, 2}),
    ({300: None}, {0, 2}),
    ({0: None, 599: None}, {1}),
    ({10: b"x" * 65_536}, {1, 2}),
])  # fmt: skip
def test_entries(tmp_path: Path, changed: dict[int, bytes | None], left: set[int]) -> None:
    lines = lines_of(600)
    for index, line in changed.items():
        if line is not None and len(line) > 1000:
            lines[index] = line  # signed like this, and too long for an entry
    leaves = [leaf_hash(line) for line in lines]
    given = {**dict(enumerate(lines)), **changed}
    place = tmp_path / "out"
    written = write_tiles(
        place,
        signed(leaves, SIGNER),
        tree_of(tmp_path / "tree", leaves),
        ((index, line) for index, line in given.items() if line is not None),
    )
    bundles = [name.split("/")[2][:3] for name in files_in(place) if "entries" in name]
    assert {int(name) for name in bundles} == left
    assert written == sum(88 if index == 2 else 256 for index in left)
    assert says("tilesjudge", place, SIGNER.key).startswith(f"OK 600 leaves, {written} entries")


def test_entries_are_the_lines_of_the_log_in_any_form(tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", records=5, segments=2)
    found = scan(tmp_path / "audit").logs[LogId.parse(log.log)]
    assert [line + b"\n" for _, line in numbered_lines(found)] == log.lines
    leaves = [sha256(b"\0" + line[:-1]).digest() for line in log.lines]
    assert [index for index, _ in numbered_lines(found)] == list(range(len(leaves)))
