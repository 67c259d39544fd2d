"""Upload finished segments as they appear, and a manifest every hour; runs in one thread.

The oldest are uploaded first.  A failure is told, counted and tried again, with longer and
longer waits; it never ends the service, and retention deletes nothing meanwhile.  That is so for
the bucket, the state directory, and the log in which uploads are recorded.

    upload -> record log.archived in the log auditlog-archive@<host> -> counts as archived

The record is in a log of its own, since a log has one writer, and that of the segment is a service.
Segments of that log itself are not recorded in it, or there would always be another: they are in
the manifests alone.

Invariants (tests of the same name in tests/shippers/archive/test_service.py):
  finished     every finished segment of every log is uploaded, and none that may still grow
  recorded     what counts as archived stands in log.archived, also after a kill at any step
  manifests    manifests follow each other without a gap, and list every object once
  goes_on      one segment that cannot be uploaded, or one directory that cannot be listed, does not
               stop the others
  reopened     after its own log has failed, or a disk was full, it goes on by itself
  tried_again  after any refusal the upload is tried again, and the reason is told meanwhile
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import random
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from auditlog import durable_fs
from auditlog.archived import ArchivedManifest, ArchiveMemory
from auditlog.errors import ArchiveMemoryDamaged, AuditLogError, NotDurableYet
from auditlog.events.base import ARCHIVE_SERVICE
from auditlog.reading.inventory import STATE_DIRECTORY, scan
from auditlog.writer.opening import open_own_log
from shippers.archive.keys import manifest_key
from shippers.archive.manifest import FIRST_SHA256, ArchiveManifest, encode
from shippers.archive.status import ArchiveStatus, state_of, waiting
from shippers.archive.uploader import upload_manifest, upload_segment
from shippers.backoff import Backoff
from shippers.errors import AlreadyShipping, ArchiveUnavailable, ObjectExists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from auditlog.archived import ArchivedObject
    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import SegmentFile
    from auditlog.writer.log import Log
    from auditlog.writer.ticket import Ticket
    from shippers.archive.bucket import Bucket
    from shippers.archive.options import ArchiveOptions

__all__ = ["ArchiveService"]

_logger = logging.getLogger("auditlog.archive")

_LONGEST_TICK_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 5.0
_LISTED_OBJECTS: Final = 2000  # in one manifest: about 1 MiB
_AGAIN_SECONDS: Final = 3600.0
"""After how long an object that is somebody else's is compared again."""

_ACTOR: Final = {"user_id": "auditlog", "auth_method": "internal"}


class ArchiveService:
    """Uploads what the directories hold; ``status`` may be called from any thread.

    ``checkpoints`` gives the newest signed checkpoint of each log, as lines, for manifests.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        state_dir: Path,
        bucket: Bucket,
        options: ArchiveOptions,
        *,
        host: str,
        checkpoints: Callable[[], Sequence[Sequence[str]]] = tuple,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._directories = tuple(directories)
        self._state_dir = state_dir
        self._bucket = bucket
        self._options = options
        self._host = host
        self._checkpoints = checkpoints
        self._clock = clock
        self._own_log = f"{ARCHIVE_SERVICE}@{host}"
        self._log: Log | None = None
        self._queued: dict[str, Ticket] = {}
        self._unrecorded_told = False
        self._listed: Sequence[Path] = self._directories
        self._problems: dict[str, tuple[float, str]] = {}
        self._failures = 0
        self._attempts = 0
        self._trouble = ""
        self._backoff = Backoff(dt.timedelta(seconds=1), dt.timedelta(minutes=10))
        self._moved_at = clock()
        self._status = ArchiveStatus()
        self._looked_at = float("-inf")

    def status(self) -> ArchiveStatus:
        return self._status

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        while not stop.is_set():
            try:
                with self._opened() as memory:
                    while not stop.is_set():
                        self._round(memory, stop)
                        stop.wait(self._seconds_to_next_round())
            except (AuditLogError, OSError) as error:
                self._tell(error)
                self._status = replace(self._status, failures=self._failures, trouble=self._trouble)
                stop.wait(self._seconds_to_next_round())

    def _seconds_to_next_round(self) -> float:
        if self._attempts:
            delay = self._backoff.delay(self._attempts, random.SystemRandom())
            return delay.total_seconds()
        return min(_LONGEST_TICK_SECONDS, self._options.manifest_every.total_seconds() / 4)

    def run_once(self, stop: threading.Event | None = None) -> ArchiveStatus:
        """Upload everything that is finished now, and a manifest; try nothing again.

        Raises AlreadyShipping, ArchiveMemoryDamaged, OSError.
        """
        with self._opened() as memory:
            self._round(memory, stop or threading.Event(), at_once=True)
        return self._status

    @contextmanager
    def _opened(self) -> Iterator[ArchiveMemory]:
        durable_fs.make_directory(self._state_dir)
        try:
            lock = durable_fs.FileLock(self._state_dir / "archive.lock", f"pid {os.getpid()}")
        except durable_fs.Locked as locked:
            raise AlreadyShipping(
                f"another process uploads with this state directory ({locked.holder})",
                path=locked.filename,
                hint="Stop the agent first, or let it upload.",
            ) from None
        try:
            memory = ArchiveMemory(self._state_dir)
            try:
                yield memory
            finally:
                memory.close()
                self._close_log()
                self._bucket.close()
        finally:
            lock.release()

    def _round(
        self, memory: ArchiveMemory, stop: threading.Event, *, at_once: bool = False
    ) -> None:
        """Upload what waits until something fails that concerns all of it."""
        try:
            self._listed = [each for each in self._directories if self._can_list(each)]
            self._record(memory)
            for segment in waiting(self._listed, memory):
                if stop.is_set():
                    break
                if time.monotonic() - self._looked_at >= _LONGEST_TICK_SECONDS:
                    self._look(memory)  # a first upload of years takes days
                self._upload(segment, memory)
            self._manifest(memory, at_once=at_once)
        except (AuditLogError, OSError) as error:
            self._tell(error)
        else:
            self._attempts = 0
            if self._trouble:
                _logger.info("the archive accepts objects again")
            self._trouble = ""
        self._look(memory)

    def _tell(self, error: Exception) -> None:
        """Count what keeps all segments back, and log it unless it was logged before."""
        self._failures += 1
        self._attempts += 1
        if str(error) != self._trouble:
            _logger.error("nothing is archived: %s", error)
        self._trouble = str(error)

    def _upload(self, segment: SegmentFile, memory: ArchiveMemory) -> None:
        """Upload one; what concerns this one alone is a problem of its own."""
        name, now = segment.name.logical, time.monotonic()
        if name in self._problems and now - self._problems[name][0] < _AGAIN_SECONDS:
            return
        try:
            stored = upload_segment(segment, self._bucket, memory, self._options, self._clock())
        except FileNotFoundError:
            return  # deleted since it was listed
        except ArchiveMemoryDamaged:
            raise
        except ArchiveUnavailable as error:
            if not isinstance(error, ObjectExists):
                raise
            self._problem(name, str(error), now)
        except (AuditLogError, OSError) as error:
            self._problem(name, str(error), now)
        else:
            self._problems.pop(name, None)
            self._moved_at = self._clock()
            self._record(memory)
            _logger.info("archived %s as version %s", name, stored.version)

    def _can_list(self, directory: Path) -> bool:
        """Whether the directory can be listed; one that cannot be is a problem of its own."""
        name = str(directory)
        try:
            scan(directory, beginning=".")
        except FileNotFoundError:
            pass  # see waiting
        except OSError as error:
            if name not in self._problems:
                self._problem(name, error.strerror or str(error), time.monotonic())
            return False
        self._problems.pop(name, None)
        return True

    def _problem(self, name: str, text: str, now: float) -> None:
        self._failures += 1
        if name not in self._problems:
            _logger.error("ALARM %s is not archived: %s", name, text)
        self._problems[name] = now, text

    def _record(self, memory: ArchiveMemory) -> None:
        """Put into the chain what the archive has and no record names."""
        unrecorded = memory.unrecorded()
        for each in unrecorded:
            if each.log != self._own_log:
                self._queue("log.archived", each.log, each.to_json())
        self._flush()
        for each in unrecorded:
            memory.record(each)

    def _manifest(self, memory: ArchiveMemory, *, at_once: bool) -> None:
        """Finish the manifest that was begun, and make another one when it is due."""
        newest = memory.newest_manifest()
        if newest is not None and newest.version is None:
            self._upload_manifest(newest, memory, again=True)
        now = self._clock()
        due = newest is None or abs(now - newest.at) >= self._options.manifest_every
        while (due or at_once) and (objects := memory.unlisted(_LISTED_OBJECTS)):
            newest = self._make_manifest(memory.newest_manifest(), objects, now)
            memory.make_manifest(newest, objects)
            self._upload_manifest(newest, memory, again=False)

    def _make_manifest(
        self, before: ArchivedManifest | None, objects: list[ArchivedObject], now: dt.datetime
    ) -> ArchivedManifest:
        number = 1 if before is None else before.number + 1
        manifest = ArchiveManifest(
            self._host,
            number,
            now,
            FIRST_SHA256 if before is None else sha256(before.content).hexdigest(),
            tuple(objects),
            tuple(tuple(lines) for lines in self._checkpoints()),
        )
        return ArchivedManifest(number, now, encode(manifest), None)

    def _upload_manifest(
        self, made: ArchivedManifest, memory: ArchiveMemory, *, again: bool
    ) -> None:
        key, digest = manifest_key(self._host, made.number), sha256(made.content).hexdigest()
        until = self._clock() + self._options.retain
        version = upload_manifest(key, made.content, self._bucket, until, again=again)
        details = {"number": made.number, "key": key, "version": version, "sha256": digest}
        self._queue("log.archive_manifest", self._own_log, details)
        self._flush()
        memory.store_manifest(made.number, version)

    def _queue(self, event_type: str, log: str, details: dict[str, Any]) -> None:
        """Emit the record of an object, unless it is queued since the disk is full.

        The own log is opened for the first record, and again after it has failed.
        """
        if details["key"] in self._queued:
            return
        if self._log is None:
            self._log = self._open_log()
        else:
            self._log.reopen()
        if self._log is not None:
            resource = {"resource_type": "log", "resource_id": log}
            self._queued[details["key"]] = self._log.emit(
                event_type, actor=_ACTOR, resource=resource, details=details
            )

    def _flush(self) -> None:
        """Return when all that was emitted is durable.  Raises NotDurableYet, LogFailed."""
        try:
            for ticket in self._queued.values():
                ticket.wait(_PATIENCE_SECONDS)
        except NotDurableYet:
            raise
        except AuditLogError:
            self._queued.clear()  # no file has it, so it is emitted again
            raise
        self._queued.clear()

    def _close_log(self) -> None:
        log, self._log = self._log, None
        self._queued.clear()
        if log is not None:
            try:
                log.close(_PATIENCE_SECONDS)
            except (AuditLogError, OSError) as error:
                _logger.warning("the archive's own log could not be closed: %s", error)

    def _open_log(self) -> Log | None:
        """Open the own log: where it is, or in the first directory that may be written.

        An agent that may only read the directories has none; its manifests hold the same.  Nor has
        one whose log is in a directory that it may not write any more: there cannot be two of it.
        """
        own = [each for each in self._listed if self._own_log in map(str, _logs_of(each))]
        directory = next(filter(_may_write, own or self._listed), None)
        if directory is None:
            if not self._unrecorded_told:
                _logger.warning("no directory may be written: the manifests alone are the record")
            self._unrecorded_told = True
            return None
        return open_own_log(
            directory,
            ARCHIVE_SERVICE,
            host=self._host,
            patience_seconds=_PATIENCE_SECONDS,
        )

    def _look(self, memory: ArchiveMemory) -> None:
        """Bring the status up to date."""
        now = self._clock()
        found = state_of(self._listed, memory, self._options, now)
        problems = [f"{name}: {text}" for name, (_, text) in sorted(self._problems.items())[:3]]
        self._status = replace(
            found,
            # A first upload of years is not late while it goes on.
            late=found.late and now - self._moved_at > self._options.late_after,
            failures=self._failures,
            trouble="; ".join(filter(None, [self._trouble, *problems])),
        )
        self._looked_at = time.monotonic()


def _logs_of(directory: Path) -> Iterable[LogId]:
    with suppress(FileNotFoundError):
        return scan(directory).logs
    return ()


def _may_write(directory: Path) -> bool:
    """Whether a log may be opened in the directory; see auditlog.writer.opening."""
    state = directory / STATE_DIRECTORY
    try:
        durable_fs.check_directory(directory)
    except (AuditLogError, OSError):
        return False
    places = (directory, state) if state.exists() else (directory,)
    return all(os.access(each, os.W_OK | os.X_OK) for each in places)
