"""Make the sources that the configuration names, besides the audit logs' directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditctl.errors import ConfigError
from shippers.sources.journald.source import JournaldOptions, JournaldSource
from shippers.sources.ndjson.source import NdjsonOptions, NdjsonSource

if TYPE_CHECKING:
    from auditctl.config.model import Config
    from auditctl.config.sources import SourceConfig
    from shippers.sources.protocol import Source

__all__ = ["make_sources"]


def make_sources(config: Config) -> tuple[Source, ...]:
    """Opens nothing yet.  Raises ConfigError for what no source can be made of."""
    return tuple(_make(source, config.host) for source in config.sources)


def _make(source: SourceConfig, host: str) -> Source:
    try:
        if source.kind == "journald":
            return JournaldSource(JournaldOptions(**source.given()))
        return NdjsonSource(NdjsonOptions(host=host, **source.given()))
    except ValueError as error:
        raise ConfigError(
            f"sources.{source.kind} {source.name!r}: {error}", path=source.origin
        ) from error
