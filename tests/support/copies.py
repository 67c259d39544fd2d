"""Sinks that a test can tamper with behind their backs, of every kind.

copy = Copy.sqlite(path)  |  Copy.elasticsearch(cluster, prefix)
copy.sink().deliver(...)  copy.read_back()
copy.remove(id)  copy.change(id, day, lines)  copy.put(id, day, line)
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import orjson

from auditlog.format.record import parse_header
from shippers.sinks.elasticsearch.connection import Connection
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.read_back import ElasticsearchReadBack
from shippers.sinks.elasticsearch.sink import ElasticsearchSink
from shippers.sinks.protocol import Sink
from shippers.sinks.read_back import ReadBack
from shippers.sinks.sqlite.read_back import SqliteReadBack
from shippers.sinks.sqlite.sink import SqliteSink
from tests.support.elasticsearch import Cluster, request

__all__ = ["Copy"]


@dataclass
class Copy:
    """One sink; ``cluster`` is None for a SQLite file."""

    place: str
    cluster: Cluster | None = None

    @property
    def options(self) -> ElasticsearchOptions:
        assert self.cluster is not None
        return ElasticsearchOptions(urls=(self.cluster.url,), index_prefix=self.place, replicas=0)

    def sink(self) -> Sink:
        if self.cluster is None:
            return SqliteSink("main", self.place)
        return ElasticsearchSink("main", self.options)

    def read_back(self) -> ReadBack:
        if self.cluster is None:
            return SqliteReadBack(self.place)
        return ElasticsearchReadBack(Connection(self.options))

    def lines(self) -> dict[str, bytes]:
        """Everything that is there, by id."""
        if self.cluster is None:
            with sqlite3.connect(self.place) as connection:
                rows = connection.execute("SELECT log, seq, line FROM records").fetchall()
            connection.close()
            return {f"{log}:{seq}": line for log, seq, line in rows}
        hits = self.cluster.documents(f"{self.place}-*")
        return {name: orjson.dumps(hit["_source"]) + b"\n" for name, hit in hits.items()}

    def remove(self, name: str, day: str) -> None:
        if self.cluster is None:
            log, _, seq = name.rpartition(":")
            self._sql("DELETE FROM records WHERE log = ? AND seq = ?", log, int(seq))
        else:
            self._ask("DELETE", f"/{self._index(day)}/_doc/{name}?refresh=true")

    def put(self, name: str, day: str, line: bytes) -> None:
        """A document under this id, in place of the one there is."""
        if self.cluster is None:
            log, _, seq = name.rpartition(":")
            header = parse_header(line)
            fields = ("x", "x", "x") if header is None else (
                header.timestamp, header.event_type, header.hash)  # fmt: skip
            self._sql(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?)",
                log, int(seq), day, *fields, line,
            )  # fmt: skip
        else:
            self._ask("PUT", f"/{self._index(day)}/_doc/{name}?refresh=true", orjson.loads(line))

    def _index(self, day: str) -> str:
        return f"{self.place}-{day.replace('-', '.')}"

    def _sql(self, statement: str, *values: object) -> None:
        connection = sqlite3.connect(self.place)
        with connection:
            assert connection.execute(statement, values).rowcount == 1
        connection.close()

    def _ask(self, method: str, path: str, body: object = None) -> None:
        assert self.cluster is not None
        status, answer = request(self.cluster.url, method, path, body)
        assert status in (200, 201), answer
