"""Delete the documents of erased records from Elasticsearch, by their ids and hashes.

The stored hash is compared first: under the same id there may be the record of another host of the
same name.  A document that changes between the two is not deleted.

A deleted document is out of searches after the next refresh, and out of the files of the cluster
after a merge.  An index that is blocked for writing keeps it: that is reported.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_erasure.py):
  by_id      exactly the documents of these records are deleted
  ours       a record of the same id and another hash stays, and is told
  reported   a document that cannot be deleted is a problem; one that is not there is none
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson

from shippers.sinks.elasticsearch.connection import FAILURES, trouble
from shippers.sinks.erasure import ANOTHER_RECORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditlog.format.index_names import IndexNames
    from shippers.sinks.elasticsearch.connection import Connection
    from shippers.sinks.erasure import ErasedRecord

__all__ = ["ElasticsearchErasure"]

_BATCH: Final = 1000
_PARAMS: Final = {"filter_path": "items.delete.status,items.delete.error.type"}
_NDJSON: Final = {"Accept": "application/json", "Content-Type": "application/x-ndjson"}
_BLOCKED: Final = "cluster_block_exception"
_NO_INDEX: Final = "index_not_found_exception"
_SECURITY: Final = "security_exception"
_MAY_NOT: Final = "not deleted: the user may not; it needs the role auditlog_erasure"


class ElasticsearchErasure:
    """Erasure in one cluster, accessed as a user with the role auditlog_erasure."""

    def __init__(self, connection: Connection, names: IndexNames) -> None:
        self._connection = connection
        self._names = names

    def erase(self, records: Sequence[ErasedRecord]) -> list[str]:
        problems: Counter[str] = Counter()
        for start in range(0, len(records), _BATCH):
            problems.update(self._erase(records[start : start + _BATCH]))
        return [f"{text} ({count} records)" for text, count in problems.items()]

    def _erase(self, records: Sequence[ErasedRecord]) -> list[str]:
        problems: list[str] = []
        found: list[tuple[ErasedRecord, dict[str, Any]]] = []
        wanted = [{**self._place(each), "_source": ["hash"]} for each in records]
        try:
            answer = self._connection.request("POST", "/_mget", body=orjson.dumps({"docs": wanted}))
        except FAILURES as error:
            outcome = trouble(error)
            reason = f"not deleted: {outcome.reason}" if outcome.status != 403 else _MAY_NOT
            return [reason] * len(records)
        documents = answer.get("docs") if isinstance(answer, dict) else None
        if not isinstance(documents, list) or len(documents) != len(records):
            return ["not deleted: the answer is not that of a request by ids"] * len(records)
        for each, document in zip(records, documents, strict=True):
            if document.get("found"):
                if document.get("_source", {}).get("hash") == each.hash:
                    found.append((each, document))
                else:
                    problems.append(ANOTHER_RECORD)
            elif (kind := document.get("error", {}).get("type")) not in (None, _NO_INDEX):
                problems.append(_MAY_NOT if kind == _SECURITY else f"not deleted: {kind}")
        return problems + self._delete(found)

    def _place(self, record: ErasedRecord) -> dict[str, Any]:
        index = self._names.of(record.log, record.day)
        return {"_index": index, "_id": f"{record.log}:{record.seq}"}

    def _delete(self, found: Sequence[tuple[ErasedRecord, dict[str, Any]]]) -> list[str]:
        """Delete documents that still are what was read of them."""
        if not found:
            return []
        records = [each for each, _ in found]
        actions = [
            {
                "delete": {
                    **self._place(each),
                    "if_seq_no": document["_seq_no"],
                    "if_primary_term": document["_primary_term"],
                }
            }
            for each, document in found
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
            if (problem := _problem(item, self._names.of(each.log, each.day)))
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
        return _MAY_NOT
    if status == 409:
        return "not deleted: the document has changed meanwhile; run it again"
    return f"not deleted: the server answered {status} {kind}".rstrip()
