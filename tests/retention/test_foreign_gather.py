"""Gathering the facts about foreign files of a directory."""

from __future__ import annotations

import glob
import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.cursors import CursorStore
from auditlog.format.segment_names import COMPRESSIONS
from auditlog.reading.inventory import scan
from retention.foreign_content import inspect_foreign
from retention.foreign_gather import adopt, ships, source_places
from retention.gather import gather
from retention.policy import ForeignPolicy, RetentionPolicy
from retention.subjects import AdoptedFile, ForeignFile
from tests.support.foreign import DAY, NOW, foreign_policy, leave, save_places
from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Iterator


def look(
    directory: Path, policy: RetentionPolicy, sinks: tuple[str, ...] = ()
) -> tuple[tuple[ForeignFile, ...], tuple[AdoptedFile, ...]]:
    shipped = source_places(policy, sinks, CursorStore(directory.parent / "state"))
    paths = scan(directory).foreign
    return adopt(paths, policy, shipped, (), NOW, stop=threading.Event())


def lacks(directory: Path, *sinks: str) -> list[str]:
    _, (file,) = look(directory, foreign_policy(directory, source=True), sinks)
    return [placing.lacks for placing in file.progress]


def test_named(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    built = write_log(audit)
    for name in ("a.ndjson", "b.ndjson.gz", "c.log"):
        leave(audit, name, 40 * DAY, form="")
    (audit / "b.ndjson.gz").unlink()
    leave(audit, "b.ndjson", 40 * DAY, form=".gz")
    (audit / built.paths[0].name.replace(".0001.", ".0002.")).symlink_to("a.ndjson")
    foreign, adopted = look(audit, foreign_policy(audit))
    assert [file.path.name for file in adopted] == ["a.ndjson", "b.ndjson.gz"]
    assert [file.path.name for file in foreign] == [
        "c.log",
        built.paths[0].name.replace(".0001.", ".0002."),
    ]
    assert look(audit, RetentionPolicy())[1] == ()


def test_the_first_pattern_that_matches_decides_and_the_newest_comes_last(tmp_path: Path) -> None:
    for name, age in (("a.ndjson", 40), ("b.ndjson", 60), ("x.ndjson", 50)):
        leave(tmp_path, name, age * DAY)
    first, second = (
        ForeignPolicy("x.*", RetentionPolicy()),
        ForeignPolicy("*.ndjson", RetentionPolicy()),
    )
    _, adopted = look(tmp_path, RetentionPolicy(foreign=(first, second)))
    assert [file.path.name for file in adopted] == ["x.ndjson", "b.ndjson", "a.ndjson"]
    assert [file.foreign.pattern for file in adopted] == ["x.*", "*.ndjson", "*.ndjson"]


def test_unsafe(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    path = leave(audit, "a.ndjson", 40 * DAY)
    (audit / "link.ndjson").symlink_to(path.name)
    (audit / "dir.ndjson").mkdir()
    os.mkfifo(audit / "pipe.ndjson")
    if os.geteuid() == 0:
        leave(audit, "other.ndjson", 40 * DAY)
        os.chown(audit / "other.ndjson", 12345, 12345)
    foreign, adopted = look(audit, foreign_policy(audit))
    assert [file.path.name for file in adopted] == ["a.ndjson"]
    assert {file.path.name: file.detail.partition("but it ")[2] for file in foreign} == {
        "dir.ndjson": "is not a regular file",
        "link.ndjson": "is a symbolic link",
        "pipe.ndjson": "is not a regular file",
        **(
            {"other.ndjson": "belongs to uid 12345, not to the directory's owner"}
            if os.geteuid() == 0
            else {}
        ),
    }


@pytest.mark.parametrize("form", ["", ".gz"])
def test_shipped(tmp_path: Path, form: str) -> None:
    audit, state = tmp_path / "audit", tmp_path / "state"
    path = leave(audit, "a.ndjson", 100 * DAY, form=form)
    content, _ = inspect_foreign(path, form, ("timestamp",), threading.Event())
    assert content.end is not None
    assert lacks(audit) == []
    assert lacks(audit, "main") == ["it has acknowledged nothing"]
    save_places(state)
    assert lacks(audit, "main") == ["it has shipped nothing of this file"]
    for place in (
        content.end._replace(line_at=0),
        content.end._replace(line_hash="0" * 64),
        content.end._replace(first_hash="0" * 64),
    ):
        save_places(state, place)
        assert all(lacks(audit, "main"))
    save_places(state, content.end._replace(line_at=0), content.end)
    assert lacks(audit, "main", "copy") == ["", "it has acknowledged nothing"]
    save_places(state, content.end, sink="copy")
    assert lacks(audit, "main", "copy") == ["", ""]
    with path.open("ab") as file:  # grown since
        file.write(path.read_bytes())
    assert all(lacks(audit, "main"))


class _Rotated(threading.Event):
    """While the first file is read, the second one gets its name back, as from logrotate."""

    def __init__(self, *moves: tuple[Path, Path]) -> None:
        super().__init__()
        self._moves = list(moves)

    def is_set(self) -> bool:
        for source, target in self._moves:
            source.rename(target)
        self._moves.clear()
        return False


def test_a_file_that_has_no_name_for_a_moment_is_still_one_that_a_source_ships(
    tmp_path: Path,
) -> None:
    leave(tmp_path / "audit", "a.ndjson", 100 * DAY)
    late = leave(tmp_path / "audit", "b.ndjson", 95 * DAY)
    policy = foreign_policy(tmp_path / "audit", source=True)
    away = late.with_name("away")

    def listed() -> Iterator[Path]:
        yield from scan(tmp_path / "audit").foreign
        late.rename(away)

    shipped = source_places(policy, ["main"], CursorStore(tmp_path / "state"))
    _, adopted = adopt(listed(), policy, shipped, (), NOW, stop=_Rotated((away, late)))
    assert [len(file.progress) for file in adopted] == [1, 1]


_PARTS = st.sampled_from(["a", "b.gz", ".h", "*", "**", "*.gz", ".*", "[ab]", "?", "x.log"])
_TREE = ("a/a", "a/b.gz", "a/.h/a", "a/a/b.gz", ".h/a", "b.gz/x.log", "x.log.gz")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each of the files below a directory of its own, since a name is a file or a directory."""
    root = tmp_path_factory.mktemp("tree")
    for number, name in enumerate(_TREE):
        path = root / str(number) / name
        path.parent.mkdir(parents=True)
        path.touch()
    return root


@given(parts=st.lists(_PARTS, min_size=1, max_size=4))
def test_a_source_ships_what_its_patterns_list(tree: Path, parts: list[str]) -> None:
    for number, name in enumerate(_TREE):
        path = f"{tree}/{number}/{name}"
        pattern = "/".join([f"{tree}/{number}", *parts])
        assert ships([pattern], path) == any(
            path in glob.iglob(pattern + form, recursive=True)  # noqa: PTH207  (as a source does)
            for form in COMPRESSIONS
        )


def test_a_damaged_cursor_is_in_doubt(tmp_path: Path) -> None:
    leave(tmp_path / "audit", "a.ndjson", 100 * DAY)
    save_places(tmp_path / "state")
    for path in (tmp_path / "state").rglob("*.cursor"):
        path.write_bytes(b"{}")
    assert "its cursor is damaged" in lacks(tmp_path / "audit", "main")[0]


def test_doubt(tmp_path: Path) -> None:
    torn = leave(tmp_path, "a.ndjson", 99 * DAY, form=".gz")
    torn.write_bytes(torn.read_bytes()[:-9])
    leave(tmp_path, "b.ndjson", 99 * DAY)
    leave(tmp_path, "b.ndjson", 98 * DAY, form=".gz")  # what a writer began anew
    leave(tmp_path, "c.ndjson", 97 * DAY)
    half = leave(tmp_path, "c.ndjson", 97 * DAY, form=".gz")
    half.write_bytes(half.read_bytes()[:40])
    _, adopted = look(tmp_path, foreign_policy(tmp_path))
    damages = {file.plain.name: file.damage for file in adopted}
    assert "cannot be decompressed" in damages["a.ndjson"]
    assert damages["b.ndjson"] == "b.ndjson and b.ndjson.gz hold different lines"
    assert damages["c.ndjson"] == ""
    assert [file.forms for file in adopted if file.plain.name == "c.ndjson"] == [("", ".gz")]


def test_a_young_file_is_read_where_it_may_have_to_go_for_its_size(tmp_path: Path) -> None:
    size = leave(tmp_path, "b.ndjson", 5 * DAY).stat().st_size
    leave(tmp_path, "c.ndjson", 4 * DAY)
    for limit, is_read in ((2 * size, False), (2 * size - 1, True)):
        policy = replace(foreign_policy(tmp_path), max_total_bytes=limit)
        facts, _ = gather(
            tmp_path, policy, sinks=(), state_dir=tmp_path / "state", holds=(), now=NOW
        )
        assert [file.content is not None for file in facts.adopted] == [is_read] * 2


def test_a_modification_time_beyond_all_dates_is_doubt_about_that_file_alone() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:  # which keeps such a time
        old = leave(Path(place), "old.ndjson", 40 * DAY)
        leave(Path(place), "other.ndjson", 40 * DAY)
        os.utime(old, (253402300900, 253402300900))  # in the year 10000
        assert old.stat().st_mtime > 253402300800
        _, adopted = look(Path(place), foreign_policy(Path(place)))
    assert {file.name: file.damage for file in adopted} == {
        "old.ndjson": "its modification time is beyond the year 9999",
        "other.ndjson": "",
    }


def test_a_file_that_is_young_or_being_written_is_told_of(tmp_path: Path) -> None:
    leave(tmp_path, "a.ndjson", 40 * DAY)
    leave(tmp_path, "b.ndjson", 5 * DAY)
    with (tmp_path / "a.ndjson").open("ab"):
        _, (old, young) = look(tmp_path, foreign_policy(tmp_path))
    assert (old.open_for_writing, young.open_for_writing) == (True, False)
    assert (young.content, young.counted_from) == (None, NOW - 5 * DAY)
    assert old.content is not None
