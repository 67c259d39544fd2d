"""The one place that makes things durable: modes, owners, symlinks, locks, short writes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from auditlog import durable_fs
from auditlog.errors import UnsafePath
from auditlog.verification.verify import verify


@pytest.fixture(params=[0o022, 0o077, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("mode", [0o700, 0o750])
def test_a_directory_and_its_parents_get_the_mode_whatever_the_umask(
    tmp_path: Path, umask: int, mode: int
) -> None:
    durable_fs.make_directory(tmp_path / "a" / "b", mode)
    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "a" / "b") == mode


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    durable_fs.make_directory(tmp_path, 0o700)
    assert mode_of(tmp_path) == 0o711


def test_a_directory_cannot_be_made_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError):
            durable_fs.make_directory(path)


def test_new_directories_are_synced_in_their_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable_fs, "fsync_directory", lambda path: synced.append(Path(path)))
    durable_fs.make_directory(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


def test_a_directory_that_cannot_be_made_durable_is_not_left_behind(
    public_directory: Path, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    """In a parent that may be written and not read, mkdir(2) succeeds and the sync's open does not.

    Were it left, the next try would find it there and leave out the sync.
    """
    public_directory.chmod(0o733)
    for path in (public_directory / "a", public_directory / "a" / "b"):
        answer = as_nobody(partial(durable_fs.make_directory, path))
        assert answer.startswith("PermissionError"), answer
        assert not (public_directory / "a").exists()


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_new_file_gets_the_mode_whatever_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    os.close(durable_fs.create_exclusive(tmp_path / "new", mode))
    assert mode_of(tmp_path / "new") == mode
    with pytest.raises(FileExistsError):
        durable_fs.create_exclusive(tmp_path / "new")


@pytest.mark.parametrize(
    "open_it", [durable_fs.open_append, durable_fs.open_read, durable_fs.create_exclusive]
)
def test_a_symlink_is_not_opened(tmp_path: Path, open_it: Callable[[Path], int]) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OSError, match=r"symbolic link|File exists") as refusal:
        open_it(tmp_path / "link")
    assert refusal.value.errno in (errno.ELOOP, errno.EEXIST)


@pytest.mark.parametrize("open_it", [durable_fs.open_append, durable_fs.open_read])
def test_no_descriptor_is_inherited_by_a_program_we_start(
    tmp_path: Path, open_it: Callable[[Path], int]
) -> None:
    (tmp_path / "file").touch()
    fd = open_it(tmp_path / "file")
    try:
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_a_directory_others_could_swap_files_in_is_refused(tmp_path: Path) -> None:
    durable_fs.check_directory(tmp_path)
    tmp_path.chmod(0o757)
    with pytest.raises(UnsafePath, match="writable for everyone"):
        durable_fs.check_directory(tmp_path)
    tmp_path.chmod(0o1777)
    with pytest.raises(UnsafePath, match="chmod o-w"):
        durable_fs.check_directory(tmp_path)
    tmp_path.chmod(0o770)
    durable_fs.check_directory(tmp_path)


def test_a_symlink_to_a_directory_a_file_and_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UnsafePath, match="symbolic link"):
        durable_fs.check_directory(tmp_path / "link")
    with pytest.raises(NotADirectoryError):
        durable_fs.check_directory(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        durable_fs.check_directory(tmp_path / "nowhere")


def test_a_directory_of_another_user_is_refused_but_not_root_s(
    public_directory: Path, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    assert as_nobody(lambda: durable_fs.check_directory(public_directory)) == "None"
    os.chown(public_directory, 12_345, 12_345)
    answer = as_nobody(lambda: durable_fs.check_directory(public_directory))
    assert answer.startswith("UnsafePath")
    assert "uid 12345" in answer
    with pytest.raises(UnsafePath, match="uid 12345"):
        durable_fs.check_directory(public_directory)
    durable_fs.check_directory(public_directory, allow_other_owner=True)


@pytest.mark.parametrize("largest", [1, 7, 1000])
def test_write_all_goes_on_after_short_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    content = bytes(range(256)) * 3
    real = os.write
    monkeypatch.setattr(durable_fs.os, "write", lambda fd, data: real(fd, bytes(data)[:largest]))
    fd = durable_fs.create_exclusive(tmp_path / "file")
    try:
        durable_fs.write_all(fd, content)
        durable_fs.write_all(fd, memoryview(content))
    finally:
        os.close(fd)
    assert (tmp_path / "file").read_bytes() == content * 2


def test_truncate_cuts_and_syncs_but_never_through_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("file")
    durable_fs.truncate(tmp_path / "file", 4)
    with pytest.raises(OSError, match="symbolic link"):
        durable_fs.truncate(tmp_path / "link", 0)
    assert (tmp_path / "file").read_bytes() == b"0123"


@pytest.mark.parametrize("keeping", [False, True])
def test_a_crash_at_any_step_of_replacing_leaves_the_old_or_the_new_file(
    tmp_path: Path, crash_at: Callable[[int, Callable[[], object]], bool], keeping: bool
) -> None:
    for step in range(20):
        path = tmp_path / f"file{step}"
        keep = path.with_name(path.name + ".prev") if keeping else None
        durable_fs.replace_durably(path, b"old")

        def replace(path: Path = path, keep: Path | None = keep) -> None:
            durable_fs.replace_durably(path, b"a much longer new one", keep=keep)

        crashed = crash_at(step, replace)
        if keep is not None and not path.exists():
            path = keep
        assert path.read_bytes() in (b"old", b"a much longer new one")
        if not crashed:
            break
    assert not crashed
    assert path.read_bytes() == b"a much longer new one"
    assert keep is None or keep.read_bytes() == b"old"
    assert mode_of(path) == 0o600


def test_replacing_on_a_full_disk_keeps_the_old_file(small_disk: Path) -> None:
    path = small_disk / "file"
    durable_fs.replace_durably(path, b"old")
    with pytest.raises(OSError, match="No space left"):
        durable_fs.replace_durably(path, b"x" * (1 << 20))
    assert [*small_disk.iterdir()] == [path]
    assert path.read_bytes() == b"old"
    durable_fs.replace_durably(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_lock_is_exclusive_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    lock = durable_fs.FileLock(path, "pid 17, a much longer holder than the next")
    with pytest.raises(durable_fs.Locked) as refusal:
        durable_fs.FileLock(path, "me")
    assert refusal.value.holder == "pid 17, a much longer holder than the next"
    assert refusal.value.errno == errno.EWOULDBLOCK
    lock.release()
    lock.release()
    with pytest.raises(FileNotFoundError):
        durable_fs.FileLock(tmp_path / "nowhere" / "a.lock", "me")
    again = durable_fs.FileLock(path, "me")
    assert path.read_text() == "me\n"
    again.release()
    assert path.exists(), "were it removed, two could hold two files of one name"


def test_a_lock_is_not_held_through_a_program_that_was_started(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    lock = durable_fs.FileLock(path, "me")
    with subprocess.Popen(
        [sys.executable, "-c", "print('started', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        lock.release()
        durable_fs.FileLock(path, "next").release()
        child.communicate(b"\n")


def test_a_lock_file_that_is_a_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "a.lock").symlink_to("target")
    with pytest.raises(OSError, match="symbolic link"):
        durable_fs.FileLock(tmp_path / "a.lock", "me")
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.parametrize("umask", [0o022, 0o077], ids=oct)
def test_the_group_reads_what_is_made_in_a_directory_that_it_shares(
    tmp_path: Path, umask: int
) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    for directory, mode in ((shared, 0o2770), (own, 0o0750)):
        directory.mkdir()
        directory.chmod(mode)
    before = os.umask(umask)
    try:
        for directory in (shared, own):
            durable_fs.make_directory(directory / "cursors" / "main")
            durable_fs.replace_durably(directory / "cursors" / "main" / "log", b"1")
    finally:
        os.umask(before)

    def modes(directory: Path) -> list[str]:
        below = ("cursors", "cursors/main", "cursors/main/log")
        return [oct(stat.S_IMODE((directory / name).stat().st_mode)) for name in below]

    assert modes(shared) == ["0o2750", "0o2750", "0o640"]
    assert modes(own) == ["0o700", "0o700", "0o600"]


def test_a_writer_of_a_file_is_seen_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    assert not durable_fs.open_for_writing_elsewhere(path)
    with path.open("rb"):
        assert not durable_fs.open_for_writing_elsewhere(path)
    with path.open("ab"):
        assert durable_fs.open_for_writing_elsewhere(path)
    writer = subprocess.Popen(
        [sys.executable, "-c", f"f = open({str(path)!r}, 'ab'); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    assert durable_fs.open_for_writing_elsewhere(path)
    writer.communicate(b"\n", timeout=60)
    assert not durable_fs.open_for_writing_elsewhere(path)


_WITHOUT_STREAMS = """
import os, sys
import auditlog
for number in range(3):
    os.close(number)
with auditlog.open(sys.argv[1], service="web", host="h") as log:
    for _ in range(3):
        for number in range(3):
            try:
                os.write(number, b"warning: what a library says")
            except OSError:
                pass
        log.emit("a.b")
"""


def test_what_is_said_to_a_closed_standard_error_does_not_reach_a_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WITHOUT_STREAMS, tmp_path / "audit"]
    assert subprocess.run(command, check=False).returncode == 0
    report = verify(tmp_path / "audit")
    assert (report.ok, [log.records for log in report.logs]) == (True, [6])
