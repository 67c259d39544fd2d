"""Define what a bucket tells about its objects: versions, states and the default lock.  Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

__all__ = ["BucketLock", "ObjectState", "ObjectVersion"]


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of a key as it is listed; a delete marker has no content."""

    key: str
    version: str
    size_bytes: int
    latest: bool
    marker: bool
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class ObjectState:
    """One version as it is stored, and its lock; ``retain_until`` is None without one."""

    version: str
    size_bytes: int
    checksum: str
    mode: str
    retain_until: dt.datetime | None


@dataclass(frozen=True, slots=True)
class BucketLock:
    """The bucket's default lock; ``period`` is None where new objects get none by default."""

    mode: str
    period: dt.timedelta | None
