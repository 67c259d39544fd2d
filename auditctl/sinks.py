"""Make the sinks that the configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditctl.config import SinkConfig
    from shippers.sinks.protocol import Sink

__all__ = ["make_sinks"]


def make_sinks(configs: Iterable[SinkConfig]) -> tuple[Sink, ...]:
    """Connects to nothing yet.  Raises ConfigError when a secret cannot be read, ShipperError."""
    return tuple(_make(config) for config in configs)


def _make(config: SinkConfig) -> Sink:
    # Only what is used is imported: the Elasticsearch client takes a third of a second.
    if config.kind == "sqlite":
        from shippers.sinks.sqlite import SqliteSink  # noqa: PLC0415  (see above)

        if config.path is None:
            raise ConfigError(f"sinks.{config.name}: path is missing")
        return SqliteSink(config.name, config.path)
    from shippers.sinks.elasticsearch import (  # noqa: PLC0415  (see above)
        ElasticsearchOptions,
        ElasticsearchSink,
    )
    from shippers.sinks.index_template import DEFAULT_PREFIX  # noqa: PLC0415  (see above)

    options = ElasticsearchOptions(
        urls=config.urls,
        username=config.username,
        password=config.password(),
        api_key=config.api_key(),
        ca_certs=config.ca_file,
        prefix=config.index_prefix or DEFAULT_PREFIX,
    )
    return ElasticsearchSink(config.name, options)
