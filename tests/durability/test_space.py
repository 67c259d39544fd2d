"""Little space, no space, and a disk that does not answer."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import auditlog
from auditlog import BufferFull, FlushPolicy
from tests.shippers.archive.conftest import ArchivingHost
from tests.support.forked import ForkServer
from tests.support.oracle import Acks, whole_chain
from tests.support.s3 import Disturbance, S3Bucket, S3Proxy
from tests.support.waiting import eventually, impatient

LOW, CRITICAL = 400_000, 200_000


def test_watermarks_warn_record_and_rotate_and_writing_goes_on(
    mount: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    disk = mount("size=1m")
    directory, ballast = disk / "log", disk / "ballast"
    caplog.set_level(logging.INFO, "auditlog")
    log = auditlog.open(
        directory,
        service="queen-rbee",
        host="hive1",
        space_low_bytes=LOW,
        space_critical_bytes=CRITICAL,
    )
    log.emit("crash.test", details={"number": 1})
    assert log.stats().space == "ok"
    for size, level in ((750_000, "low"), (900_000, "critical"), (0, "ok")):
        with ballast.open("ab") as file:  # no moment between two sizes looks like another level
            os.posix_fallocate(file.fileno(), 0, size) if size else file.truncate(0)
        eventually(lambda: log.stats().space == level)  # noqa: B023  (called at once)
        log.emit("crash.test", details={"number": 2})
    log.close()
    chain = whole_chain(directory)
    space = [line.fields for line in chain if line.event_type == "log.space_low"]
    assert [fields["details"]["level"] for fields in space] == ["low", "critical"]
    assert [fields["severity"] for fields in space] == ["warning", "error"]
    assert space[0]["details"]["free_bytes"] < LOW
    assert space[1]["details"]["free_bytes"] < CRITICAL
    assert len({line.segment for line in chain}) == 2, "at critical a new segment was begun"
    assert [line.number for line in chain if line.number is not None] == [1, 2, 2, 2]
    said = [record.levelname for record in caplog.records if "are free" in record.getMessage()]
    assert said == ["WARNING", "ERROR"]
    assert auditlog.verify(directory).ok


def test_a_full_disk_skips_heartbeats_and_the_next_one_says_so(
    mount: Callable[[str], Path],
) -> None:
    disk = mount("size=256k")
    directory, ballast = disk / "log", disk / "ballast"
    log = auditlog.open(
        directory,
        service="queen-rbee",
        host="hive1",
        heartbeat=1,
        flush=FlushPolicy.batched(max_delay=0.01),
        space_low_bytes=0,
        space_critical_bytes=0,
    )
    free = os.statvfs(disk)
    ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 8192))
    log.emit("crash.test", details={"number": 1, "pad": "x" * 20_000})
    skipped = log._own._heartbeat
    eventually(lambda: skipped.details(seq=0, refused=0)["skipped"] > 0)
    skipped_at = log.stats().last_seq
    ballast.unlink()
    eventually(lambda: log.stats().last_seq > skipped_at)
    log.close()
    beats = [
        line.fields["details"] for line in whole_chain(directory) if "heartbeat" in line.event_type
    ]
    assert any(beat["skipped"] for beat in beats)
    assert auditlog.verify(directory).ok


def test_what_a_full_queue_refuses_is_counted_exactly_and_once(
    mount: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    disk = mount("size=256k")
    directory, ballast = disk / "log", disk / "ballast"
    log = auditlog.open(
        directory,
        service="queen-rbee",
        host="hive1",
        flush=FlushPolicy.batched(max_delay=0.01),
        max_queue_bytes=70_000,
        space_low_bytes=0,
        space_critical_bytes=0,
    )
    free = os.statvfs(disk)
    ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 8192))
    log.emit("crash.test", details={"number": 0, "pad": "x" * 20_000})
    eventually(lambda: "the disk is full" in caplog.text)  # and nothing more is written
    accepted, refused = [0], 0
    with impatient(log, 0.01):
        for number in range(1, 200):
            try:
                log.emit("crash.test", details={"number": number, "pad": "x" * 1000})
            except BufferFull as error:
                assert str(directory) in str(error)  # noqa: PT017  (not every event is refused)
                refused += 1
            else:
                accepted.append(number)
            if refused == 40:
                break
    assert log.stats().refused == 40
    ballast.unlink()
    log.flush(60)
    log.emit("crash.test", details={"number": 1000}).wait(60)
    log.close()
    chain = whole_chain(directory)
    counts = [
        line.fields["details"]["count"] for line in chain if line.event_type == "log.events_refused"
    ]
    assert counts == [40]
    assert [line.number for line in chain if line.number is not None] == [*accepted, 1000]
    assert auditlog.verify(directory).ok


def test_a_disk_that_does_not_answer_costs_no_more_memory_than_the_queue(
    places: Callable[[], Path], forks: ForkServer
) -> None:
    """Meanwhile events come as fast as they can, until enough of them were refused."""
    place = places()
    acks = Acks(place / "acks")
    child = forks.start("tests.support.writers:stalled", directory=place / "log", acks=acks.path)
    assert child.wait() == 0
    [answer] = [json.loads(said) for said in acks.said("stalled")]
    assert answer["refused"] > 0
    assert answer["grown_bytes"] <= answer["queue_bytes"] + (16 << 20), answer
    assert answer["most_queued_bytes"] <= answer["queue_bytes"]
    chain = whole_chain(place / "log")
    numbers = [line.number for line in chain if line.number is not None]
    assert len(numbers) == answer["accepted"]
    assert numbers == sorted(numbers)


class SmallDisk(ArchivingHost):
    """A host whose logs are on a small disk, and the memory of the archive is not."""

    @property
    def state(self) -> Path:
        return self.place.parent / "state"


@pytest.mark.parametrize("kind", [SmallDisk, ArchivingHost], ids=["log", "log-and-memory"])
def test_an_archive_goes_on_by_itself_when_a_full_disk_has_room_again(
    mount: Callable[[str], Path], s3_bucket: S3Bucket, kind: type[ArchivingHost]
) -> None:
    host = kind(mount("size=1m"), "hive1", s3_bucket)
    log = host.write(segments=8, records=3)
    names = [path.name for path in log.paths[:8]]
    ballast = host.place / "ballast"

    def fill(_method: str, _path: str, number: int) -> Disturbance:
        """The disk is full from the third request on."""
        if number == 2:
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))
        return None

    with S3Proxy(s3_bucket.server, fill) as proxy, host.running(server=proxy.server) as service:
        eventually(lambda: service.status().trouble)
        waits = set(names) - set(host.archived()[log.log])
        assert waits, "what is not on record does not count as archived"
        ballast.unlink()
        eventually(lambda: service.status().manifest and not service.status().waiting)
        assert service.status().trouble == ""
    assert host.archived()[log.log] == names
    assert [each["segment"] for each in host.recorded()] == names, "each is recorded once"
    assert auditlog.verify(host.directory).ok
    assert host.verify().ok
