from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from shippers.watch import Watch
from tests.support.logs import write_log
from tests.support.waiting import eventually


class Listener:
    def __init__(self) -> None:
        self.grown: list[str] = []
        self.changed: list[Path] = []

    def names_changed(self, directory: Path) -> None:
        self.changed.append(directory)

    def file_grew(self, path: str) -> None:
        self.grown.append(path)


class Checked(Watch):
    """A watch of one directory."""

    def __init__(self, directory: Path, listener: Listener) -> None:
        super().__init__(listener.names_changed, listener.file_grew)
        self.directory = directory

    def check(self, directories: Iterable[Path] = ()) -> None:
        super().check([*directories, self.directory])


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def watch(tmp_path: Path, listener: Listener) -> Iterator[Checked]:
    made = Checked(tmp_path / "logs", listener)
    yield made
    made.stop()


def test_an_append_says_which_log_grew(tmp_path: Path, watch: Checked, listener: Listener) -> None:
    log = write_log(tmp_path / "logs", "rbee-hive@gpu-1.example.org+2", records=1)
    watch.check()
    log.append(1)
    eventually(lambda: str(log.active) in listener.grown)


def test_appends_that_follow_each_other_are_one_report(
    tmp_path: Path, watch: Checked, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is reported at once, those that come before the next reading are joined."""
    reading, appended = threading.Event(), threading.Event()

    def pause(_seconds: float) -> None:
        reading.set()
        appended.wait(60)

    monkeypatch.setattr("shippers.watch.time", SimpleNamespace(sleep=pause))
    log = write_log(tmp_path / "logs", records=1)
    other = write_log(tmp_path / "logs", "rbee-hive@gpu1", records=1)
    watch.check()
    log.append(1)
    eventually(lambda: listener.grown == [str(log.active)])
    assert reading.wait(60)
    for _ in range(50):
        log.append(1)
    other.append(1)  # its report comes behind those
    appended.set()
    eventually(lambda: str(other.active) in listener.grown)
    assert listener.grown.count(str(log.active)) == 2


def test_a_new_segment_a_removed_and_a_renamed_one_are_changed_names(
    tmp_path: Path, watch: Checked, listener: Listener
) -> None:
    log = write_log(tmp_path / "logs", records=1)
    watch.check()
    for change in (
        log.rotate,
        lambda: log.paths[0].rename(tmp_path / "logs" / "other"),
        (tmp_path / "logs" / "other").unlink,
    ):
        listener.changed.clear()
        change()
        eventually(lambda: listener.changed)


def test_a_new_directory_inside_a_removed_and_a_renamed_one_are_changed_names(
    tmp_path: Path, watch: Checked, listener: Listener
) -> None:
    write_log(tmp_path / "logs", records=1)
    watch.check()
    inside = tmp_path / "logs" / "pod"
    for change in (inside.mkdir, lambda: inside.rename(tmp_path / "logs" / "other"),
                   (tmp_path / "logs" / "other").rmdir):  # fmt: skip
        listener.changed.clear()
        change()
        eventually(lambda: listener.changed)


def test_reading_wakes_nobody(tmp_path: Path, watch: Checked, listener: Listener) -> None:
    log = write_log(tmp_path / "logs", records=1)
    other = write_log(tmp_path / "logs", "rbee-hive@gpu1", records=1)
    watch.check()
    for _ in range(20):
        log.active.read_bytes()
    other.append(1)  # its event comes behind whatever reading caused
    eventually(lambda: str(other.active) in listener.grown)
    assert str(log.active) not in listener.grown


def test_a_directory_that_appears_later_is_watched_from_the_next_check(
    tmp_path: Path, watch: Checked, listener: Listener
) -> None:
    watch.check()
    log = write_log(tmp_path / "logs", records=1)
    assert watch.unwatched == {tmp_path / "logs"}
    watch.check()
    assert not watch.unwatched
    assert listener.changed == [tmp_path / "logs"]
    log.append(1)
    eventually(lambda: str(log.active) in listener.grown)


def test_a_directory_that_is_replaced_is_watched_again(
    tmp_path: Path, watch: Checked, listener: Listener
) -> None:
    write_log(tmp_path / "logs", records=1)
    watch.check()
    (tmp_path / "logs").rename(tmp_path / "old")
    log = write_log(tmp_path / "logs", records=1)
    watch.check()
    listener.grown.clear()
    log.append(1)
    eventually(lambda: str(log.active) in listener.grown)


def test_a_directory_that_vanishes_and_comes_back_is_watched_again(
    tmp_path: Path, watch: Checked, listener: Listener
) -> None:
    log = write_log(tmp_path / "logs", records=1)
    watch.check()
    log.active.unlink()
    (tmp_path / "logs").rmdir()
    watch.check()
    log = write_log(tmp_path / "logs", records=1)
    watch.check()
    listener.grown.clear()
    log.append(1)
    eventually(lambda: str(log.active) in listener.grown)


def test_a_directory_that_was_removed_is_no_death_of_the_watcher(
    tmp_path: Path, watch: Checked, listener: Listener
) -> None:
    write_log(tmp_path / "logs", records=1)
    pod = tmp_path / "logs" / "pod"
    pod.mkdir()
    watch.check([pod])
    (watcher,) = [emitter for emitter in watch._observer.emitters if emitter.watch.path == str(pod)]
    pod.rmdir()
    watcher.join(60)
    assert not watcher.is_alive()
    watch.check([pod])
    assert watch.rebuilds == 0
    assert watch.unwatched == {pod}


def threads_behind(watch: Watch) -> dict[str, threading.Thread]:
    observer = watch._observer
    found: dict[str, threading.Thread] = {"observer": observer}
    for owner in [observer, *observer.emitters]:
        threads = {n: v for n, v in vars(owner).items() if isinstance(v, threading.Thread)}
        found.update(threads)
    return found


@pytest.mark.parametrize("which", ["observer", "reader"])
def test_a_dead_thread_of_the_watcher_is_noticed_rebuilt_and_counted(
    tmp_path: Path, watch: Checked, listener: Listener, which: str
) -> None:
    log = write_log(tmp_path / "logs", records=1)
    watch.check()
    watch.check()
    assert watch.rebuilds == 0
    threads = threads_behind(watch)
    reader = next(thread for name, thread in threads.items() if name != "observer")
    victim = watch._observer if which == "observer" else reader
    victim.stop()  # type: ignore[attr-defined]  # watchdog's threads have it, Thread does not
    victim.join(60)
    watch.check()
    assert watch.rebuilds == 1
    listener.grown.clear()
    log.append(1)
    eventually(lambda: str(log.active) in listener.grown)


LIMITED = """
import logging, sys, threading
from pathlib import Path
from shippers.watch import Watch

logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout, level=logging.INFO)
limit = Path("/proc/sys/user") / sys.argv[2]
before = limit.read_text()
limit.write_text("0")


grown = threading.Event()
directory = Path(sys.argv[1])
watch = Watch(lambda directory: None, lambda path: grown.set())
for _ in range(3):
    watch.check([directory])
    assert watch.unwatched == {directory}, watch.unwatched
limit.write_text(before)
watch.check([directory])
assert not watch.unwatched
(directory / "file").open("a").write("x")
assert grown.wait(30)
watch.stop()
"""


def _own_limits() -> str | None:
    """Why this system gives no limits of one's own, or None."""
    check = subprocess.run(
        ["unshare", "-U", "-r", "sh", "-c", "echo 0 > /proc/sys/user/max_inotify_watches"],
        capture_output=True,
        text=True,
        check=False,
    )
    return check.stderr.strip() or None if check.returncode else None


@pytest.mark.parametrize("which", ["watches", "instances"])
def test_a_limit_of_the_kernel_is_said_once_looked_around_and_recovered_from(
    tmp_path: Path, which: str
) -> None:
    if (reason := _own_limits()) is not None:
        pytest.skip(f"no user namespace with limits of its own: {reason}")
    (tmp_path / "file").touch()
    command = [sys.executable, "-c", LIMITED, tmp_path, f"max_inotify_{which}"]
    run = subprocess.run(
        ["unshare", "-U", "-r", *command], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    said = [line for line in run.stdout.splitlines() if str(tmp_path) in line]
    reason = f"the limit fs.inotify.max_user_{which} is reached"
    assert said == [
        f"WARNING {tmp_path} cannot be watched ({reason}); it is looked at every second",
        f"INFO {tmp_path} is watched again",
    ]


def test_what_is_not_asked_for_any_more_is_not_watched(tmp_path: Path, listener: Listener) -> None:
    one, two = (write_log(tmp_path / name, records=1) for name in ("one", "two"))
    watch = Watch(listener.names_changed, listener.file_grew)
    watch.check([tmp_path / "one", tmp_path / "two"])
    watch.check([tmp_path / "two"])
    listener.grown.clear()
    one.append(1)
    two.append(1)
    eventually(lambda: str(two.active) in listener.grown)
    assert str(one.active) not in listener.grown
    watch.stop()
