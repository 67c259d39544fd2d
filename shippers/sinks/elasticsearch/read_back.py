"""Read records back from a cluster, page by page, over a point in time.

Needs the privileges read and view_index_metadata on the indices and nothing else; in particular not
refresh: ``fetch`` reads by id what a search cannot see yet.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Final

import elasticsearch
import orjson

from auditlog.format.json_text import encoded
from shippers.backoff import Backoff
from shippers.errors import SinkRefused
from shippers.sinks.elasticsearch.bulk import document_id
from shippers.sinks.elasticsearch.connection import FAILURES, is_something_else, trouble
from shippers.sinks.read_back import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from auditlog.format.record import Header
    from shippers.sinks.elasticsearch.connection import Connection
    from shippers.sinks.elasticsearch.product import Product

__all__ = ["ElasticsearchReadBack"]

_PAGE: Final = 1000
_KEEP_ALIVE: Final = "5m"
_PITS: Final[Mapping[Product, tuple[str, str]]] = {
    "elasticsearch": ("_pit", "id"),
    "opensearch": ("_search/point_in_time", "pit_id"),
}
"""The API of a point in time, and the member of its answer that has the id."""
_ATTEMPTS: Final = 6
_NAMED: Final = 10
_PASSING: Final = frozenset({429, 502, 503, 504})
_BY_DAY: Final = {
    "date_histogram": {
        "field": "@timestamp",
        "calendar_interval": "day",
        "format": "yyyy-MM-dd",
        "min_doc_count": 1,
    }
}


class ElasticsearchReadBack:
    """Reads the indices of one prefix.  The connection stays the caller's until ``close``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._names = connection.options.names
        self._backoff = Backoff()
        self._rng = random.Random()  # noqa: S311  (jitter, no secret)

    @property
    def address(self) -> str:
        return self._connection.options.address

    def close(self) -> None:
        self._connection.close()

    def refresh(self) -> None:
        try:
            self._connection.request("POST", f"/{self._names.pattern}/_refresh")
        except FAILURES:
            return  # readers need not be allowed to; ``fetch`` finds what is not searchable yet

    def days(self, log: str) -> list[str]:
        found: set[str] = set()
        daily = self._names.period == "day"
        group = {"terms": {"field": "_index", "size": 10_000}} if daily else _BY_DAY
        body = {"size": 0, "query": {"term": {"log": log}}, "aggs": {"by_day": group}}
        answer = self._search(f"/{self._names.pattern}", body)
        if answer is None or "aggregations" not in answer:
            return []
        for bucket in answer["aggregations"]["by_day"]["buckets"]:
            if not daily:
                found.add(bucket["key_as_string"])
            elif (days := self._names.days(bucket["key"])) is not None and days[0] == days[1]:
                found.add(days[0].isoformat())
            else:
                # An index that is none of ours, and yet has the log.
                found.add(bucket["key"].removeprefix(f"{self._names.plain}-"))
        return sorted(found)

    def read(self, log: str, day: str) -> Iterator[Stored]:
        index = self._names.of(log, day)
        api, name = self._pit_api()
        opened = self._ask("POST", f"/{index}/{api}", params={"keep_alive": _KEEP_ALIVE})
        if opened is None:
            return
        pit = opened[name]
        body: dict[str, Any] = {
            "size": _PAGE,
            "query": {"bool": {"filter": [{"term": {"log": log}}, *self._of_day(day)]}},
            "sort": [{"seq": "asc"}],  # a point in time adds _shard_doc, so no two are alike
            "track_total_hits": False,
        }
        try:
            while True:
                body["pit"] = {"id": pit, "keep_alive": _KEEP_ALIVE}
                answer = self._search("", body)
                if answer is None:
                    raise self._refused("the index was deleted while it was read")
                pit = answer.get("pit_id", pit)
                hits = answer["hits"]["hits"]
                for hit in hits:
                    yield _stored(hit, hit["sort"][0])
                if len(hits) < _PAGE:
                    return
                body["search_after"] = hits[-1]["sort"]
        finally:
            self._forget(pit)

    def fetch(self, headers: Sequence[Header]) -> list[Stored | None]:
        wanted = [{"_index": self._names.of(h.log, h.day), "_id": document_id(h)} for h in headers]
        body = orjson.dumps({"docs": wanted})
        answer = self._ask("POST", "/_mget", body=body) if wanted else None
        documents = (answer or {}).get("docs", [])
        found: list[Stored | None] = []
        for header, document in zip(headers, documents, strict=True):
            kind = document.get("error", {}).get("type")
            if kind not in (None, "index_not_found_exception"):
                raise self._refused(f"a record cannot be read by its id ({kind})")
            found.append(_stored(document, header.seq) if document.get("found") else None)
        return found

    def strangers(self) -> tuple[int, list[str]]:
        query = {"bool": {"must_not": [{"exists": {"field": "log"}}]}}
        body = {"size": _NAMED, "query": query, "_source": False, "track_total_hits": True}
        answer = self._search(f"/{self._names.pattern}", body)
        if answer is None:
            return 0, []
        hits = answer["hits"]
        return hits["total"]["value"], [f"{hit['_index']}/{hit['_id']}" for hit in hits["hits"]]

    def _of_day(self, day: str) -> list[dict[str, Any]]:
        """The filter of a day; an index of one day has no other records."""
        if self._names.period == "day":
            return []
        return [{"range": {"@timestamp": {"gte": f"{day}||/d", "lte": f"{day}||/d"}}}]

    def _search(self, path: str, body: dict[str, Any]) -> Any:
        params = {"allow_partial_search_results": "false"}
        answer = self._ask("POST", f"{path}/_search", orjson.dumps(body), params)
        if answer is not None and (answer.get("timed_out") or answer["_shards"]["failed"]):
            raise self._refused("not every shard answered")
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        params: dict[str, str] | None = None,
    ) -> Any:
        """The answer; None where there is no such index.  A busy cluster is asked again."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._connection.request(method, path, params, body=body)
            except elasticsearch.NotFoundError:
                return None
            except FAILURES as error:
                outcome = trouble(error)
                passing = outcome.status is None or outcome.status in _PASSING
                if not passing or is_something_else(error) or attempt == _ATTEMPTS:
                    raise self._refused(outcome.reason) from error
                time.sleep(self._backoff.delay(attempt, self._rng).total_seconds())
        raise AssertionError("the last attempt returns or raises")

    def _pit_api(self) -> tuple[str, str]:
        try:
            return _PITS[self._connection.product()]
        except FAILURES as error:
            raise self._refused(trouble(error).reason) from error

    def _forget(self, pit: str) -> None:
        try:
            api, name = self._pit_api()
            # OpenSearch takes a list, and names it like the one.
            body = orjson.dumps({name: pit if name == "id" else [pit]})
            self._connection.request("DELETE", f"/{api}", body=body)
        except FAILURES:
            return  # it ends by itself when its time is over

    def _refused(self, reason: str) -> SinkRefused:
        return SinkRefused(
            f"{self.address}: {self._names.pattern} cannot be read back: {reason}",
            hint="Check the sink's urls; the user needs the role auditlog_auditor of"
            " deploy/elasticsearch or deploy/opensearch.",
        )


def _stored(hit: dict[str, Any], seq: Any) -> Stored:
    # Members come in the order in which they were sent, and numbers as they were written.
    return Stored(hit["_id"], seq if type(seq) is int else 0, encoded(hit["_source"]) + b"\n")
