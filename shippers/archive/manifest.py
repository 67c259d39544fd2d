"""Define a manifest: what one host archived since the manifest before.  Pure.

    {"schema":"auditlog.archive.manifest/1","host":"hive1","number":7,"at":"…",
     "previous_sha256":"<64 hex>","objects":[{…}],"checkpoints":[["…"]]}

One line of JSON with an LF.  Manifests are numbered from 1 and each names the SHA-256 of the bytes
of the one before (64 zeros for the first), so that one that is missing or was changed is noticed.
``objects`` are as in the record ``log.archived``; ``checkpoints`` are the lines of the newest
signed checkpoint of each log, where there are any.

Invariants (tests of the same name in tests/shippers/archive/test_manifest.py):
  round_trip   decode gives back what encode was given
  refused      bytes that are no manifest of this version raise ValueError
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from auditlog.archived import ArchivedObject
from auditlog.format.record import format_timestamp, parse_timestamp

if TYPE_CHECKING:
    import datetime as dt

__all__ = ["FIRST_SHA256", "SCHEMA", "ArchiveManifest", "decode", "encode"]

SCHEMA: Final = "auditlog.archive.manifest/1"
FIRST_SHA256: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class ArchiveManifest:
    host: str
    number: int
    at: dt.datetime
    previous_sha256: str
    objects: tuple[ArchivedObject, ...]
    checkpoints: tuple[tuple[str, ...], ...] = ()


def encode(manifest: ArchiveManifest) -> bytes:
    fields = {
        "schema": SCHEMA,
        "host": manifest.host,
        "number": manifest.number,
        "at": format_timestamp(manifest.at),
        "previous_sha256": manifest.previous_sha256,
        "objects": [each.to_json() for each in manifest.objects],
        "checkpoints": manifest.checkpoints,
    }
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def decode(content: bytes) -> ArchiveManifest:
    """The reverse of encode.  Raises ValueError."""
    fields = orjson.loads(content)
    if not isinstance(fields, dict) or fields.get("schema") != SCHEMA:
        raise ValueError("it is not a manifest of this version")
    try:
        return ArchiveManifest(
            str(fields["host"]),
            int(fields["number"]),
            parse_timestamp(fields["at"]),
            str(fields["previous_sha256"]),
            tuple(ArchivedObject.from_json(dict(each)) for each in fields["objects"]),
            tuple(tuple(map(str, lines)) for lines in fields["checkpoints"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("it is not a manifest of this version") from error
