from __future__ import annotations

import errno
import glob
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shippers.sources.ndjson.patterns import base_of, find, is_excluded

names = st.sampled_from(["a", "b", "a.log", "b.log", ".hidden", "c.log.gz"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
parts = st.sampled_from(["*", "**", "a", "?", "*.log", "[ab]", ".*", "*.log*"])
patterns = st.lists(parts, min_size=1, max_size=4).map("/".join)


def names_of(pattern: str, *exclude: str) -> list[str]:
    return sorted(str(state.path) for state in find([pattern], exclude).files.values())


def listed(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207  (it is what is compared with)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(paths, max_size=8), pattern=patterns)
def test_as_glob(tmp_path_factory: pytest.TempPathFactory, made: list[str], pattern: str) -> None:
    """as_glob: without links, the files found are those of Python's glob"""
    directory = tmp_path_factory.mktemp("tree")
    for name in made:
        try:
            touch(directory / name)
        except OSError:  # a directory there has the name, or a file that of a directory
            continue
    expected = {
        path
        for form in ("", ".gz", ".zst")
        for path in listed(f"{directory}/{pattern}{form}")
        if Path(path).is_file()
    }
    if pattern.endswith("**"):  # with a form behind it, that is no pattern for all directories
        expected = set(filter(os.path.isfile, listed(f"{directory}/{pattern}")))
    assert names_of(f"{directory}/{pattern}") == sorted(map(os.path.normpath, expected))


def test_ends(tmp_path: Path) -> None:
    """ends: links that lead in circles cost no more than the directories there are"""
    for name in ("one", "two"):
        touch(tmp_path / name / "deep" / "app.log")
        (tmp_path / name / "loop").symlink_to(tmp_path)
        (tmp_path / name / "deep" / "loop").symlink_to(tmp_path / name)
    found = find([f"{tmp_path}/**/*.log"])
    assert len(found.files) == 2
    assert len(found.directories) <= 8


def test_a_file_that_only_links_name_is_found_once_under_such_a_name(tmp_path: Path) -> None:
    target = touch(tmp_path / "pods" / "uid" / "0.log")
    (tmp_path / "containers").mkdir()
    for name in ("web.log", "web-again.log"):
        (tmp_path / "containers" / name).symlink_to(target)
    found = find([f"{tmp_path}/containers/*.log"])
    (state,) = found.files.values()
    assert state.path.parent == tmp_path / "containers"
    assert state.opened_path == target
    assert target.parent in found.directories, "it grows there"
    both = find([f"{tmp_path}/containers/*.log", f"{tmp_path}/pods/**/*.log"])
    assert [state.path for state in both.files.values()] == [target]


def test_a_link_that_another_user_made_to_somebodys_file_is_named_and_not_followed(
    tmp_path: Path,
) -> None:
    link = tmp_path / "x.log"
    link.symlink_to("/etc/passwd")
    if os.geteuid() == 0:
        os.lchown(link, 4711, 4711)
    found = find([f"{tmp_path}/*.log"])
    assert (found.files, found.not_followed) == ({}, [link])


def test_directories_that_have_no_file_yet_are_watched(tmp_path: Path) -> None:
    for name in ("pods/one", "pods/two/logs"):
        (tmp_path / name).mkdir(parents=True)
    found = find([f"{tmp_path}/pods/*/logs/*.log", f"{tmp_path}/pods/*/app.log"])
    assert tmp_path / "pods" in found.directories
    assert tmp_path / "pods" / "two" / "logs" in found.directories


def test_a_directory_that_cannot_be_listed_is_named_and_one_that_is_gone_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.log").touch()
    scandir = os.scandir

    def refused(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    patterns = [f"{tmp_path}/**/*.log", f"{tmp_path}/gone/*.log", f"{tmp_path}/open/a.log/*"]
    found = find(patterns)
    assert found.unlisted == {tmp_path / "closed": "Permission denied"}
    for excluded in ("closed", f"{tmp_path}/closed", f"{tmp_path}/closed/**"):
        assert find(patterns, [excluded]).unlisted == {}
    assert [file.path for file in found.files.values()] == [tmp_path / "open" / "a.log"]


def test_excluded_files_are_left_out_by_name_or_by_path(tmp_path: Path) -> None:
    for name in ("app.log", "app.log.xz", "debug/app.log", "debug/deep/app.log"):
        touch(tmp_path / name)
    assert names_of(f"{tmp_path}/**/*.log*", "*.xz", f"{tmp_path}/debug/**") == [
        f"{tmp_path}/app.log"
    ]
    assert is_excluded("/a/b/c.log", ["/a/**/c.log"])
    assert is_excluded("/a/c.log", ["/a/**/c.log"])
    assert not is_excluded("/a/b/c.log", ["/a/*.log", "b"])


def test_the_base_is_what_stands_before_the_first_magic_part() -> None:
    assert base_of("/var/log/*/a.log") == Path("/var/log")
    assert base_of("/var/log/a.log") == Path("/var/log")
    assert base_of("/**/a.log") == Path("/")
