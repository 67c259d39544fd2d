"""Indices of Elasticsearch to ship to."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

from benchmarks.backlog import indexed
from shippers.sinks.elasticsearch.index_template import index_template
from tests.support.elasticsearch import Cluster, request

__all__ = ["Indices"]

_OURS = {"term": {"log": "queen-rbee@h"}}
"""The backlog's log alone; an agent that signs ships another."""


class Indices:
    """All whose names begin with a new ``prefix``, for which there is a template."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"bench-{uuid.uuid4().hex[:8]}"
        self._pattern = f"{self.prefix}-*"
        request(
            url, "PUT", f"/_index_template/{self.prefix}", index_template(self.prefix, replicas=0)
        )

    def count(self) -> int:
        """Return how many documents were taken, searchable or not yet.

        The server is not asked to refresh: many small segments would slow down whoever has ids of
        its own, which are looked up in each of them.
        """
        return indexed(self.url, self._pattern)

    def copies(self) -> Counter[int]:
        request(self.url, "POST", f"/{self._pattern}/_refresh")
        found: Counter[int] = Counter()
        query: dict[str, Any] = {"size": 10_000, "query": _OURS, "_source": ["seq"]}
        status, answer = request(self.url, "POST", f"/{self._pattern}/_pit?keep_alive=5m")
        if status != 200:
            raise RuntimeError(f"no point in time: {status}")
        query["pit"] = {"id": answer["id"], "keep_alive": "5m"}
        query["sort"] = ["seq", "_shard_doc"]
        while True:
            _, answer = request(self.url, "POST", "/_search?filter_path=hits.hits,pit_id", query)
            hits = answer.get("hits", {}).get("hits", [])
            if not hits:
                return found
            found.update(hit["_source"]["seq"] for hit in hits)
            query["search_after"] = hits[-1]["sort"]

    def forget(self) -> None:
        Cluster(self.url).forget(self.prefix)
