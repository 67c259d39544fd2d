"""Write an export archive, and rename it into place when complete.

    NAME/README.txt  check.py  check_record.py  holds.json  logs/…  checkpoints/…
         records.ndjson  MANIFEST.json  MANIFEST.sha256                               (.tar.zst)

The retention logs come first and whole, since they hold the proofs of what was deleted.  What is
damaged is exported as it is, and the findings with it: it is evidence too.

Invariants (tests of the same name in tests/auditctl/export/test_bundle.py):
  verbatim     a segment in the archive is its file's bytes, decompressed
  proven       check.py and auditctl verify find it complete, and find every changed byte
  all_or_none  a failure leaves no file, and a file that is there is not replaced
"""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
import io
import socket
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import orjson
import zstandard

from auditctl.errors import CommandFailed
from auditctl.export.manifest import ExportedLog, File, Manifest, readme
from auditctl.output.new_file import new_file
from auditlog.errors import LogDamaged
from auditlog.format.erasures import by_stub
from auditlog.format.record import format_timestamp, is_intact, parse_header
from auditlog.format.tombstones import by_log
from auditlog.reading.head_note import known_head
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import bounds, iter_lines, open_any_form
from auditlog.reading.tombstone_scan import proofs_in
from auditlog.verification.chain import ChainCheck
from auditlog.verification.verify import compare_with_known_records

if TYPE_CHECKING:
    from auditctl.export.checkpoints import ChosenCheckpoints, LeafRuns, SignedSizes
    from auditlog.evidence.note import Note
    from auditlog.format.record import Record
    from auditlog.format.segment_names import LogId, SegmentName
    from auditlog.query.scope import SearchScope
    from auditlog.reading.registry import KnownRecord
    from retention.holds import Hold

__all__ = ["Asked", "write_bundle"]

_CHECKERS: Final = tuple(
    Path(__file__).with_name(f"{name}.py") for name in ("check", "check_record")
)
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """The scope of an export; ``answers`` returns the records that match ``query``, if given.

    ``known`` is what is known of the logs besides their files, by directory, so that what is
    missing is a finding.  ``notes`` returns the signed checkpoints that there are, if any; their
    trees are in ``state_dir``.  ``retention_hosts`` are those whose deletions are believed
    (format.tombstones.may_delete).
    """

    directories: Sequence[Path]
    scope: SearchScope
    holds: Sequence[Hold] = ()
    query: str | None = None
    answers: Callable[[], Iterable[Record]] | None = None
    known: Mapping[Path, Sequence[KnownRecord]] = field(default_factory=dict)
    notes: Callable[[], Iterable[Note]] | None = None
    state_dir: Path = Path()
    retention_hosts: Collection[str] | None = None

    def segments(self, log: LogId, found: Sequence[SegmentFile]) -> list[SegmentFile]:
        """Return the segments of the log to export; logs of retention are exported whole."""
        proofs = log.service == "retention"
        if not proofs and not self.scope.has_log(str(log)):
            return []
        return [each for each in found if proofs or self.scope.has_day(each.name.day)]


def write_bundle(target: Path, asked: Asked, now: dt.datetime) -> tuple[Manifest, str]:
    """Write the export; return its manifest, and the SHA-256 of the manifest's file.

    A segment that cannot be decompressed is exported up to the damage, and its file as it is.
    Raises BadPath as new_file, CommandFailed when there is nothing to export, OSError.
    """
    compressor = zstandard.ZstdCompressor(level=6, write_checksum=True)
    name = target.name.partition(".tar")[0]
    with (
        new_file(target) as file,
        compressor.stream_writer(file, closefd=False) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        return _Writer(tar, name, target.parent, now).write(asked)


@dataclass(slots=True)
class _Writer:
    tar: tarfile.TarFile
    name: str
    scratch: Path
    now: dt.datetime
    files: list[File] = field(default_factory=list)

    def write(self, asked: Asked) -> tuple[Manifest, str]:
        logs = tuple(self._logs(asked))
        if not any(log.records for log in logs):
            raise CommandFailed(
                "there is no record to export", hint="auditctl search shows which days have some."
            )
        holds = tuple(hold.to_json() for hold in asked.holds)
        if holds:
            self._add("holds.json", orjson.dumps({"holds": holds}, option=orjson.OPT_INDENT_2))
        answers = None if asked.answers is None else self._answers(asked.answers())
        for checker in _CHECKERS:
            self._add(checker.name, checker.read_bytes())
        scope = asked.scope
        manifest = Manifest(
            created_at=format_timestamp(self.now),
            created_on=socket.gethostname(),
            program=f"auditctl {_version()}",
            asked={
                "since": None if scope.since_at is None else scope.since,
                "until": None if scope.until_at is None else scope.until,
                "logs": scope.logs,
                "query": asked.query,
            },
            logs=logs,
            files=(),
            holds=holds,
            answers=answers,
            retention_hosts=None if (hosts := asked.retention_hosts) is None else (*sorted(hosts),),
        )
        self._add("README.txt", readme(manifest).encode())
        fields = {**manifest.to_json(), "files": [*map(_file_json, self.files)]}
        content = orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        digest = hashlib.sha256(content).hexdigest()
        self._add("MANIFEST.json", content)
        self._add("MANIFEST.sha256", f"{digest}  MANIFEST.json\n".encode())
        return Manifest.from_json(orjson.loads(content)), digest

    def _logs(self, asked: Asked) -> Iterator[ExportedLog]:
        inventories = {directory: scan(directory).logs for directory in asked.directories}
        chosen = _chosen(asked, inventories)
        for directory, found in inventories.items():
            proven = proofs_in(found, asked.retention_hosts)
            tombstones = by_log(proven.tombstones)
            known = asked.known.get(directory, ())
            # The archive is checked in one pass: tombstones come before the segments they explain.
            for log in sorted(found, key=lambda log: (log.service != "retention", log)):
                segments = asked.segments(log, found[log])
                if segments:
                    whole = len(segments) == len(found[log])
                    check = ChainCheck(
                        str(log),
                        tombstones.get(str(log), ()),
                        whole=whole,
                        erasures=by_stub(proven.erasures, str(log)),
                        retention_hosts=asked.retention_hosts,
                    )
                    newest = known_head(directory, log)
                    here = [expected for expected in known if expected.log == str(log)]
                    tree = None if chosen is None else _Tree(chosen.of(str(log)), asked.state_dir)
                    if tree is not None:
                        tree.is_cut = segments[-1] is not found[log][-1]
                    yield self._log(
                        check, segments, newest if whole else None, here if whole else [], tree
                    )
            for name in sorted({expected.log for expected in known} - {*map(str, found)}):
                if asked.scope.has_log(name):
                    check = ChainCheck(name, tombstones.get(name, ()))
                    yield self._log(check, [], None, [s for s in known if s.log == name])

    def _log(
        self,
        check: ChainCheck,
        segments: Sequence[SegmentFile],
        newest: SegmentName | None,
        known: Sequence[KnownRecord],
        tree: _Tree | None = None,
    ) -> ExportedLog:
        ends = _Ends(tree)
        names = []
        for segment in segments:
            check.segment(segment.name)
            with tempfile.TemporaryFile(dir=self.scratch) as scratch:
                try:
                    self._copy(segment, scratch, check, ends, last=segment is segments[-1])
                except LogDamaged as error:
                    check.unreadable(error.reason)
                    with segment.path.open("rb") as file:
                        self._add_file(f"damaged/{segment.path.name}", file)
                names.append(self._add_file(f"logs/{segment.name.logical}", scratch))
        check.finish(newest, known)
        compare_with_known_records(check, segments, known)
        return ExportedLog(
            log=check.log,
            segments=tuple(names),
            records=ends.records,
            first_seq=ends.first_seq,
            last_seq=ends.last_seq,
            first_prev_hash=ends.first_prev_hash,
            head_hash=ends.head_hash,
            begins=_begins(check, ends),
            findings=tuple(
                {"kind": f.kind, "segment": f.segment, "line": f.line, "detail": f.detail}
                for f in check.findings
                if f.fatal
            ),
            deleted=tuple(
                {"segment": t.segment, "first_seq": t.first_seq, "last_seq": t.last_seq}
                for t in check.deleted
            ),
            erased=tuple(erasure.to_json() for erasure in check.erased),
            checkpoints=() if tree is None else self._checkpoints(check.log, tree),
            subtrees=() if tree is None else tree.subtrees(check),
        )

    def _checkpoints(self, log: str, tree: _Tree) -> tuple[str, ...]:
        return tuple(
            self._add(f"checkpoints/{log}.{number}", note.to_bytes())
            for number, (_, note) in enumerate(tree.signed.checkpoints, 1)
        )

    @staticmethod
    def _copy(
        segment: SegmentFile, scratch: BinaryIO, check: ChainCheck, ends: _Ends, *, last: bool
    ) -> None:
        """Copy whole lines, without a torn last one, which is no evidence.

        Raises LogDamaged behind what could be decompressed.
        """
        stream, path = open_any_form(segment)
        with stream:
            tee = cast("BinaryIO", _Tee(stream, scratch))
            for offset, line in iter_lines(tee, path=path):
                if not line.endswith(b"\n") and last:
                    scratch.truncate(offset)
                    break
                check.line(line, offset)
                ends.line(line)

    def _answers(self, records: Iterable[Record]) -> int:
        count = 0
        with tempfile.TemporaryFile(dir=self.scratch) as scratch:
            for record in records:
                scratch.write(record.line)
                count += 1
            self._add_file("records.ndjson", scratch)
        return count

    def _add(self, name: str, content: bytes) -> str:
        return self._add_file(name, io.BytesIO(content))

    def _add_file(self, name: str, content: BinaryIO) -> str:
        digest = hashlib.sha256()
        content.seek(0)
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
        info = tarfile.TarInfo(f"{self.name}/{name}")
        info.size, info.mode, info.mtime = content.tell(), 0o444, int(self.now.timestamp())
        content.seek(0)
        self.tar.addfile(info, content)
        self.files.append(File(name, info.size, digest.hexdigest()))
        return name


@dataclass(frozen=True, slots=True)
class _Tee:
    """Copies what is read through it, byte for byte."""

    source: BinaryIO
    copy: BinaryIO

    def read(self, size: int) -> bytes:
        chunk = self.source.read(size)
        self.copy.write(chunk)
        return chunk


@dataclass(slots=True)
class _Ends:
    """The first and the last intact record of what was copied, as check.py counts them."""

    tree: _Tree | None = None
    records: int = 0
    first_seq: int = 1
    last_seq: int = 0
    first_prev_hash: str = ""
    head_hash: str = ""

    def line(self, line: bytes) -> None:
        header = parse_header(line)
        if header is None or not is_intact(header, line):
            return
        if not self.records:
            self.first_seq, self.first_prev_hash = header.seq, header.prev_hash
        self.records += 1
        self.last_seq, self.head_hash = header.seq, header.hash
        if self.tree is not None:
            self.tree.lines.line(header.seq, line)


class _Tree:
    """The exported part of a log's tree: checkpoints, and hashes over records that are not here.

    ``is_cut``: records after the exported ones were not asked for.
    """

    def __init__(self, signed: SignedSizes, state_dir: Path) -> None:
        from auditctl.export.checkpoints import LeafRuns  # noqa: PLC0415  (as in _chosen)

        self.signed, self.is_cut = signed, False
        self.lines: LeafRuns = LeafRuns(frozenset(signed.roots))
        self._proofs = state_dir / "proofs"

    def subtrees(self, check: ChainCheck) -> tuple[Mapping[str, object], ...]:
        from auditctl.export.checkpoints import subtrees_of  # noqa: PLC0415  (as in _chosen)

        roots = self.signed.roots
        if not roots:
            return ()
        limit = max(roots) if self.is_cut else self.lines.end
        found = subtrees_of(self.lines, roots, limit, self._proofs / check.log, check.tombstones)
        return tuple(
            {
                "first_seq": each.start + 1,
                "last_seq": each.end,
                "hashes": [node.hex() for node in each.nodes],
            }
            for each in found
        )


def _chosen(
    asked: Asked, inventories: Mapping[Path, Mapping[LogId, Sequence[SegmentFile]]]
) -> ChosenCheckpoints | None:
    if asked.notes is None:
        return None
    # Imported here: only who signs has the libraries of evidence.
    from auditctl.export.checkpoints import ChosenCheckpoints  # noqa: PLC0415  (see above)

    ends: dict[str, int | None] = {}
    for found in inventories.values():
        for log, all_of_it in found.items():
            segments = asked.segments(log, all_of_it)
            if segments:
                ends[str(log)] = None if segments[-1] is all_of_it[-1] else _last_seq(segments[-1])
    chosen = ChosenCheckpoints(ends)
    chosen.take(asked.notes())
    return chosen


def _last_seq(segment: SegmentFile) -> int | None:
    try:
        found = bounds(segment)
    except (LogDamaged, OSError):
        return None  # it is a finding already
    return None if found is None else found.last_seq


def _begins(check: ChainCheck, ends: _Ends) -> str:
    """Explain why the exported part of a log begins where it does."""
    if not ends.records:
        return "no record of it is here"
    before = ends.first_seq - 1
    if not before:
        return "from its first record"
    if not check.whole:
        return f"records up to {before} were not asked for"
    if any(finding.seq is not None and finding.seq <= before for finding in check.findings):
        return f"records before {ends.first_seq} are missing"
    return f"records up to {before} were deleted under policy"


def _file_json(file: File) -> dict[str, object]:
    return {"name": file.name, "bytes": file.bytes, "sha256": file.sha256}


def _version() -> str:
    try:
        return importlib.metadata.version("llama-orch-auditlog")
    except importlib.metadata.PackageNotFoundError:
        return "(run from its source)"
