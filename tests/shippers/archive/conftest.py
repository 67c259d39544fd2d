"""A host that archives into a bucket, as the tests of this room need it."""

from __future__ import annotations

import datetime as dt
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from auditlog.archived import archived_in
from auditlog.events.base import ARCHIVE_SERVICE
from auditlog.reading.inventory import scan
from auditlog.reading.reader import records_of
from shippers.archive.service import ArchiveService
from shippers.archive.verification import BucketReport, verify_host
from tests.support.logs import LogBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shippers.archive.status import ArchiveStatus
    from tests.support.s3 import S3Bucket, S3Server


@dataclass
class ArchivingHost:
    """One host: its directory is named like it."""

    place: Path
    name: str
    bucket: S3Bucket

    @property
    def directory(self) -> Path:
        return self.place / self.name

    @property
    def state(self) -> Path:
        return self.place / f"{self.name}.state"

    def write(
        self, segments: int = 2, records: int = 20, service: str = "queen-rbee"
    ) -> LogBuilder:
        """A log with so many finished segments, and one that is written to."""
        self.directory.mkdir(exist_ok=True)
        log = LogBuilder(self.directory, f"{service}@{self.name}")
        log.append(records)
        for _ in range(segments):
            log.rotate()
            log.append(records)
        return log

    def service(
        self, user: str = "writer", server: S3Server | None = None, **changes: Any
    ) -> ArchiveService:
        clock = changes.pop("clock", None)
        bucket = self.bucket if server is None else replace(self.bucket, server=server)
        more = {} if clock is None else {"clock": clock}
        options = bucket.options(user, **changes)
        opened = bucket.opened(user, **changes)
        return ArchiveService([self.directory], self.state, opened, options, host=self.name, **more)

    def upload(self, user: str = "writer", **changes: Any) -> ArchiveStatus:
        return self.service(user, **changes).run_once()

    @contextmanager
    def running(self, **changes: Any) -> Iterator[ArchiveService]:
        """The service in a thread of its own, which soon tries again what failed."""
        service = self.service(**changes)
        service._backoff = replace(
            service._backoff,
            initial=dt.timedelta(milliseconds=1),
            ceiling=dt.timedelta(seconds=0.1),
        )
        stop = threading.Event()
        thread = threading.Thread(target=service.run, args=(stop,))
        thread.start()
        try:
            yield service
        finally:
            stop.set()
            thread.join()

    def verify(self, **options: Any) -> BucketReport:
        with closing(self.bucket.opened()) as bucket:
            return verify_host(bucket, self.name, dt.datetime.now(dt.UTC), **options)

    def archived(self) -> dict[str, list[str]]:
        return {log: sorted(found) for log, found in archived_in(self.state).items()}

    def recorded(self) -> list[dict[str, Any]]:
        """The details of every log.archived of this host."""
        return [
            orjson.loads(record.line)["details"]
            for log, segments in scan(self.directory).logs.items()
            if log.service == ARCHIVE_SERVICE
            for segment in segments
            for record in records_of(segment, last=segment is segments[-1])
            if record.header.event_type == "log.archived"
        ]


@pytest.fixture
def host(tmp_path: Path, s3_bucket: S3Bucket) -> ArchivingHost:
    return ArchivingHost(tmp_path, "hive1", s3_bucket)
