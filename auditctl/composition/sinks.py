"""Create the configured sink objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditlog.reading.deleted_indices import DeletedIndices

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from auditctl.config.sinks import ElasticsearchConfig, SinkConfig
    from shippers.sinks.elasticsearch.connection import Credentials
    from shippers.sinks.protocol import Sink
    from shippers.sinks.read_back import ReadBack

__all__ = [
    "elasticsearch_credentials",
    "index_of_log",
    "make_read_back",
    "make_sink",
    "make_sinks",
    "unanswered_hint",
]


def make_sinks(configs: Iterable[SinkConfig], directories: Sequence[Path] = ()) -> tuple[Sink, ...]:
    """Sinks for what is in the directories, whose tombstones say which indices are gone.

    Connects to nothing yet.  Raises ConfigError when a secret cannot be read, ShipperError.
    """
    return tuple(make_sink(config, directories) for config in configs)


def make_sink(config: SinkConfig, directories: Sequence[Path] = ()) -> Sink:
    """As make_sinks, of one."""
    # Only what is used is imported: the Elasticsearch client takes a third of a second.
    if config.kind == "sqlite":
        from shippers.sinks.sqlite.sink import SqliteSink  # noqa: PLC0415  (see above)

        return SqliteSink(config.name, config.path)
    from shippers.sinks.elasticsearch.sink import ElasticsearchSink  # noqa: PLC0415  (see above)

    deleted = DeletedIndices(directories)
    return ElasticsearchSink(
        config.name,
        config,
        elasticsearch_credentials(config),
        retired=lambda: deleted.of(config.name, config.urls),
    )


def make_read_back(config: SinkConfig) -> ReadBack:
    """A reader of the sink's records.  Raises as make_sinks, and when a SQLite file is missing."""
    if config.kind == "sqlite":
        from shippers.sinks.sqlite.read_back import SqliteReadBack  # noqa: PLC0415  (see above)

        return SqliteReadBack(config.path)
    from shippers.sinks.elasticsearch.connection import Connection  # noqa: PLC0415  (see above)
    from shippers.sinks.elasticsearch.read_back import (  # noqa: PLC0415  (see above)
        ElasticsearchReadBack,
    )

    return ElasticsearchReadBack(Connection(config, elasticsearch_credentials(config)))


def unanswered_hint(status: int | None, refused: str) -> str:
    """A hint for a failed request of retention: ``refused`` when the cluster answered at all."""
    if status is not None:
        return refused
    return (
        "Can this host reach the cluster? The unit auditlog-retention may reach this host alone; "
        "allow it the cluster's addresses with systemctl edit auditlog-retention: IPAddressAllow=."
    )


def elasticsearch_credentials(config: ElasticsearchConfig) -> Callable[[], Credentials]:
    """Return a function that reads the secrets at each call, and raises ConfigError."""
    from shippers.sinks.elasticsearch.connection import Credentials  # noqa: PLC0415  (see above)

    return lambda: Credentials(config.username, config.password(), config.api_key())


def index_of_log(config: SinkConfig, log: str, day: dt.date) -> str:
    """Return the sink's index of a log's day; "" for a sink without indices."""
    return "" if config.kind == "sqlite" else config.names.of(log, day.isoformat())
