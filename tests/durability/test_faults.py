"""Every system call of the writer fails once, and what the caller then sees.

failed      LogFailed with path, errno and hint from that event on; opening again goes on
resumes     a full disk: the call blocks, and goes on by itself when there is space
unharmed    nobody notices
refused     open raises, with errno and path; the same process can open it afterwards
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

import auditlog
from tests.support.forked import ForkServer
from tests.support.oracle import Acks, whole_chain
from tests.support.waiting import eventually

EVENTS = 6
NEW_SEGMENT_AT = 4
"""The event for which faulty() has to open the log's second segment."""

Effect = Literal["failed", "resumes", "unharmed"]


@dataclass(frozen=True, slots=True)
class Fault:
    """``call`` number ``nth`` of the writer, counted from the first event, fails with ``error``."""

    what: str
    call: str
    nth: int
    error: str
    effect: Effect
    event: int = NEW_SEGMENT_AT

    def __str__(self) -> str:
        return f"{self.what} {self.error}".replace(" ", "-")


WRITING = [
    Fault("write", "write", 2, "EIO", "failed", 2),
    Fault("write", "write", 2, "EROFS", "failed", 2),
    Fault("write", "write", 2, "EFBIG", "failed", 2),
    Fault("write", "write", 2, "EPERM", "failed", 2),
    Fault("write", "write", 2, "ENOSPC", "resumes"),
    Fault("write", "write", 2, "EDQUOT", "resumes"),
    Fault("write", "write", 2, "EINTR", "unharmed"),
    Fault("sync", "fdatasync", 2, "EIO", "failed", 2),
    Fault("sync", "fdatasync", 2, "EROFS", "failed", 2),
    Fault("sync", "fdatasync", 2, "ENOSPC", "resumes"),
    Fault("sync", "fdatasync", 2, "EDQUOT", "resumes"),
    Fault("sync", "fdatasync", 2, "EINTR", "unharmed"),
    Fault("open new segment", "openat", 1, "EIO", "failed"),
    Fault("open new segment", "openat", 1, "EACCES", "failed"),
    Fault("open new segment", "openat", 1, "EMFILE", "failed"),
    Fault("open new segment", "openat", 1, "EROFS", "failed"),
    Fault("open new segment", "openat", 1, "ENOSPC", "resumes"),
    Fault("open new segment", "openat", 1, "EDQUOT", "resumes"),
    Fault("open new segment", "openat", 1, "EINTR", "unharmed"),
    Fault("mode of new segment", "fchmod", 1, "EPERM", "failed"),
    Fault("first write of new segment", "write", 4, "ENOSPC", "resumes"),
    Fault("first write of new segment", "write", 4, "EIO", "failed"),
    Fault("first sync of new segment", "fdatasync", 4, "ENOSPC", "resumes"),
    Fault("first sync of new segment", "fdatasync", 4, "EIO", "failed"),
    Fault("open directory", "openat", 2, "EMFILE", "failed"),
    Fault("sync directory", "fsync", 1, "EIO", "failed"),
    Fault("sync directory", "fsync", 1, "ENOSPC", "resumes"),
    Fault("open note", "openat", 3, "EACCES", "failed"),
    Fault("open note", "openat", 3, "ENOSPC", "unharmed"),
    Fault("write note", "write", 5, "EIO", "failed"),
    Fault("write note", "write", 5, "ENOSPC", "unharmed"),
    Fault("sync note", "fsync", 2, "EIO", "failed"),
    Fault("rename note", "rename", 1, "EIO", "failed"),
    Fault("rename note", "rename", 1, "EDQUOT", "unharmed"),
    Fault("sync note's directory", "fsync", 3, "EIO", "failed"),
    Fault("look at segment", "newfstatat", 2, "EIO", "failed", 2),
]


def outcomes(acks: Acks, what: str) -> list[dict[str, Any]]:
    return [json.loads(said) for said in acks.said(what)]


def goes_on(directory: Path, acks: Acks) -> None:
    """The log opens again behind what was acknowledged, and is whole."""
    log = auditlog.open(directory, service="queen-rbee", host="hive1")
    ticket = log.emit("after.it")
    log.close()
    chain = whole_chain(directory)
    assert acks.missing_from(chain) == []
    assert ticket.seq in {line.seq for line in chain}
    numbers = [line.number for line in chain if line.number is not None]
    assert numbers == sorted(set(numbers))
    report = auditlog.verify(directory)
    assert report.ok, report.findings


def run_faulty(
    server: ForkServer, place: Path, *strace: str, at: str, **arguments: Any
) -> tuple[Path, Acks]:
    directory, acks = place / "log", Acks(place / "acks")
    child = server.start(
        "tests.support.writers:faulty", directory=directory, acks=acks.path, at=at, **arguments
    )
    if at == "emit":
        eventually(lambda: acks.said("opened"))
    if strace:
        status, _ = child.run([*strace])
    else:
        child.go()
        status = child.wait()
    assert status == 0
    return directory, acks


@pytest.mark.parametrize("fault", WRITING, ids=str)
def test_a_fault_while_writing(
    fault: Fault, places: Callable[[], Path], traced: ForkServer
) -> None:
    directory, acks = run_faulty(
        traced,
        places(),
        "-e",
        f"inject={fault.call}:error={fault.error}:when={fault.nth}",
        at="emit",
        events=EVENTS,
    )
    emitted = outcomes(acks, "emit")
    assert len(emitted) == EVENTS
    if fault.effect == "failed":
        errors = [answer["error"] for answer in emitted]
        assert errors == [""] * (fault.event - 1) + ["LogFailed"] * (EVENTS - fault.event + 1)
        first = emitted[fault.event - 1]
        assert first["errno"] == getattr(errno, fault.error), first
        assert first["path"], first
        assert first["hint"], first
        assert outcomes(acks, "close")[0]["error"] == "LogFailed"
    else:
        assert [answer["error"] for answer in emitted] == [""] * EVENTS
        assert outcomes(acks, "close")[0]["error"] == ""
        lines = whole_chain(directory)
        assert [line.number for line in lines if line.number is not None] == [*range(1, EVENTS + 1)]
    goes_on(directory, acks)


@dataclass(frozen=True, slots=True)
class Refusal:
    """``call`` number ``nth`` of opening a new log fails, and open raises ``raised``."""

    what: str
    call: str
    nth: int
    error: str
    raised: str
    group_readable: bool = False
    """With the option, which needs chmod(2) under the umask of the child."""

    def __str__(self) -> str:
        return f"{self.what} {self.error}".replace(" ", "-")


OPENING = [
    Refusal("make directory", "mkdir", 1, "EACCES", "PathNotPermitted"),
    Refusal("make directory", "mkdir", 1, "ENOSPC", "NotAccessible"),
    Refusal("make directory", "mkdir", 1, "EROFS", "NotAccessible"),
    Refusal("mode of directory", "chmod", 1, "EPERM", "PathNotPermitted", group_readable=True),
    Refusal("sync directory's parent", "fsync", 1, "EIO", "NotAccessible"),
    Refusal("make state directory", "mkdir", 2, "EDQUOT", "NotAccessible"),
    Refusal(
        "mode of state directory", "chmod", 2, "EPERM", "PathNotPermitted", group_readable=True
    ),
    Refusal("sync directory", "fsync", 2, "EIO", "NotAccessible"),
    Refusal("open lock", "openat", 3, "EACCES", "PathNotPermitted"),
    Refusal("open lock", "openat", 3, "EMFILE", "NotAccessible"),
    Refusal("lock", "flock", 1, "EAGAIN", "LogLocked"),
    Refusal("lock", "flock", 1, "ENOLCK", "NotAccessible"),
    Refusal("empty lock", "ftruncate", 1, "EIO", "NotAccessible"),
    Refusal("write lock", "pwrite64", 1, "ENOSPC", "NotAccessible"),
    Refusal("list directory", "openat", 4, "EACCES", "PathNotPermitted"),
    Refusal("list directory", "getdents64", 1, "EIO", "NotAccessible"),
    Refusal("sync names", "fsync", 3, "EIO", "LogFailed"),
    Refusal("write segment", "write", 1, "EIO", "LogFailed"),
    Refusal("sync segment", "fdatasync", 1, "EIO", "LogFailed"),
    Refusal("rename note", "rename", 1, "EIO", "LogFailed"),
]


@pytest.mark.parametrize("fault", OPENING, ids=str)
def test_a_fault_while_opening(
    fault: Refusal, places: Callable[[], Path], traced: ForkServer
) -> None:
    directory, acks = run_faulty(
        traced,
        places(),
        "-e",
        f"inject={fault.call}:error={fault.error}:when={fault.nth}",
        at="open",
        size=100,
        group_readable=fault.group_readable,
    )
    [refused] = outcomes(acks, "open")
    assert refused["error"] == fault.raised, refused
    if fault.raised != "LogLocked":
        assert refused["errno"] == getattr(errno, fault.error), refused
    assert refused["path"], refused
    # The fault may strike the second try's own thread; a lock left behind may not.
    assert outcomes(acks, "again")[0]["error"] != "LogLocked"
    if fault.group_readable:
        places_made = (directory, directory / ".auditlog")
        assert [path.stat().st_mode & 0o777 for path in places_made] == [0o750, 0o750]
    goes_on(directory, acks)


@pytest.mark.parametrize(
    ("call", "nth", "error"),
    [
        ("read", 3, "EIO"),  # the tail, after the note of the newest segment
        ("openat", 6, "ENOSPC"),  # the file that keeps what is cut
        ("write", 1, "ENOSPC"),
        ("fsync", 1, "EIO"),
        ("rename", 1, "EIO"),
        ("fsync", 2, "EIO"),
        ("ftruncate", 2, "EIO"),  # the first one empties the lock
        ("fsync", 3, "EIO"),
        ("fdatasync", 1, "EIO"),
    ],
)
def test_a_fault_while_a_torn_tail_is_cut(
    call: str, nth: int, error: str, places: Callable[[], Path], traced: ForkServer
) -> None:
    """The open is refused, the torn bytes are still there or kept, and the next one goes on."""
    place = places()
    with auditlog.open(place / "log", service="queen-rbee", host="hive1"):
        pass
    torn = b'{"v":1,"log":"queen-rb\0\0'
    segment = next((place / "log").glob("*.ndjson"))
    with segment.open("ab") as file:
        file.write(torn)
    directory, acks = run_faulty(
        traced, place, "-e", f"inject={call}:error={error}:when={nth}", at="open", size=100
    )
    [refused] = outcomes(acks, "open")
    assert refused["error"] in ("NotAccessible", "LogFailed"), refused
    assert refused["errno"] == getattr(errno, error), refused
    # The fault may strike the second try's own thread; a lock left behind may not.
    assert outcomes(acks, "again")[0]["error"] != "LogLocked"
    kept = list((directory / ".auditlog").glob("*.torn"))
    assert [path.read_bytes() for path in kept] == [torn]
    goes_on(directory, acks)


def test_a_cut_that_fails_on_a_full_disk_fails_the_log(
    places: Callable[[], Path], traced: ForkServer
) -> None:
    """ENOSPC is waited for only where the partial line could be removed."""
    directory, acks = run_faulty(
        traced,
        places(),
        "-e",
        "inject=fdatasync:error=ENOSPC:when=2",
        "-e",
        "inject=ftruncate:error=EIO:when=1",
        at="emit",
    )
    emitted = outcomes(acks, "emit")
    assert [answer["error"] for answer in emitted] == [""] + ["LogFailed"] * 5
    assert emitted[1]["errno"] == errno.EIO
    goes_on(directory, acks)


@pytest.mark.parametrize("limit_bytes", [45_000, 61_000, 91_500])
def test_a_file_size_limit_fails_the_log_with_nothing_torn_behind(
    limit_bytes: int, places: Callable[[], Path], forks: ForkServer
) -> None:
    """RLIMIT_FSIZE: the kernel writes up to the limit (a short write), then says EFBIG."""
    directory, acks = run_faulty(forks, places(), at="emit", limit_bytes=limit_bytes)
    emitted = outcomes(acks, "emit")
    failed = [answer for answer in emitted if answer["error"]]
    assert failed
    assert {(answer["error"], answer["errno"]) for answer in failed} == {("LogFailed", errno.EFBIG)}
    goes_on(directory, acks)


def test_a_short_write_is_continued(
    places: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[: len(data) // 2 + 1]))
    directory = places()
    with auditlog.open(directory, service="queen-rbee", host="hive1") as log:
        for number in range(20):
            log.emit("crash.test", details={"number": number})
    monkeypatch.undo()
    assert [line.number for line in whole_chain(directory) if line.number is not None] == [
        *range(20)
    ]


@pytest.mark.parametrize(("kib", "events"), [(64, 15), (256, 60)])
def test_a_full_disk_blocks_and_goes_on_by_itself(
    kib: int, events: int, mount: Callable[[str], Path], forks: ForkServer, tmp_path: Path
) -> None:
    disk, acks = mount(f"size={kib}k"), Acks(tmp_path / "acks")
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * (kib * 1024 - 36_864))
    child = forks.start(
        "tests.support.writers:faulty",
        directory=disk / "log",
        acks=acks.path,
        at="emit",
        size=2_000,
        events=events,
    )
    eventually(lambda: acks.said("opened"))
    child.go()
    _stands_still(acks)
    assert 0 < len(acks.taken()) < events
    report = auditlog.verify(disk / "log")
    assert report.ok, report.findings
    ballast.unlink()
    assert child.wait() == 0
    assert [answer["error"] for answer in outcomes(acks, "emit")] == [""] * events
    goes_on(disk / "log", acks)


def test_a_writer_killed_on_a_full_disk_loses_nothing_acknowledged(
    mount: Callable[[str], Path], forks: ForkServer, tmp_path: Path
) -> None:
    """On 16 KiB there is no room for a torn tail to be kept: the log opens where there is some."""
    disk, acks = mount("size=16k"), Acks(tmp_path / "acks")
    child = forks.start(
        "tests.support.writers:faulty",
        directory=disk / "log",
        acks=acks.path,
        at="emit",
        size=500,
        events=30,
    )
    eventually(lambda: acks.said("opened") or acks.said("again"))
    child.go()
    _stands_still(acks)
    child.kill()
    assert child.wait() == -9
    assert 0 < len(acks.taken()) < 30
    shutil.copytree(disk / "log", tmp_path / "log")
    (tmp_path / "log").chmod(0o700)
    goes_on(tmp_path / "log", acks)


def _stands_still(acks: Acks) -> None:
    """Until a fifth of a second brings no new promise."""
    before = -1
    while before != (now := len(acks.taken())) or now == 0:
        before = now
        time.sleep(0.2)


def test_a_disk_remounted_read_only_fails_the_log(
    mount: Callable[[str], Path], forks: ForkServer, tmp_path: Path
) -> None:
    """As ext4 does by itself after an error (errors=remount-ro)."""
    disk = mount("size=1m")
    acks = Acks(tmp_path / "acks")
    child = forks.start(
        "tests.support.writers:faulty", directory=disk / "log", acks=acks.path, at="emit", size=100
    )
    eventually(lambda: acks.said("opened"))
    done = subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True, check=False)
    child.go()
    assert child.wait() == 0
    if done.returncode:  # busy, as a kernel without forced remounting says
        goes_on(disk / "log", acks)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises((OSError, auditlog.AuditLogError)) as refused:
        auditlog.open(disk / "log", service="queen-rbee", host="hive1")
    assert getattr(refused.value, "errno", None) == errno.EROFS
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    goes_on(disk / "log", acks)


@pytest.mark.parametrize("what", ["segment", "directory"])
def test_an_immutable_file_is_named(what: str, tmp_path: Path) -> None:
    """chattr +i: appending to the segment, or making the next one, is refused."""
    directory = tmp_path / "log"
    clock = [1_795_435_200_000_000_000]
    with auditlog.open(directory, service="queen-rbee", host="hive1", clock=lambda: clock[0]):
        pass
    frozen = directory if what == "directory" else next(directory.glob("*.ndjson"))
    if shutil.which("chattr") is None or _chattr("+i", frozen):
        pytest.skip("chattr +i is not supported here")
    clock[0] += 86_400_000_000_000 if what == "directory" else 0
    try:
        with pytest.raises(auditlog.LogFailed) as refused:
            auditlog.open(directory, service="queen-rbee", host="hive1", clock=lambda: clock[0])
    finally:
        assert _chattr("-i", frozen) == 0
    assert refused.value.errno == errno.EPERM
    assert refused.value.path is not None
    with auditlog.open(directory, service="queen-rbee", host="hive1", clock=lambda: clock[0]):
        pass
    assert len(whole_chain(directory)) > 4


def test_a_segment_made_immutable_while_it_is_written_fails_the_log(tmp_path: Path) -> None:
    """Whether the kernel refuses the open descriptor (ext4) or only the next one (others)."""
    directory = tmp_path / "log"
    clock = [1_795_435_200_000_000_000]
    log = auditlog.open(directory, service="queen-rbee", host="hive1", clock=lambda: clock[0])
    durable = [log.emit("crash.test", details={"number": 1}).seq]
    segment = next(directory.glob("*.ndjson"))
    if shutil.which("chattr") is None or _chattr("+i", segment):
        log.close()
        pytest.skip("chattr +i is not supported here")
    try:
        refused: auditlog.LogFailed | None = None
        try:
            durable.append(log.emit("crash.test", details={"number": 2}).seq)
        except auditlog.LogFailed as error:
            refused = error
        if refused is None:
            log.close()
        else:
            assert (refused.errno, refused.path) == (errno.EPERM, segment)
            with pytest.raises(auditlog.LogFailed):
                log.emit("crash.test")
            with pytest.raises(auditlog.LogFailed):
                log.close()
    finally:
        assert _chattr("-i", segment) == 0
    with auditlog.open(directory, service="queen-rbee", host="hive1", clock=lambda: clock[0]):
        pass
    assert set(durable) <= {line.seq for line in whole_chain(directory)}
    assert auditlog.verify(directory).ok


def _chattr(flag: str, path: Path) -> int:
    return subprocess.run(["chattr", flag, path], capture_output=True, check=False).returncode
