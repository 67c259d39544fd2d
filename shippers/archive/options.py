"""Define the options of an archive: the bucket, its lock, credentials."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

__all__ = ["ArchiveOptions", "LockMode"]

LockMode = Literal["GOVERNANCE", "COMPLIANCE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """Settings of the archive.  Raises ValueError when one cannot work."""

    bucket: Annotated[
        str, "bucket that finished segments are uploaded to; it has versioning and Object Lock"
    ]
    endpoint: Annotated[str, "URL of the S3 server", "that of AWS in the region"] = ""
    region: Annotated[str, "region of the bucket", "as the AWS libraries find it"] = ""
    access_key_id: Annotated[
        str | None,
        "id of the key to log in with; without it the AWS libraries look for one (environment, "
        "profile, role of the instance)",
    ] = None
    secret_access_key_file: Annotated[Path | None, "file that holds the secret of that key"] = None
    ca_file: Annotated[
        Path | None, "PEM file with the authorities to trust instead of the system's"
    ] = None
    mode: Annotated[
        LockMode,
        "`GOVERNANCE`: who has a permission for it can remove a lock; `COMPLIANCE`: nobody can",
    ] = "GOVERNANCE"
    retain: Annotated[dt.timedelta, "time from its upload for which an object is locked"] = (
        dt.timedelta(days=365)
    )
    manifest_every: Annotated[dt.timedelta, "interval between manifests"] = dt.timedelta(hours=1)
    late_after: Annotated[
        dt.timedelta, "age of the oldest finished segment without upload at which it is an alarm"
    ] = dt.timedelta(hours=6)

    def __post_init__(self) -> None:
        if not self.bucket or "/" in self.bucket:
            raise ValueError("bucket has to be the name of a bucket")
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError("endpoint has to be a URL, like https://s3.example")
        if (self.access_key_id is None) != (self.secret_access_key_file is None):
            raise ValueError("access_key_id and secret_access_key_file are only used together")
        if self.mode not in get_args(LockMode):
            raise ValueError("mode has to be GOVERNANCE or COMPLIANCE")
        for name in ("retain", "manifest_every", "late_after"):
            if getattr(self, name) <= dt.timedelta(0):
                raise ValueError(f"{name} has to be longer than zero")

    @property
    def address(self) -> str:
        """The bucket, as messages name it."""
        return f"{self.endpoint.rstrip('/')}/{self.bucket}" if self.endpoint else self.bucket
