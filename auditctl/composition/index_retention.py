"""Retention of daily indices: the sinks that have an ``index_delete_after``, and their clusters.

It speaks to a cluster as a user of its own, who can list and delete these indices and nothing else.

Invariants (tests of the same name in tests/auditctl/composition/test_index_retention.py):
  listed      every open index behind the prefix is listed, with its documents counted
  exact       what is deleted is the index of that name: never an alias, a pattern or a second one
  own_user    it speaks as the user of index_delete_username, not as the one who ships
  forgets     a sink that has no index_delete_after any more is announced when it has one again
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from auditctl.composition.sinks import elasticsearch_credentials, unanswered_hint
from auditctl.config.sinks import ElasticsearchConfig
from auditctl.errors import CommandFailed, ConfigError
from auditlog.errors import AuditLogError
from retention.index_memory import IndexRunStore
from retention.index_plan import IndexFacts, IndexPolicy
from retention.index_run import run_index_retention

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from auditctl.config.model import Config
    from retention.index_run import IndexResult

__all__ = ["ElasticsearchIndices", "IndexRetention"]

_LISTED: Final = {
    "expand_wildcards": "open",
    "filter_path": "_shards.failed,indices.*.uuid,indices.*.primaries.docs.count,"
    "indices.*.total.store.size_in_bytes",
}
_HINT: Final = "The user needs the role in deploy/elasticsearch/role-auditlog_index_retention.json."


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
    ) -> IndexResult:
        """One run for one of ``sinks``.  Raises as run_index_retention, ConfigError."""
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
            )
        finally:
            cluster.close()

    def scheduled(self, now: dt.datetime, stop: threading.Event) -> Sequence[str]:
        """A run for each sink by the clock; what failed, a sentence each."""
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
            except (AuditLogError, OSError) as error:
                errors.append(str(error))
        return errors

    def forget_others(self) -> None:
        """Let a sink that has no index_delete_after now be announced when it has one again."""
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


class ElasticsearchIndices:
    """The daily indices of a sink's cluster, as the user who may delete them.

    Raises ConfigError when a secret cannot be read.
    """

    def __init__(self, sink: ElasticsearchConfig) -> None:
        # Imported here since only who retains indices needs the client.
        from shippers.sinks.elasticsearch.connection import Connection  # noqa: PLC0415  (see above)

        if sink.index_delete_username is not None or sink.index_delete_api_key_file is not None:
            sink = replace(
                sink,
                username=sink.index_delete_username,
                password_file=sink.index_delete_password_file,
                api_key_file=sink.index_delete_api_key_file,
                secrets={},
            )
        elif sink.username is not None or sink.api_key_file is not None or sink.secrets:
            raise ConfigError(f"sinks.{sink.name}: index_delete_after needs a user of its own")
        self._sink = sink.name
        self._prefix = sink.index_prefix
        self._connection = Connection(sink, elasticsearch_credentials(sink))

    def close(self) -> None:
        self._connection.close()

    def indices(self) -> list[IndexFacts]:
        """What begins like the pattern and is open; an alias is listed as the index behind it.

        Raises CommandFailed when the cluster does not tell it whole.
        """
        path = f"/{self._prefix}-*/_stats/docs,store"
        answer = self._ask("GET", path, _LISTED, "its indices cannot be listed")
        if answer.get("_shards", {}).get("failed", 1):
            raise CommandFailed(
                f"sink {self._sink}: not every shard of its indices answered",
                hint="Nothing was deleted. It is tried again with the next run.",
            )
        return [
            IndexFacts(
                name,
                str(found["uuid"]),
                int(found.get("primaries", {}).get("docs", {}).get("count", 0)),
                int(found.get("total", {}).get("store", {}).get("size_in_bytes", 0)),
            )
            for name, found in sorted(answer.get("indices", {}).items())
        ]

    def delete(self, name: str) -> None:
        """Raises CommandFailed; an index that is gone already is no error."""
        from elasticsearch import NotFoundError  # noqa: PLC0415  (as in __init__)

        try:
            self._ask("DELETE", f"/{name}", {"expand_wildcards": "none"}, f"{name} was not deleted")
        except CommandFailed as failed:
            if not isinstance(failed.__cause__, NotFoundError):
                raise

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
            raise CommandFailed(f"sink {self._sink}: {failed} (the answer is no object)")
        return answer
