"""Describe an export: MANIFEST.json for programs, README.txt for people.  Pure.

Invariants (tests of the same name in tests/auditctl/export/test_manifest.py):
  round_trip   from_json gives back what to_json was given
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from auditctl.errors import ArchiveDamaged

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ExportedLog", "File", "Manifest", "readme"]

SCHEMA: Final = "auditctl.export/1"


@dataclass(frozen=True, slots=True)
class File:
    """A file of the export, by its path inside it."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ExportedLog:
    """A log's exported part; the numbers are those of the records that are intact.

    ``erased`` lists the records that were erased, of which stubs are here;
    ``checkpoints`` are paths of signed checkpoints of it, and ``subtrees`` the hashes over records
    that are not here (auditlog.evidence.compact_range), so that their roots can be computed;
    ``segments`` are paths inside the export, in the order of writing; ``findings`` are those of
    verify, as in its JSON, ``deleted`` the segments that tombstones account for; ``begins`` is why
    the part begins where it does.
    """

    log: str
    segments: tuple[str, ...]
    records: int
    first_seq: int
    last_seq: int
    first_prev_hash: str
    head_hash: str
    begins: str = ""
    findings: tuple[Mapping[str, Any], ...] = ()
    deleted: tuple[Mapping[str, Any], ...] = ()
    erased: tuple[Mapping[str, Any], ...] = ()
    checkpoints: tuple[str, ...] = ()
    subtrees: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that is known about an export; ``asked`` says what was asked for, in words.

    ``retention_hosts`` are those whose deletions were believed (format.tombstones.may_delete).
    """

    created_at: str
    created_on: str
    program: str
    asked: Mapping[str, str | None]
    logs: tuple[ExportedLog, ...]
    files: tuple[File, ...]
    holds: tuple[Mapping[str, Any], ...] = ()
    answers: int | None = None
    retention_hosts: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not any(log.findings for log in self.logs)

    @property
    def records(self) -> int:
        return sum(log.records for log in self.logs)

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "ok": self.ok, **asdict(self)}

    @classmethod
    def from_json(cls, fields: Any) -> Manifest:
        """Raises ArchiveDamaged."""
        try:
            if fields.pop("schema") != SCHEMA:
                raise ArchiveDamaged("its manifest is of a version this program does not know")
            del fields["ok"]
            logs = tuple(
                ExportedLog(**{**log, **{name: tuple(log.get(name, ())) for name in _TUPLES}})
                for log in fields.pop("logs")
            )
            files = tuple(File(**file) for file in fields.pop("files"))
            holds = tuple(fields.pop("holds"))
            hosts = fields.pop("retention_hosts", None)
            hosts = None if hosts is None else tuple(hosts)
            return cls(logs=logs, files=files, holds=holds, retention_hosts=hosts, **fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ArchiveDamaged("its manifest cannot be understood") from error


_TUPLES: Final = ("segments", "findings", "deleted", "erased", "checkpoints", "subtrees")


def readme(manifest: Manifest) -> str:
    """Return README.txt, for readers who know nothing about this program."""
    asked = manifest.asked
    signed = any(log.checkpoints for log in manifest.logs)
    with_policy = [
        "    python3 -I check.py --policy FILE",
        "                                    with a trust policy that you wrote: also up to which",
        "                                    record, when and by whom each log was witnessed",
    ]
    if not signed:
        with_policy.clear()
    lines = [
        "EXPORT OF AUDIT LOGS",
        "",
        f"Made {manifest.created_at} on {manifest.created_on} by {manifest.program}.",
        f"From: {asked.get('since') or 'the beginning'}. Until: {asked.get('until') or 'the end'}.",
        f"Logs: {asked.get('logs') or '*'}.",
        "",
        "How to check it, on any computer with Python 3, offline:",
        "",
        "    sha256sum ARCHIVE.tar.zst       compare this with what you were told, not with",
        "                                    anything that a program from the archive prints",
        "    python3 -I check.py             says ok, or what is wrong",
        *with_policy,
        "",
        "check.py and check_record.py, which it uses, are short: read them.",
        "",
        "What is here:",
        "",
        "    logs/*.ndjson    the log files, byte for byte: one record a line, as JSON",
        "    MANIFEST.json    every file with its size and SHA-256, every log with its ends",
        "    MANIFEST.sha256  the SHA-256 of MANIFEST.json, for sha256sum -c",
        "    check.py         the check",
        "    check_record.py  the part of it that knows signatures and trust policies",
        "    damaged/         files that could not be decompressed, as they are",
    ]
    if manifest.answers is not None:
        lines += [
            f"    records.ndjson   the {manifest.answers} records that answer the question",
            f"                     {asked.get('query')}",
        ]
    if signed:
        lines.append(
            "    checkpoints/     signed tree heads of the logs (c2sp.org/tlog-checkpoint)"
        )
    if manifest.holds:
        lines.append("    holds.json       legal holds that were in force or had been")
    if erased := sum(len(log.erased) for log in manifest.logs):
        lines += [
            "",
            f"Erased records: {erased}. Of each a stub is left, with its number, hashes and leaf;",
            "who had it erased, when and why is a record in the log of the service 'retention'.",
        ]
    lines += [
        "",
        "Each record states the SHA-256 of its own line and that of the record before it, so that",
        "none can be changed, removed or put in without the next one not fitting. Deletions under",
        "the retention policy are themselves records, in the log of the service 'retention'.",
        "Whole files of whole days (UTC) are here, so there is more in them than was asked for.",
        "",
    ]
    if not manifest.ok:
        lines += ["WHEN IT WAS MADE, THE LOGS WERE NOT WHOLE: see findings in MANIFEST.json.", ""]
    return "\n".join(lines)
