"""Delete old indices of sinks configured with ``index_delete_after``, and make tomorrow's.

It connects to a cluster as a separate user, who can only list, make and delete these indices.

At midnight the first bulk of each host waits for its index, and hundreds of shards take a cluster
most of a minute.  So the host that deletes indices makes those of tomorrow, if the fleet writes.

Invariants (tests of the same name in tests/auditctl/composition/test_index_retention.py):
  listed      every open index behind the prefix is listed, with its number of documents
  exact       only the index of exactly that name is deleted: never an alias, a pattern or a second
  own_user    it connects as index_delete_username, not as the user who ships
  ahead       tomorrow's indices are there before their day, unless the fleet is silent
  forgets     a sink whose index_delete_after was removed is announced when it has one again
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from auditctl.composition.archived import archived_segments
from auditctl.composition.sinks import elasticsearch_credentials, unanswered_hint
from auditctl.config.sinks import ElasticsearchConfig
from auditctl.errors import CommandFailed, ConfigError
from auditlog.errors import AuditLogError
from retention.memory import IndexRunStore
from retention.policy import IndexPolicy
from retention.service import run_index_retention
from retention.subjects import Index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditctl.config.model import Config
    from retention.plan import IndexPlan
    from retention.service import RunResult

__all__ = ["ElasticsearchIndices", "IndexRetention", "as_deleting_user"]

_logger = logging.getLogger("auditlog.retention")

_LISTED: Final = {
    "expand_wildcards": "open",
    "filter_path": "_shards.failed,indices.*.uuid,indices.*.primaries.docs.count,"
    "indices.*.total.store.size_in_bytes",
}
_HINT: Final = (
    "The user needs the role auditlog_index_retention of deploy/elasticsearch or deploy/opensearch."
)


class IndexRetention:
    """The index retention of a configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.sinks = tuple(
            sink
            for sink in config.sinks
            if isinstance(sink, ElasticsearchConfig) and sink.index_delete_after is not None
        )

    def run(
        self,
        sink: ElasticsearchConfig,
        now: dt.datetime,
        *,
        dry_run: bool = False,
        confirm: bool = False,
        simulated: bool = False,
        by: str = "schedule",
        stop: threading.Event | None = None,
    ) -> RunResult[IndexPlan]:
        """Run for one of ``sinks``.  Raises what run_index_retention raises, ConfigError."""
        cluster = ElasticsearchIndices(sink)
        try:
            return run_index_retention(
                self._config.directories,
                self._policy(sink),
                cluster,
                self._config.state_directory(),
                now,
                dry_run=dry_run,
                confirm=confirm,
                simulated=simulated,
                host=self._config.host,
                by=by,
                stop=stop,
                archived=archived_segments(self._config),
            )
        finally:
            cluster.close()

    def scheduled(self, now: dt.datetime, stop: threading.Event) -> Sequence[str]:
        """Run for each sink; return the error messages."""
        errors: list[str] = []
        try:
            self.forget_others()
        except (AuditLogError, OSError) as error:
            return [str(error)]
        for sink in self.sinks:
            if stop.is_set():
                break
            try:
                errors += self.run(sink, now, stop=stop).errors
                self.make_ahead(sink, now)
            except (AuditLogError, OSError) as error:
                errors.append(str(error))
        return errors

    def make_ahead(self, sink: ElasticsearchConfig, now: dt.datetime) -> list[str]:
        """Make the sink's indices of tomorrow, and return the names of the new ones.

        A user who may not do that is no error: the first bulk makes them.  Raises CommandFailed,
        ConfigError.
        """
        cluster = ElasticsearchIndices(sink)
        try:
            filled = {index.name: index.documents for index in cluster.indices()}
            yesterday, today, tomorrow = (
                sink.names.all_of((now + dt.timedelta(days=days)).date().isoformat())
                for days in (-1, 0, 1)
            )
            if not any(filled.get(name) for name in (*yesterday, *today)):
                return []  # the fleet is silent, which an empty index a day would hide
            wanted = [name for name in tomorrow if name not in filled]
            made = [name for name in wanted if cluster.create(name)]
        finally:
            cluster.close()
        if made:
            _logger.info("sink %s: %d indices of tomorrow were made", sink.name, len(made))
        return made

    def forget_others(self) -> None:
        """Forget the last runs of sinks that have no index_delete_after now."""
        if self._config.directories:
            store = IndexRunStore(self._config.state_directory())
            store.forget_others({sink.name for sink in self.sinks})

    def _policy(self, sink: ElasticsearchConfig) -> IndexPolicy:
        assert sink.index_delete_after is not None  # noqa: S101  (as all of ``sinks``)
        return IndexPolicy(
            sink.name,
            sink.urls,
            sink.index_prefix,
            sink.index_delete_after,
            self._config.policy.max_delete_fraction,
        )


def as_deleting_user(sink: ElasticsearchConfig) -> ElasticsearchConfig:
    """The sink, accessed as the user who may delete.  Raises ConfigError where it has none."""
    if sink.index_delete_username is not None or sink.index_delete_api_key_file is not None:
        return replace(
            sink,
            username=sink.index_delete_username,
            password_file=sink.index_delete_password_file,
            api_key_file=sink.index_delete_api_key_file,
            secrets={},
        )
    if sink.username is not None or sink.api_key_file is not None or sink.secrets:
        raise ConfigError(
            f"sinks.{sink.name}: deleting needs a user of its own",
            hint="Set index_delete_username and index_delete_password_file.",
        )
    return sink


class ElasticsearchIndices:
    """The daily indices of a sink's cluster, accessed as the user who may delete them.

    Raises ConfigError when a secret cannot be read.
    """

    def __init__(self, sink: ElasticsearchConfig) -> None:
        # Imported here since only who retains indices needs the client.
        from shippers.sinks.elasticsearch.connection import Connection  # noqa: PLC0415  (see above)

        sink = as_deleting_user(sink)
        self._sink = sink.name
        self._pattern = sink.names.pattern
        self._connection = Connection(sink, elasticsearch_credentials(sink))

    def close(self) -> None:
        self._connection.close()

    def indices(self) -> list[Index]:
        """List the open indices of the prefix; an alias is listed as the index behind it.

        Raises CommandFailed when a part of the answer is missing.
        """
        path = f"/{self._pattern}/_stats/docs,store"
        answer = self._ask("GET", path, _LISTED, "its indices cannot be listed")
        if answer.get("_shards", {}).get("failed", 1):
            raise CommandFailed(
                f"sink {self._sink}: not every shard of its indices answered",
                hint="Nothing was deleted. It is tried again with the next run.",
            )
        return [
            Index(
                name,
                str(found["uuid"]),
                int(found.get("primaries", {}).get("docs", {}).get("count", 0)),
                int(found.get("total", {}).get("store", {}).get("size_in_bytes", 0)),
            )
            for name, found in sorted(answer.get("indices", {}).items())
        ]

    def delete(self, name: str) -> None:
        """Delete an index, unless it is gone already.  Raises CommandFailed."""
        from elasticsearch import NotFoundError  # noqa: PLC0415  (as in __init__)

        try:
            self._ask("DELETE", f"/{name}", {"expand_wildcards": "none"}, f"{name} was not deleted")
        except CommandFailed as failed:
            if not isinstance(failed.__cause__, NotFoundError):
                raise

    def create(self, name: str) -> bool:
        """Make an index from its template; false when it is there, or this user may not.

        Raises CommandFailed.
        """
        from elasticsearch import AuthorizationException, BadRequestError  # noqa: PLC0415  (as in __init__)

        try:
            self._ask("PUT", f"/{name}", {}, f"{name} was not made")
        except CommandFailed as failed:
            if isinstance(failed.__cause__, AuthorizationException | BadRequestError):
                _logger.debug("%s", failed)
                return False
            raise
        return True

    def _ask(self, method: str, path: str, params: dict[str, str], failed: str) -> dict[str, Any]:
        from shippers.sinks.elasticsearch.connection import FAILURES, trouble  # noqa: PLC0415  (as in __init__)

        try:
            answer = self._connection.request(method, path, params)
        except FAILURES as error:
            found = trouble(error)
            raise CommandFailed(
                f"sink {self._sink}: {failed} ({found.reason})",
                hint=unanswered_hint(found.status, _HINT),
            ) from error
        if not isinstance(answer, dict):
            raise CommandFailed(f"sink {self._sink}: {failed} (the answer is not an object)")
        return answer
