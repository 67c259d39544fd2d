"""Find files that match patterns, and directories to watch for new ones.

Patterns are those of glob(7), with ``**`` for any number of directories; names that begin with a
dot are not matched by ``*`` or ``**``.  A pattern also matches its files' .gz and .zst forms.

A directory is looked into once for each pattern, told by device and inode, so loops of symbolic
links end.  A link to a file is followed if root or the owner of the file made it: anybody else
could have other people's files shipped.

Invariants (tests of the same name in tests/shippers/sources/ndjson/test_patterns.py):
  as_glob   without links, the files found are those of Python's glob
  ends      links that lead in circles cost no more than the directories there are
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shippers.sources.ndjson.file_bytes import FileState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Found", "base_of", "find", "is_excluded"]

_FORMS: Final = ("", ".gz", ".zst")
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(slots=True)
class Found:
    """``files`` by (device, inode); ``directories`` in which a new name may be a match.

    ``unlisted`` says why a directory cannot be looked into; ``not_followed`` are links that lead to
    a file and are not followed.
    """

    files: dict[tuple[int, int], FileState] = field(default_factory=dict)
    directories: dict[Path, None] = field(default_factory=dict)
    unlisted: dict[Path, str] = field(default_factory=dict)
    not_followed: list[Path] = field(default_factory=list)


def find(patterns: Sequence[str], exclude: Sequence[str] = ()) -> Found:
    """Look for the files now.  What cannot be listed is named."""
    found = Found()
    for pattern in patterns:
        parts = Path(pattern).parts
        parts = (*parts, "*") if parts[-1] == "**" else parts
        for path in _expand(parts[0], parts[1:], found, set()):
            if not is_excluded(path, exclude):
                _add(path, found)
    found.unlisted = {
        place: why
        for place, why in found.unlisted.items()
        if not is_excluded(str(place), exclude) and not is_excluded(f"{place}/*", exclude)
    }
    return found


def base_of(pattern: str) -> Path:
    """The directory in front of the first part of a pattern that is not a plain name."""
    parts = Path(pattern).parts[:-1]
    plain = next((n for n, part in enumerate(parts) if has_magic(part)), len(parts))
    return Path(*parts[:plain])


def is_excluded(path: str, exclude: Sequence[str]) -> bool:
    """Whether a pattern matches the path, or a pattern without a slash its name."""
    name = path.rpartition("/")[2]
    return any(
        _matches(Path(path).parts, Path(pattern).parts)
        if "/" in pattern
        else fnmatchcase(name, pattern)
        for pattern in exclude
    )


def _matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[n:], pattern[1:]) for n in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])


def _expand(
    directory: str,
    parts: tuple[str, ...],
    found: Found,
    seen: set[tuple[int, int, int]],
) -> Iterator[str]:
    """The paths in a directory that match; ``seen`` holds where ``**`` was by now."""
    part, rest = parts[0], parts[1:]
    if part == "**":
        try:
            there = os.stat(directory)  # noqa: PTH116  (thousands of them)
        except OSError:
            return
        if (key := (there.st_dev, there.st_ino, len(parts))) in seen:
            return
        seen.add(key)
        yield from _expand(directory, rest, found, seen)
        for entry in _entries(directory, "*", found):
            if _is_directory(entry):
                yield from _expand(entry.path, parts, found, seen)
    elif rest and not has_magic(part):
        yield from _expand(f"{directory.rstrip('/')}/{part}", rest, found, seen)
    elif rest:
        for entry in _entries(directory, part, found):
            if _is_directory(entry):
                yield from _expand(entry.path, rest, found, seen)
    elif has_magic(part):
        for entry in _entries(directory, part, found, _FORMS):
            yield entry.path
    else:
        yield from (f"{directory.rstrip('/')}/{part}{form}" for form in _FORMS)


def _entries(
    directory: str, pattern: str, found: Found, forms: Sequence[str] = ("",)
) -> Iterator[os.DirEntry[str]]:
    hidden = pattern.startswith(".")
    try:
        with os.scandir(directory) as entries:
            listed = list(entries)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            found.unlisted[Path(directory)] = error.strerror or type(error).__name__
        return
    found.directories[Path(directory)] = None
    for entry in listed:
        if (hidden or not entry.name.startswith(".")) and any(
            fnmatchcase(entry.name, pattern + form) for form in forms
        ):
            yield entry


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _add(path: str, found: Found) -> None:
    try:
        link, target = os.lstat(path), os.stat(path)  # noqa: PTH116  (thousands of them)
    except OSError:
        return  # gone since the listing, or a link to nothing
    if not stat.S_ISREG(target.st_mode):
        return
    key = (target.st_dev, target.st_ino)
    opened = path
    if stat.S_ISLNK(link.st_mode):
        if link.st_uid not in (0, target.st_uid):
            found.not_followed.append(Path(path))
            return
        opened = os.path.realpath(path)
        found.directories[Path(opened).parent] = None
    before = found.files.get(key)
    if before is None or (before.target is not None and opened == path):
        linked = None if opened == path else Path(opened)
        found.files[key] = FileState(Path(path), key, target.st_size, target.st_mtime, linked)
