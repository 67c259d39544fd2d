"""Query the demo's sink directly, bypassing the shipper."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from auditctl.demo.stage import DemoFailed

__all__ = ["INDEX_PREFIX", "ElasticsearchView", "SinkView", "SqliteView", "view"]


_STARTING = 503
"""The answer of a cluster while the shards of a new index are about to start."""

INDEX_PREFIX = "llama-orch-demo"
"""Indices of the demo's own: what it ships must not end up among real records."""


class SinkView(Protocol):
    def count(self) -> int:
        """The number of documents in the sink."""
        ...

    def documents(self) -> Counter[tuple[str, int, str]]:
        """Return (log, seq, hash) of every document, with the number of its copies."""
        ...


def view(target: str) -> SinkView:
    return ElasticsearchView(target) if target.startswith("http") else SqliteView(Path(target))


class SqliteView:
    def __init__(self, path: Path) -> None:
        self._path = path

    def _rows(self, query: str) -> list[Any]:
        if not self._path.exists():
            return []
        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []  # the shipper is about to make the table
        finally:
            connection.close()

    def count(self) -> int:
        rows = self._rows("SELECT count(*) FROM records")
        return int(rows[0][0]) if rows else 0

    def documents(self) -> Counter[tuple[str, int, str]]:
        return Counter(map(tuple, self._rows("SELECT log, seq, hash FROM records")))


class ElasticsearchView:
    _PATTERN = f"{INDEX_PREFIX}-*"

    def __init__(self, url: str) -> None:
        from elasticsearch import Elasticsearch  # noqa: PLC0415  (only this sink needs it)

        self._url = url
        self._client = Elasticsearch(url, request_timeout=30, max_retries=0)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        from elasticsearch import ApiError, TransportError  # noqa: PLC0415  (as above)

        try:
            yield
        except (ApiError, TransportError) as error:
            raise DemoFailed(
                f"{self._url}: it does not answer as an Elasticsearch: {type(error).__name__}"
                f" ({error.message})",
                hint="Start one there that needs no credentials, or leave --sink out.",
            ) from error

    def count(self) -> int:
        from elasticsearch import ApiError  # noqa: PLC0415  (as above)

        with self._asking():
            self._client.indices.refresh(index=self._PATTERN, ignore_unavailable=True)
            try:
                found = self._client.count(index=self._PATTERN, ignore_unavailable=True)
            except ApiError as error:
                if error.status_code != _STARTING:
                    raise
                return 0
        return int(found["count"])

    def documents(self) -> Counter[tuple[str, int, str]]:
        found: Counter[tuple[str, int, str]] = Counter()
        after: list[Any] | None = None
        with self._asking():
            self._client.indices.refresh(index=self._PATTERN)
            while hits := self._page(after):
                after = hits[-1]["sort"]
                for hit in hits:
                    source = hit["_source"]
                    found[source["log"], source["seq"], source["hash"]] += 1
        return found

    def _page(self, after: list[Any] | None) -> list[Any]:
        answer = self._client.search(
            index=self._PATTERN,
            size=5000,
            sort=[{"log": "asc"}, {"seq": "asc"}, {"hash": "asc"}],
            source_includes=["log", "seq", "hash"],
            search_after=after,
            track_total_hits=False,
        )
        hits: list[Any] = answer["hits"]["hits"]
        return hits
