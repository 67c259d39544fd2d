from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

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

    def log_grew(self, log: str) -> None:
        self.grown.append(log)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def watch(tmp_path: Path, listener: Listener) -> Iterator[Watch]:
    made = Watch([tmp_path / "logs"], listener)
    yield made
    made.stop()


def test_an_append_says_which_log_grew(tmp_path: Path, watch: Watch, listener: Listener) -> None:
    log = write_log(tmp_path / "logs", "rbee-hive@gpu-1.example.org+2", records=1)
    watch.start()
    log.append(1)
    eventually(lambda: log.log in listener.grown)


def test_a_new_segment_a_removed_and_a_renamed_one_are_changed_names(
    tmp_path: Path, watch: Watch, listener: Listener
) -> None:
    log = write_log(tmp_path / "logs", records=1)
    watch.start()
    for change in (
        log.rotate,
        lambda: log.paths[0].rename(tmp_path / "logs" / "other"),
        (tmp_path / "logs" / "other").unlink,
    ):
        listener.changed.clear()
        change()
        eventually(lambda: listener.changed)


def test_reading_wakes_nobody(tmp_path: Path, watch: Watch, listener: Listener) -> None:
    log = write_log(tmp_path / "logs", records=1)
    other = write_log(tmp_path / "logs", "rbee-hive@gpu1", records=1)
    watch.start()
    for _ in range(20):
        log.active.read_bytes()
    other.append(1)  # its event comes behind whatever reading caused
    eventually(lambda: other.log in listener.grown)
    assert log.log not in listener.grown


def test_a_directory_that_appears_later_is_watched_from_the_next_check(
    tmp_path: Path, watch: Watch, listener: Listener
) -> None:
    watch.start()
    log = write_log(tmp_path / "logs", records=1)
    assert not watch.complete
    watch.check()
    assert watch.complete
    assert listener.changed == [tmp_path / "logs"]
    log.append(1)
    eventually(lambda: log.log in listener.grown)


def test_a_directory_that_is_replaced_is_watched_again(
    tmp_path: Path, watch: Watch, listener: Listener
) -> None:
    write_log(tmp_path / "logs", records=1)
    watch.start()
    (tmp_path / "logs").rename(tmp_path / "old")
    log = write_log(tmp_path / "logs", records=1)
    watch.check()
    listener.grown.clear()
    log.append(1)
    eventually(lambda: log.log in listener.grown)


def test_a_directory_that_vanishes_and_comes_back_is_watched_again(
    tmp_path: Path, watch: Watch, listener: Listener
) -> None:
    log = write_log(tmp_path / "logs", records=1)
    watch.start()
    log.active.unlink()
    (tmp_path / "logs").rmdir()
    watch.check()
    log = write_log(tmp_path / "logs", records=1)
    watch.check()
    listener.grown.clear()
    log.append(1)
    eventually(lambda: log.log in listener.grown)


def threads_behind(watch: Watch) -> dict[str, threading.Thread]:
    observer = watch._observer
    found: dict[str, threading.Thread] = {"observer": observer}
    for owner in [observer, *observer.emitters]:
        threads = {n: v for n, v in vars(owner).items() if isinstance(v, threading.Thread)}
        found.update(threads)
    return found


@pytest.mark.parametrize("which", ["observer", "reader"])
def test_a_dead_thread_of_the_watcher_is_noticed_rebuilt_and_counted(
    tmp_path: Path, watch: Watch, listener: Listener, which: str
) -> None:
    log = write_log(tmp_path / "logs", records=1)
    watch.start()
    watch.check()
    assert watch.rebuilds == 0
    threads = threads_behind(watch)
    reader = next(thread for name, thread in threads.items() if name != "observer")
    victim = watch._observer if which == "observer" else reader
    victim.stop()  # type: ignore[attr-defined]  # watchdog's threads have it, Thread does not
    victim.join(10)
    watch.check()
    assert watch.rebuilds == 1
    listener.grown.clear()
    log.append(1)
    eventually(lambda: log.log in listener.grown)
