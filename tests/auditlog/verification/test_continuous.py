"""Alarms of continuous verification, raised by real changes of real files."""

from __future__ import annotations

import datetime as dt
import shutil
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from auditlog.reading.inventory import scan
from auditlog.reading.reader import bounds
from auditlog.verification.continuous import ContinuousVerification, VerificationAlarm, load_status
from tests.support.logs import LogBuilder, write_log
from tests.support.tombstones import tombstone_details
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOON = dt.timedelta(milliseconds=50)
LONG = dt.timedelta(hours=24)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    directory = tmp_path / "audit"
    directory.mkdir()
    return directory


@pytest.fixture
def log(audit: Path) -> LogBuilder:
    return write_log(audit, records=4, segments=3, days=1)


class Verification(ContinuousVerification):
    """Runs in a thread, and keeps the alarms."""

    def __init__(self, *directories: Path, every: dt.timedelta = LONG, share: float = 1.0) -> None:
        self.raised: list[VerificationAlarm] = []
        state_dir = directories[0].parent / "state"
        super().__init__(
            directories,
            state_dir,
            self.raised.append,
            every=every,
            cpu_share=share,
            look_every=SOON,
        )

    def kinds(self) -> set[str]:
        return {alarm.kind for alarm in self.raised}

    def is_full(self) -> bool:
        return self.status().full_at is not None

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self.run, args=[stop])
        thread.start()
        try:
            eventually(self.is_full)
            yield
        finally:
            stop.set()
            thread.join()


def change_a_byte(log: LogBuilder) -> None:
    content = log.paths[1].read_bytes()
    log.paths[1].write_bytes(content.replace(b"task-6", b"task-9"))


def delete_a_sealed_segment(log: LogBuilder) -> None:
    log.paths[1].unlink()


def delete_the_log(log: LogBuilder) -> None:
    for path in log.paths:
        path.unlink()


def cut_the_tail(log: LogBuilder) -> None:
    lines = log.active.read_bytes().splitlines(keepends=True)
    log.active.write_bytes(b"".join(lines[:-1]))


def write_it_anew(log: LogBuilder) -> None:
    delete_the_log(log)
    write_log(log.directory, records=4, segments=3, days=1, details={"task_id": "another"})


def delete_the_directory(log: LogBuilder) -> None:
    shutil.rmtree(log.directory)


TAMPERINGS = [
    (change_a_byte, "hash_mismatch"),
    (delete_a_sealed_segment, "missing_segment"),
    (delete_the_log, "missing_log"),
    (cut_the_tail, "tail_missing"),
    (write_it_anew, "hash_mismatch"),
]


@pytest.mark.parametrize(
    ("tamper", "kind"), [*TAMPERINGS, (delete_the_directory, "missing_directory")]
)
def test_noticed(log: LogBuilder, tamper: object, kind: str) -> None:
    assert callable(tamper)
    verification = Verification(log.directory)
    with verification.running():
        assert verification.raised == []
        tamper(log)
        # An alarm for the state halfway through the change may be raised as well.
        eventually(lambda: kind in verification.kinds())
        eventually(lambda: kind in {alarm.kind for alarm in verification.status().alarms})


@pytest.mark.parametrize(("tamper", "kind"), TAMPERINGS)
def test_remembered_also_when_it_happens_while_nothing_runs(
    log: LogBuilder, tamper: object, kind: str
) -> None:
    assert callable(tamper)
    with Verification(log.directory).running():
        pass
    tamper(log)
    verification = Verification(log.directory, every=SOON)
    with verification.running():
        eventually(lambda: bool(verification.raised))
    assert verification.kinds() == {kind}
    status = load_status(log.directory.parent / "state")
    assert status is not None
    assert {alarm.kind for alarm in status.alarms} == {kind}


def test_quiet(log: LogBuilder) -> None:
    """Writing, rotating, compressing and deleting under policy, while everything is verified."""
    verification = Verification(log.directory, every=SOON)
    with verification.running():
        for day in range(4):
            log.append(3)
            log.rotate(days=1)
            log.append(1)
            log.compress(day)
            time.sleep(0.1)  # looks and verifications come in between
        [segments] = [found for name, found in scan(log.directory).logs.items()]
        ends = bounds(segments[0])
        assert ends is not None
        details = tombstone_details(
            log.log,
            segments[0].name.logical,
            ends.first_seq,
            ends.last_seq,
            ends.first_prev_hash,
            ends.last_hash,
        )
        retention = LogBuilder(log.directory, "retention@hive1", at=log.at)
        retention.append(event_type="retention.segment_deleted", details=details)
        segments[0].path.unlink()
        done = verification.status().verified_records
        eventually(lambda: verification.status().verified_records > done + 3 * log.seq)
    assert verification.raised == []
    assert verification.status().alarms == ()


def test_once(log: LogBuilder) -> None:
    verification = Verification(log.directory, every=SOON)
    with verification.running():
        kept = log.paths[1].read_bytes()
        change_a_byte(log)
        eventually(lambda: bool(verification.raised))
        done = verification.status().verified_records
        eventually(lambda: verification.status().verified_records > done + 3 * log.seq)
        assert len(verification.raised) == 1
        log.paths[1].write_bytes(kept)
        eventually(lambda: not verification.status().alarms)
        change_a_byte(log)
        eventually(lambda: len(verification.raised) == 2)


def test_bounded(audit: Path) -> None:
    """CPU time of the thread against wall time: a ratio, on any machine."""
    write_log(audit, records=6000)
    verification = Verification(audit, every=dt.timedelta(microseconds=1), share=0.1)
    used: list[float] = []
    stop = threading.Event()

    def run() -> None:
        began = time.thread_time()
        verification.run(stop)
        used.append(time.thread_time() - began)

    thread = threading.Thread(target=run)
    began = time.monotonic()
    thread.start()
    eventually(lambda: verification.status().verified_records > 0)
    stop.set()
    thread.join()
    assert used[0] <= 0.2 * (time.monotonic() - began)


def test_a_state_that_cannot_be_kept_is_said_and_stops_nothing(log: LogBuilder) -> None:
    (log.directory.parent / "state").write_text("in the way")
    verification = Verification(log.directory)
    with verification.running():
        assert "verification.json cannot be written" in verification.status().trouble


def test_a_damaged_state_file_is_as_none(log: LogBuilder, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/verification.json").write_text("{}")
    assert load_status(tmp_path / "state") is None
    verification = Verification(log.directory)
    with verification.running():
        assert verification.status().alarms == ()
    status = load_status(tmp_path / "state")
    assert status is not None
    assert status.full_at is not None
    assert (status.logs, status.alarms) == (1, ())


def test_it_is_overdue_when_the_share_of_a_core_does_not_suffice(log: LogBuilder) -> None:
    verification = Verification(log.directory)
    with verification.running():
        assert verification.status().overdue == dt.timedelta(0)
    late = ContinuousVerification(
        [log.directory],
        log.directory.parent / "state",
        print,
        every=dt.timedelta(microseconds=1),
    )
    assert late.status().overdue > dt.timedelta(0)


@pytest.mark.parametrize("options", [{"every": dt.timedelta(0)}, {"cpu_share": 0.0}])
def test_what_cannot_work_is_refused(audit: Path, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"every|cpu_share"):
        ContinuousVerification([audit], audit, print, **options)  # type: ignore[arg-type]  (mixed types)


def test_a_directory_that_is_not_there_yet_is_no_alarm(log: LogBuilder, tmp_path: Path) -> None:
    verification = Verification(log.directory, tmp_path / "later")
    with verification.running():
        assert verification.raised == []
        later = tmp_path / "later"
        later.mkdir()
        write_log(later, "rbee-hive@gpu-1", records=3)
        eventually(lambda: verification.status().logs == 2 and verification.is_full())
        shutil.rmtree(later)
        eventually(lambda: verification.kinds() == {"missing_directory"})
