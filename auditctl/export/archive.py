"""Verify an export without unpacking it, by the log verification code.

Nothing of the archive is written to disk or run.

Invariants (tests of the same name in tests/auditctl/export/test_archive.py):
  changed   a change of any byte of any file in it is found
  foreign   an archive that is none of ours is refused, not half read
"""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, cast

import orjson

from auditctl.errors import ArchiveDamaged
from auditctl.export.manifest import Manifest
from auditlog.errors import InvalidName
from auditlog.format.erasures import Erasure, by_stub, parse_erasure
from auditlog.format.record import parse_header
from auditlog.format.segment_names import SegmentName
from auditlog.format.tombstones import Tombstone, by_log, may_delete, parse_tombstone
from auditlog.reading.decompression import NotWhole
from auditlog.reading.reader import iter_lines, open_segment
from auditlog.verification.chain import ChainCheck
from auditlog.verification.verify import LogReport, Report

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

__all__ = ["ArchiveReport", "is_archive", "verify_archive"]

_HINT: Final = "Name an archive that auditctl export has made, as it was made."
_CHUNK_BYTES: Final = 1 << 18
_LONGEST_MANIFEST_BYTES: Final = 64 << 20
_MOST_VALUES: Final = 2_000_000  # of the manifest, as in check.py: they take more than its bytes
_MOST_MEMBERS: Final = 100_000
_LONGEST_HEADER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """``logs`` as verify reports them; ``problems`` are sentences about the archive itself.

    ``sha256`` is that of the archive's file.
    """

    logs: Report
    problems: tuple[str, ...]
    manifest: Manifest
    manifest_sha256: str
    sha256: str = ""

    @property
    def ok(self) -> bool:
        return self.logs.ok and not self.problems

    def to_json(self) -> dict[str, Any]:
        return {
            **self.logs.to_json(),
            "ok": self.ok,
            "archive": {
                "problems": list(self.problems),
                "sha256": self.sha256,
                "manifest_sha256": self.manifest_sha256,
                "created_at": self.manifest.created_at,
            },
        }


def is_archive(path: Path) -> bool:
    """By its name alone."""
    return path.name.endswith((".tar.zst", ".tar"))


def verify_archive(path: Path) -> ArchiveReport:
    """Raises ArchiveDamaged for a file that is not an export, or a damaged one; OSError."""
    reading = _ArchiveVerification()
    try:
        with (
            _open(path) as stream,
            tarfile.open(fileobj=stream, mode="r|", tarinfo=_BoundedHeader) as tar,
        ):
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
                reading.member(
                    member.name.partition("/")[2],
                    tar.extractfile(member) if member.isreg() else None,
                )
        with path.open("rb") as file:
            return replace(reading.report(), sha256=hashlib.file_digest(file, "sha256").hexdigest())
    except (tarfile.TarError, NotWhole) as error:
        raise ArchiveDamaged("it cannot be read to its end", path=path, hint=_HINT) from error
    except ArchiveDamaged as error:
        raise ArchiveDamaged(error.reason, path=path, hint=error.hint or _HINT) from error


def _open(path: Path) -> BinaryIO:
    return open_segment(path) if path.name.endswith(".zst") else path.open("rb")


class _BoundedHeader(tarfile.TarInfo):
    """Refuses extended headers (names, PAX records) of a size that no export has.

    tarfile reads them whole into memory, whatever size they state.
    """

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        if self.type not in tarfile.SUPPORTED_TYPES or (
            self.type not in tarfile.REGULAR_TYPES and self.size > _LONGEST_HEADER_BYTES
        ):
            raise tarfile.ReadError("a header is too long")
        found: tarfile.TarInfo | None = super()._proc_member(tar)  # type: ignore[misc]  # not in the stubs
        return found


class _Hashing:
    """Hashes what is read through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(min(size, _CHUNK_BYTES))
        self.digest.update(chunk)
        self.size += len(chunk)
        return chunk

    def all_of(self, longest_bytes: int) -> bytes:
        """Read everything.  Raises ArchiveDamaged when it is longer than allowed."""
        found = bytearray()
        while chunk := self.read(_CHUNK_BYTES):
            found += chunk
            if len(found) > longest_bytes:
                raise ArchiveDamaged(f"its manifest is longer than {longest_bytes:,} bytes")
        return bytes(found)

    def drain(self) -> None:
        while self.read(_CHUNK_BYTES):
            pass


@dataclass(slots=True)
class _ArchiveVerification:
    """The state of the verification, member by member."""

    checks: dict[str, ChainCheck] = field(default_factory=dict)
    tombstones: dict[str, Tombstone] = field(default_factory=dict)
    erasures: dict[str, Erasure] = field(default_factory=dict)
    writers: set[tuple[str, Tombstone | Erasure]] = field(default_factory=set)
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)
    manifest: Manifest | None = None
    manifest_sha256: str = ""
    stated_sha256: bytes = b""

    def member(self, name: str, content: IO[bytes] | None) -> None:
        if content is None:
            raise ArchiveDamaged("it holds something that is not a plain file", hint=_HINT)
        if len(self.seen) >= _MOST_MEMBERS:
            raise ArchiveDamaged(f"it holds more than {_MOST_MEMBERS:,} files", hint=_HINT)
        if name in self.seen:
            raise ArchiveDamaged(f"{name} is in it twice", hint=_HINT)
        hashing = _Hashing(content)
        if name == "MANIFEST.json":
            text = hashing.all_of(_LONGEST_MANIFEST_BYTES)
            self.manifest_sha256 = hashing.digest.hexdigest()
            if sum(map(text.count, (b",", b"[", b"{"))) > _MOST_VALUES:
                raise ArchiveDamaged(f"its manifest has more than {_MOST_VALUES:,} values")
            try:
                self.manifest = Manifest.from_json(orjson.loads(text))
            except orjson.JSONDecodeError:
                raise ArchiveDamaged("its manifest is not JSON", hint=_HINT) from None
            return
        if name == "MANIFEST.sha256":
            self.stated_sha256 = hashing.all_of(200)
            return
        if name.startswith("logs/"):
            self._segment(name, hashing)
        hashing.drain()
        self.seen[name] = (hashing.size, hashing.digest.hexdigest())

    def _segment(self, name: str, content: _Hashing) -> None:
        try:
            segment = SegmentName.parse(name.removeprefix("logs/"))
        except InvalidName:
            raise ArchiveDamaged(f"{name} is not a segment", hint=_HINT) from None
        log = str(segment.log)
        if log not in self.checks:
            proofs = by_log(self.tombstones.values()).get(log, ())
            self.checks[log] = ChainCheck(
                log, proofs, whole=False, erasures=by_stub(self.erasures.values(), log)
            )
        check = self.checks[log]
        check.segment(segment)
        for offset, line in iter_lines(cast("BinaryIO", content)):
            check.line(line, offset)
            header = parse_header(line) if segment.log.service == "retention" else None
            if header is None:
                continue
            if (tombstone := parse_tombstone(header, line)) is not None:
                self.tombstones[header.hash] = tombstone  # a repeated line takes no more memory
                self.writers.add((header.log, tombstone))
            elif (erasure := parse_erasure(header, line)) is not None:
                self.erasures[header.hash] = erasure
                self.writers.add((header.log, erasure))

    def report(self) -> ArchiveReport:
        if self.manifest is None:
            raise ArchiveDamaged("it has no MANIFEST.json", hint=_HINT)
        reports = []
        for check in self.checks.values():
            check.finish()
            reports.append(LogReport.of(check))
        problems = [*self._problems(self.manifest)]
        return ArchiveReport(
            Report(tuple(sorted(reports, key=lambda report: report.log))),
            tuple(problems),
            self.manifest,
            self.manifest_sha256,
        )

    def _kinds(self, log: str) -> set[str]:
        check = self.checks.get(log)
        return set() if check is None else {finding.kind for finding in check.findings}

    def _disbelieved(self, hosts: Collection[str] | None) -> Iterator[str]:
        """Tell of deletions by hosts that the manifest, the last file, says may not delete."""
        believed = {proof for writer, proof in self.writers if may_delete(writer, proof.log, hosts)}
        why = "that log is not of its host, which the manifest does not name in retention_hosts"
        foreign = {
            (writer, proof.log)
            for writer, proof in self.writers
            if isinstance(proof, Tombstone) and not may_delete(writer, proof.log, hosts)
        }
        for writer, log in sorted(foreign):
            yield f"{writer}: no deletion from {log} is believed: {why}"
        for check in self.checks.values():
            for erasure in check.erased:
                if erasure not in believed:
                    yield f"{check.log}: no proof of the erasure of record {erasure.seq}: {why}"

    def _problems(self, manifest: Manifest) -> list[str]:
        listed = {file.name: (file.bytes, file.sha256) for file in manifest.files}
        problems = [f"{name}: it is missing" for name in sorted(listed.keys() - self.seen)]
        if not self.stated_sha256:
            problems.append("MANIFEST.sha256: it is missing")
        elif self.stated_sha256 != f"{self.manifest_sha256}  MANIFEST.json\n".encode():
            problems.append("MANIFEST.json: it is not the file that was exported")
        problems += [
            f"{name}: it does not belong to the export"
            for name in sorted(self.seen - listed.keys())
        ]
        problems += [
            f"{name}: it is not the file that was exported"
            for name in sorted(listed.keys() & self.seen.keys())
            if listed[name] != self.seen[name]
        ]
        problems += [
            f"{log.log}: when it was exported: {finding['kind']}: {finding['detail']}"
            for log in manifest.logs
            for finding in log.findings
            if finding["kind"] not in self._kinds(log.log)  # the caller reports these
        ]
        problems += self._disbelieved(manifest.retention_hosts)
        for log in manifest.logs:
            if not log.segments:
                continue
            check = self.checks.get(log.log)
            if check is None or (check.last_seq, check.head_hash) != (log.last_seq, log.head_hash):
                problems.append(f"{log.log}: it does not end where the manifest says")
        return problems
