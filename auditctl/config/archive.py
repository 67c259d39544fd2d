"""Define the ``[archive]`` table: the bucket that finished segments are uploaded to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from auditctl.config.declared import declared
from auditctl.errors import ConfigError
from shippers.archive.options import ArchiveOptions

__all__ = ["ARCHIVE", "build_archive"]

ARCHIVE: Final = declared(ArchiveOptions)


def build_archive(values: Mapping[str, Any]) -> ArchiveOptions | None:
    """Return the options of the converted values; None without any.  Raises ConfigError."""
    if not values:
        return None
    if "bucket" not in values:
        raise ConfigError(
            "archive.bucket is missing", hint="Name the bucket that segments are uploaded to."
        )
    try:
        return ArchiveOptions(**values)
    except ValueError as error:
        raise ConfigError(f"archive.{error}") from error
