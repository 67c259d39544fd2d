"""Judge what an archive holds against what its manifests say.  Pure.

Invariants (tests of the same name in tests/shippers/archive/test_verdicts.py):
  ok          an archive that is as its manifests say has no finding
  named       put over, delete markers, missing objects and manifests, shortened locks and changed
              bytes are each named, with the key
  harmless    a further version with the same bytes is a note, since an upload may be repeated
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, get_args

from shippers.archive.manifest import FIRST_SHA256, decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditlog.archived import ArchivedObject
    from shippers.archive.manifest import ArchiveManifest
    from shippers.archive.objects import ObjectState, ObjectVersion

__all__ = [
    "FINDING_KINDS",
    "ArchiveFinding",
    "ManifestChain",
    "judge_content",
    "judge_lock",
    "judge_state",
    "judge_unlisted",
    "judge_versions",
]

_Kind = Literal[
    "missing_object",
    "missing_manifest",
    "manifest_changed",
    "put_over",
    "delete_marker",
    "lock_shortened",
    "bytes_changed",
    "chain",
    "unlisted",
    "repeated",
    "erased",
]
FINDING_KINDS: Final = get_args(_Kind)

_UNLISTED_AFTER: Final = dt.timedelta(days=1)
"""An object this old that no manifest names was not put there by the agent, or its manifest was
never written."""


@dataclass(frozen=True, slots=True)
class ArchiveFinding:
    """One thing that is wrong with an object, or with ``fatal`` false worth a note."""

    kind: _Kind
    key: str
    detail: str
    version: str = ""

    @property
    def fatal(self) -> bool:
        return self.kind not in ("repeated", "erased")


def judge_versions(
    key: str, version: str, listed: Sequence[ObjectVersion], same: frozenset[str] = frozenset()
) -> Iterator[ArchiveFinding]:
    """Compare the versions of a key with the one that is expected.

    ``same`` are further versions that are known to have the same bytes.
    """
    if not any(each.version == version and not each.marker for each in listed):
        yield ArchiveFinding("missing_object", key, "the archived version is not there", version)
    for each in listed:
        at = f"{each.at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
        if each.marker:
            detail = f"a delete marker of {at} hides it; its version is still there"
            yield ArchiveFinding("delete_marker", key, detail, each.version)
        elif each.version in same:
            detail = f"the same bytes were uploaded again at {at}"
            yield ArchiveFinding("repeated", key, detail, each.version)
        elif each.version != version:
            detail = f"another object was put under this key at {at}; the archived one stays below"
            yield ArchiveFinding("put_over", key, detail, each.version)


def judge_state(expected: ArchivedObject, state: ObjectState) -> Iterator[ArchiveFinding]:
    """Compare one version, as the server describes it, with what was uploaded."""
    if (state.size_bytes, state.checksum) != (expected.size_bytes, expected.checksum):
        detail = f"it has {state.size_bytes} bytes with checksum {state.checksum or 'unknown'}"
        yield ArchiveFinding("bytes_changed", expected.key, detail, expected.version)
    yield from judge_lock(expected.key, expected.version, expected.retain_until, state)
    if expected.mode == "COMPLIANCE" and state.mode == "GOVERNANCE":
        detail = "its lock is GOVERNANCE, and was COMPLIANCE"
        yield ArchiveFinding("lock_shortened", expected.key, detail, expected.version)


def judge_lock(
    key: str, version: str, until: dt.datetime, state: ObjectState
) -> Iterator[ArchiveFinding]:
    """Compare a lock with the instant until which it was set."""
    # S3 keeps instants to the second.
    if state.retain_until is None:
        yield ArchiveFinding("lock_shortened", key, "it has no lock", version)
    elif state.retain_until < until - dt.timedelta(seconds=1):
        detail = (
            f"its lock ends at {state.retain_until.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ} and was"
            f" set until {until:%Y-%m-%dT%H:%M:%SZ}"
        )
        yield ArchiveFinding("lock_shortened", key, detail, version)


def judge_content(
    expected: ArchivedObject, size_bytes: int, digest: str
) -> Iterator[ArchiveFinding]:
    """Compare the bytes that were read with those that were uploaded."""
    if (size_bytes, digest) != (expected.size_bytes, expected.sha256):
        detail = f"its {size_bytes} bytes have the SHA-256 {digest}"
        yield ArchiveFinding("bytes_changed", expected.key, detail, expected.version)


def judge_unlisted(
    key: str, listed: Sequence[ObjectVersion], now: dt.datetime
) -> Iterator[ArchiveFinding]:
    """Judge a key that no manifest names: until the next manifest that is normal."""
    oldest = min(each.at for each in listed)
    if now - oldest > _UNLISTED_AFTER:
        detail = f"no manifest names it, and it is there since {oldest:%Y-%m-%dT%H:%M:%SZ}"
        yield ArchiveFinding("unlisted", key, detail, listed[0].version)


class ManifestChain:
    """The manifests of one host, given in the order of their numbers."""

    def __init__(self, host: str) -> None:
        self.number = 0
        self._host = host
        self._digest: str | None = FIRST_SHA256
        self.findings: list[ArchiveFinding] = []

    @property
    def digest(self) -> str | None:
        """The SHA-256 of the last manifest."""
        return self._digest

    def accept(self, key: str, number: int, content: bytes) -> ArchiveManifest | None:
        """Check the next manifest and return it; None when it cannot be used."""
        self.missing(number - 1, key)
        before, self._digest = self._digest, sha256(content).hexdigest()
        self.number = number
        try:
            manifest = decode(content)
        except ValueError as error:
            self.findings.append(ArchiveFinding("manifest_changed", key, str(error)))
            return None
        if (manifest.host, manifest.number) != (self._host, number):
            detail = f"it is manifest {manifest.number} of {manifest.host}"
            self.findings.append(ArchiveFinding("manifest_changed", key, detail))
        if before is not None and manifest.previous_sha256 != before:
            detail = "it does not follow the one before: one of the two was changed"
            self.findings.append(ArchiveFinding("manifest_changed", key, detail))
        return manifest

    def missing(self, through: int, key: str) -> None:
        """Report that manifests up to this number are not there, if they were not accepted."""
        if through > self.number:
            which = f"{self.number + 1} to {through}" if through > self.number + 1 else f"{through}"
            self.findings.append(
                ArchiveFinding(
                    "missing_manifest", key, f"manifest {which} of {self._host} is missing"
                )
            )
            self._digest = None
            self.number = through
