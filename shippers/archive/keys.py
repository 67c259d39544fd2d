"""Name the objects of an archive.  Pure.

    v1/<log>/<segment>.zst                  the bytes of one segment, as a zstd frame
    v1/manifests/<host>/<number>.json       what one host archived since the manifest before

A log id has an @ in it, so ``manifests`` is none.

Invariants (tests of the same name in tests/shippers/archive/test_keys.py):
  round_trip   a key leads back to the segment, or to the manifest, that it was made for
"""

from __future__ import annotations

import re
from typing import Final

from auditlog.errors import InvalidName
from auditlog.format.segment_names import SegmentName

__all__ = [
    "MANIFESTS",
    "manifest_key",
    "manifest_of_key",
    "prefix_of_host",
    "prefix_of_log",
    "segment_key",
    "segment_of_key",
]

_ROOT: Final = "v1/"
MANIFESTS: Final = "v1/manifests/"
_MANIFEST: Final = re.compile(r"v1/manifests/([^/]+)/(\d{10})\.json", re.ASCII)


def segment_key(name: SegmentName) -> str:
    return f"{prefix_of_log(str(name.log))}{name.logical}.zst"


def prefix_of_log(log: str) -> str:
    return f"{_ROOT}{log}/"


def segment_of_key(key: str) -> SegmentName | None:
    """The segment that an object of this key holds; None for any other key."""
    try:
        name = SegmentName.parse(key.rpartition("/")[2])
    except InvalidName:
        return None
    return name if segment_key(name) == key else None


def manifest_key(host: str, number: int) -> str:
    return f"{prefix_of_host(host)}{number:010d}.json"


def prefix_of_host(host: str) -> str:
    return f"{MANIFESTS}{host}/"


def manifest_of_key(key: str) -> tuple[str, int] | None:
    """The host and the number of a manifest; None for any other key."""
    match = _MANIFEST.fullmatch(key)
    return None if match is None else (match[1], int(match[2]))
