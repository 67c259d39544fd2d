"""Create the configured source objects, except those of audit logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shippers.sources.journald.options import JournaldOptions
from shippers.sources.journald.source import JournaldSource
from shippers.sources.ndjson.source import NdjsonSource

if TYPE_CHECKING:
    from auditctl.config.model import Config
    from shippers.sources.protocol import Source

__all__ = ["make_sources"]


def make_sources(config: Config) -> tuple[Source, ...]:
    """The sources, in the order of the configuration.  Opens nothing yet."""
    return tuple(
        JournaldSource(options) if isinstance(options, JournaldOptions) else NdjsonSource(options)
        for options in config.sources
    )
