"""Summarise every log in a sink: one Elasticsearch aggregation, or SQLite queries.

Nothing but the sink is asked: neither the hosts nor their files are reachable from everywhere.
Needs the role auditlog_auditor (read) of the sink's user.

Invariants (tests of the same name in tests/auditctl/fleet/test_sources.py):
  summaries   the figures of a log are those of the records that were shipped
  counts      a range's count and sum are those of the records in it
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

import orjson

from auditctl.composition.sinks import elasticsearch_credentials
from auditctl.config.sinks import ElasticsearchConfig
from auditctl.errors import CommandFailed
from auditctl.fleet.judgement import LogSummary
from auditctl.fleet.ranges import RangeCount
from auditlog.format.record import parse_timestamp
from shippers.sinks.elasticsearch.connection import FAILURES, Connection, trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditctl.config.sinks import SinkConfig

__all__ = ["FleetSource", "open_source"]

_PAGE: Final = 10_000
_BUSY_SECONDS: Final = 5.0


class FleetSource(Protocol):
    """A sink that can be asked about all of its logs.  Each method raises CommandFailed."""

    def summaries(self) -> Iterator[LogSummary]:
        """Every log that has a record here, in no order."""

    def counts(self, log: str, ranges: Sequence[tuple[int, int]]) -> list[RangeCount]:
        """Count the records of one log in each range of seq, both ends included."""

    def close(self) -> None:
        """Release the connection."""


def open_source(config: SinkConfig) -> FleetSource:
    """Connect to the sink.  Raises CommandFailed, ConfigError, SinkRefused."""
    if isinstance(config, ElasticsearchConfig):
        connection = Connection(config, elasticsearch_credentials(config))
        return _Elasticsearch(connection, config.names.pattern, config.address)
    return _Sqlite(config.path)


class _Elasticsearch:
    def __init__(self, connection: Connection, pattern: str, address: str) -> None:
        self._connection = connection
        self._path = f"/{pattern}/_search"
        self._address = address

    def summaries(self) -> Iterator[LogSummary]:
        by_log: dict[str, Any] = {
            "size": _PAGE,
            "sources": [{"log": {"terms": {"field": "log"}}}],
        }
        aggregations = {
            "seq": {"stats": {"field": "seq"}},
            "last": {"max": {"field": "@timestamp", "format": "strict_date_optional_time_nanos"}},
        }
        while True:
            body = {"size": 0, "aggs": {"by_log": {"composite": by_log, "aggs": aggregations}}}
            found = self._ask(body).get("by_log", {"buckets": []})
            for bucket in found["buckets"]:
                seq = bucket["seq"]
                yield LogSummary(
                    bucket["key"]["log"],
                    bucket["doc_count"],
                    int(seq["min"]),
                    int(seq["max"]),
                    int(seq["sum"]),
                    dt.datetime.fromtimestamp(bucket["last"]["value"] / 1000, dt.UTC),
                )
            if "after_key" not in found:
                return
            by_log["after"] = found["after_key"]

    def counts(self, log: str, ranges: Sequence[tuple[int, int]]) -> list[RangeCount]:
        filters = [{"range": {"seq": {"gte": first, "lte": last}}} for first, last in ranges]
        body = {
            "size": 0,
            "query": {"term": {"log": log}},
            "aggs": {
                "parts": {
                    "filters": {"filters": filters},
                    "aggs": {"seq": {"sum": {"field": "seq"}}},
                }
            },
        }
        buckets = self._ask(body)["parts"]["buckets"]
        return [RangeCount(bucket["doc_count"], int(bucket["seq"]["value"])) for bucket in buckets]

    def close(self) -> None:
        self._connection.close()

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        params = {
            "ignore_unavailable": "true",
            "allow_no_indices": "true",
            "allow_partial_search_results": "false",
        }
        try:
            answer = self._connection.request("POST", self._path, params, body=orjson.dumps(body))
        except FAILURES as error:
            raise CommandFailed(
                f"{self._address}: the fleet cannot be read: {trouble(error).reason}",
                hint="Check address and credentials; reading needs the role auditlog_auditor.",
            ) from error
        aggregations: dict[str, Any] = answer.get("aggregations", {})
        return aggregations


class _Sqlite:
    def __init__(self, path: Path) -> None:
        self._path = path
        with self._explained():
            uri = f"file:{quote(str(path))}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)

    def summaries(self) -> Iterator[LogSummary]:
        statement = (
            "SELECT log, count(*), min(seq), max(seq), sum(seq), max(at) FROM records GROUP BY log"
        )
        with self._explained():
            rows = self._connection.execute(statement).fetchall()
        for log, records, first_seq, last_seq, seq_sum, last_at in rows:
            yield LogSummary(log, records, first_seq, last_seq, seq_sum, parse_timestamp(last_at))

    def counts(self, log: str, ranges: Sequence[tuple[int, int]]) -> list[RangeCount]:
        statement = (
            "SELECT count(*), coalesce(sum(seq), 0) FROM records"
            " WHERE log = ? AND seq BETWEEN ? AND ?"
        )
        with self._explained():
            return [
                RangeCount(*self._connection.execute(statement, (log, *ends)).fetchone())
                for ends in ranges
            ]

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CommandFailed(
                f"the fleet cannot be read ({error})",
                path=self._path,
                hint="Name the SQLite file that `ship --to` or a sink of kind sqlite writes.",
            ) from error
