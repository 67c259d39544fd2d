"""Delete the documents of erased records from Elasticsearch, by their ids.

A deleted document is out of searches after the next refresh, and out of the files of the cluster
after a merge.  An index that is blocked for writing keeps it: that is reported.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_erasure.py):
  by_id      exactly the documents of these records are deleted
  reported   a document that cannot be deleted is a problem; one that is not there is none
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson

from shippers.sinks.elasticsearch.bulk import index_name
from shippers.sinks.elasticsearch.connection import FAILURES, trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shippers.sinks.elasticsearch.connection import Connection
    from shippers.sinks.erasure import ErasedRecord

__all__ = ["ElasticsearchErasure"]

_BATCH: Final = 1000
_PARAMS: Final = {"filter_path": "items.delete.status,items.delete.error.type"}
_NDJSON: Final = {"Accept": "application/json", "Content-Type": "application/x-ndjson"}
_BLOCKED: Final = "cluster_block_exception"


class ElasticsearchErasure:
    """Erasure in one cluster, accessed as a user with the role auditlog_erasure."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix

    def erase(self, records: Sequence[ErasedRecord]) -> list[str]:
        problems: Counter[str] = Counter()
        for start in range(0, len(records), _BATCH):
            problems.update(self._erase(records[start : start + _BATCH]))
        return [f"{text} ({count} records)" for text, count in problems.items()]

    def _erase(self, records: Sequence[ErasedRecord]) -> list[str]:
        actions = [
            {
                "delete": {
                    "_index": index_name(self._prefix, each.day),
                    "_id": f"{each.log}:{each.seq}",
                }
            }
            for each in records
        ]
        body = b"".join(orjson.dumps(action) + b"\n" for action in actions)
        try:
            answer = self._connection.request("POST", "/_bulk", _PARAMS, _NDJSON, body)
        except FAILURES as error:
            return [f"not deleted: {trouble(error).reason}"] * len(records)
        items = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(items, list) or len(items) != len(records):
            return ["not deleted: the answer is not that of a bulk request"] * len(records)
        return [
            problem
            for item, each in zip(items, records, strict=True)
            if (problem := _problem(item, index_name(self._prefix, each.day)))
        ]

    def close(self) -> None:
        self._connection.close()


def _problem(item: Any, index: str) -> str:
    try:
        status = item["delete"]["status"]
        kind = str(item["delete"].get("error", {}).get("type", ""))
    except (KeyError, TypeError, AttributeError):
        return "not deleted: an item of the answer is none of a deletion"
    if status in (200, 404):  # 404: neither the document nor its index is there
        return ""
    if kind == _BLOCKED:
        return f"not deleted: the index {index} is blocked for writing; remove index.blocks.write"
    if status == 403:
        return "not deleted: the user may not; it needs the role auditlog_erasure"
    return f"not deleted: the server answered {status} {kind}".rstrip()
