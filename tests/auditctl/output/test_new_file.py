from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from auditctl.errors import BadPath
from auditctl.output.new_file import new_file
from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def write(target: Path, then: Callable[[], object]) -> None:
    with new_file(target) as file:
        file.write(b"half")
        then()


def test_all_or_none(tmp_path: Path) -> None:
    target = tmp_path / "case.csv"
    with pytest.raises(ZeroDivisionError):
        write(target, lambda: 1 // 0)
    assert names(tmp_path) == []
    with new_file(target) as file:
        file.write(b"whole")
        file.flush()
        assert names(tmp_path) == [".case.csv.tmp"]
    assert names(tmp_path) == ["case.csv"]
    with pytest.raises(BadPath, match="there already"):
        write(target, list)
    assert target.read_bytes() == b"whole"


def test_all_or_none_where_another_is_writing_it(tmp_path: Path) -> None:
    with new_file(tmp_path / "case.csv") as file:
        file.write(b"first")
        with (
            pytest.raises(BadPath, match="somebody is writing it"),
            new_file(tmp_path / "case.csv"),
        ):
            pass
    assert (tmp_path / "case.csv").read_bytes() == b"first"


@pytest.mark.parametrize("made", ["config init -o", "export {audit} --format ndjson -o"])
def test_all_or_none_where_there_is_no_room(
    tmp_path: Path, program: Callable[..., Result], made: str
) -> None:
    """A limit on the size of a file, which a full disk is like: writing stops in the middle."""
    audit = write_log(tmp_path / "audit", records=50).directory
    target = tmp_path / "made"
    command = [*made.format(audit=audit).split(), target]
    result = program(*command, before=("prlimit", "--fsize=1000"))
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"auditctl: {target}: File too large. ")
    assert names(tmp_path) == ["audit"]
    assert program(*command).code == 0


def test_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with new_file(tmp_path / "case.csv"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "case.csv").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("command", ["export", "report"])
@pytest.mark.parametrize("name", ["case.csv", "case.tar.zst"])
def test_a_directory_that_is_not_there_is_named(
    tmp_path: Path, run: Callable[..., Result], command: str, name: str
) -> None:
    (tmp_path / "audit").mkdir(mode=0o700)
    done = run(command, tmp_path / "audit", "-o", tmp_path / "none" / name)
    assert done.code == 2
    assert f"{tmp_path / 'none'}: there is no such directory" in done.err
