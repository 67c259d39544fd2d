"""Delete erased records from all configured sinks and quarantines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditctl.composition.index_retention import as_deleting_user
from auditctl.composition.sinks import elasticsearch_credentials
from auditlog.errors import AuditLogError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditctl.config.model import Config
    from auditctl.config.sinks import SinkConfig
    from shippers.sinks.erasure import ErasedRecord, SinkErasure

__all__ = ["erase_everywhere", "sink_erasure"]


def sink_erasure(config: SinkConfig, *, as_given: bool = False) -> SinkErasure:
    """Erasure in one sink; ``as_given``: with the credentials of ``config`` as they are.

    Raises ConfigError where there is no user who may delete.
    """
    if config.kind == "sqlite":
        from shippers.sinks.sqlite.erasure import SqliteErasure  # noqa: PLC0415  (only what is used)

        return SqliteErasure(config.path)
    from shippers.sinks.elasticsearch.connection import Connection  # noqa: PLC0415  (as above)
    from shippers.sinks.elasticsearch.erasure import ElasticsearchErasure  # noqa: PLC0415  (as above)

    user = config if as_given else as_deleting_user(config)
    connection = Connection(user, elasticsearch_credentials(user))
    return ElasticsearchErasure(connection, config.names)


def erase_everywhere(
    config: Config, sinks: Sequence[SinkConfig], records: Sequence[ErasedRecord], *, as_given: bool
) -> list[str]:
    """Delete them from quarantines, then from the sinks; one sentence for each problem."""
    from shippers.quarantine.erasure import erase_from_quarantines  # noqa: PLC0415  (as above)

    problems = []
    try:
        erase_from_quarantines(config.state_directory(), records)
    except (AuditLogError, OSError) as error:
        problems.append(f"quarantine: {error}")
    for sink in sinks:
        try:
            erasure = sink_erasure(sink, as_given=as_given)
        except (AuditLogError, OSError) as error:
            problems.append(str(error))
            continue
        try:
            problems += [f"sink {sink.name}: {each}" for each in erasure.erase(records)]
        finally:
            erasure.close()
    return problems
