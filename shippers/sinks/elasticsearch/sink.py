"""Deliver into Elasticsearch 8.19 or 9, or OpenSearch 2.19, over its bulk API.

An answer that neither proves nor refuses a single item is RETRY for all of them: connection,
timeout, 429, 5xx, credentials, index blocks.  There are two exceptions.  After 413 the request is
halved, down to one item.  After 409 a document is a duplicate, since its id is made of its content;
for a record the stored hash decides between a duplicate and tampering.

A request that timed out or was reset may have been too large for the way to the server, so the next
ones have half its size, and grow again slowly.

A record of an index that retention deleted is final and is not sent, since a create would make the
index again.

The client's own retries are off: one deliver is one attempt, and the caller waits between two.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import elasticsearch
import orjson

from auditlog.errors import AuditLogError
from auditlog.format.record import Header
from shippers.errors import SinkRefused
from shippers.item import Document, Item
from shippers.outcome import (
    DUPLICATE,
    RETIRED,
    DeliveryOutcome,
    quarantined,
    retry,
    tampered,
    unverified_duplicate,
)
from shippers.sinks.elasticsearch.bulk import (
    CONFLICT,
    PARAMS,
    bulk_body,
    document_id,
    index_of,
    judge,
)
from shippers.sinks.elasticsearch.connection import (
    FAILURES,
    Connection,
    Credentials,
    is_something_else,
    trouble,
    was_cut_off,
)
from shippers.sinks.elasticsearch.document_template import template_for
from shippers.sinks.elasticsearch.options import ElasticsearchOptions

__all__ = ["ElasticsearchSink"]

_logger = logging.getLogger("auditlog.shippers.elasticsearch")

_LEAST_BODY_BYTES: Final = 1 << 14
_NEWEST_OPENED: Final = 10
_PASSING: Final = frozenset({401, 429, 502, 503, 504})
_GROWTH: Final = 16  # grows by a sixteenth with every accepted body

_NDJSON: Final = {"Accept": "application/json", "Content-Type": "application/x-ndjson"}


class ElasticsearchSink:
    """A cluster as a sink.  Thread-safe.

    ``credentials`` is called at once, and again when the cluster refuses what it gave; ``retired``
    before every request, for the names of the indices that retention deleted.  Raises
    SinkRefused for certificates that cannot be used, and what ``credentials`` raises.
    """

    def __init__(
        self,
        name: str,
        options: ElasticsearchOptions,
        credentials: Callable[[], Credentials] = Credentials,
        *,
        retired: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self.name = name
        self.address = options.address
        self.max_in_flight = options.max_in_flight
        self.connection = Connection(options, credentials)
        self._options = options
        self._names = options.names
        self._retired = retired
        self._max_body_bytes = options.max_body_bytes
        self._body_bytes = options.max_body_bytes  # smaller after requests that were cut off
        self._prepared: set[str] = set()  # sources whose template was looked at
        self._template_lock = threading.Lock()
        self._logged: set[str] = set()

    def __repr__(self) -> str:
        return f"ElasticsearchSink({self.name!r}, {self.address!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    def deliver(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        try:
            self._prepare(items)
        except FAILURES as error:
            return [self._troubled(error)] * len(items)
        return self._deliver_part(items)

    def installations(self, log: str) -> frozenset[str]:
        tolerant = {"ignore_unavailable": "true", "allow_no_indices": "true"}
        filters = [{"term": {"log": log}}, {"term": {"event_type": "log.opened"}}]
        body = {
            "size": _NEWEST_OPENED,
            "query": {"bool": {"filter": filters}},
            "sort": [{"seq": {"order": "desc", "unmapped_type": "long"}}],
            "track_total_hits": False,
        }
        try:
            answer = self.connection.request(
                "POST",
                f"/{self._options.names.pattern}/_search",
                tolerant,
                body=orjson.dumps(body),
            )
        except FAILURES as error:
            outcome = self._troubled(error)
            passing = outcome.status is None or outcome.status in _PASSING
            if passing or is_something_else(error):
                raise SinkRefused(outcome.reason) from error
            self._log_once(
                "installations",
                "%s: this user may not read, so two hosts of one name are not told apart before "
                "their records are sent (%s)",
                self.address,
                outcome.reason,
            )
            return frozenset()
        hits = answer.get("hits", {}).get("hits", []) if isinstance(answer, dict) else []
        named = (hit.get("_source", {}).get("details", {}).get("installation") for hit in hits)
        return frozenset(each for each in named if isinstance(each, str))

    # -- index templates -------------------------------------------------------------------

    def _prepare(self, items: Sequence[Item]) -> None:
        """Put a source's template before its first item, whose mapping would be guessed."""
        if not self._options.manage_template:
            return
        needed = {item.source if isinstance(item, Document) else "" for item in items}
        if needed <= self._prepared:
            return
        with self._template_lock:
            for source in needed - self._prepared:
                self._put_template(source)
                self._prepared.add(source)

    def _put_template(self, source: str) -> None:
        """Put the template of a source ("": of the audit logs) if it is missing or older."""
        name, body = template_for(self._options, source, self.connection.product())
        path = f"/_index_template/{name}"
        try:
            if self._present_version(path) < body["version"]:
                self.connection.request("PUT", path, body=orjson.dumps(body))
        except elasticsearch.AuthorizationException:
            # As it should be with the least role; `auditctl setup` says whether it is there.
            _logger.info(
                "%s: the index template %s is left to auditctl setup, since this user may not "
                "manage index templates",
                self.address,
                name,
            )

    def _present_version(self, path: str) -> int:
        try:
            answer = self.connection.request("GET", path)
        except elasticsearch.NotFoundError:
            return 0
        templates = answer.get("index_templates") or [{}]
        return int(templates[0].get("index_template", {}).get("version") or 0)

    # -- requests --------------------------------------------------------------------------

    def _deliver_part(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        """Before each request: a create would make an index again that retention deleted."""
        if retired := self._retired():
            gone = [index_of(item, self._names) in retired for item in items]
            if any(gone):
                sent = [item for item, skip in zip(items, gone, strict=True) if not skip]
                outcomes = iter(self._send(sent) if sent else ())
                return [RETIRED if skip else next(outcomes) for skip in gone]
        return self._send(items)

    def _send(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        body = bulk_body(items, self._names)
        if len(body) > self._body_bytes and len(items) > 1:
            return self._halve(items)
        try:
            response = self.connection.request("POST", "/_bulk", PARAMS, _NDJSON, body)
        except FAILURES as error:
            if isinstance(error, elasticsearch.ApiError) and error.status_code == 413:
                if len(items) == 1:
                    return [quarantined("the server refuses this one record as too large", 413)]
                self._max_body_bytes = min(self._max_body_bytes, len(body) // 2)
                self._body_bytes = min(self._body_bytes, self._max_body_bytes)
                return self._halve(items)
            if was_cut_off(error):  # the next attempt is smaller
                self._body_bytes = min(self._body_bytes, max(_LEAST_BODY_BYTES, len(body) // 2))
            return [self._troubled(error)] * len(items)
        if 2 * len(body) >= self._body_bytes:
            grown = self._body_bytes + self._body_bytes // _GROWTH
            self._body_bytes = min(self._max_body_bytes, grown)
        outcomes = judge(items, response)
        if any(outcome is CONFLICT for outcome in outcomes):
            self._resolve(items, outcomes)
        return outcomes

    def _halve(self, items: Sequence[Item]) -> list[DeliveryOutcome]:
        middle = len(items) // 2
        first = self._deliver_part(items[:middle])
        if not any(outcome.final for outcome in first):
            return first + [first[-1]] * (len(items) - middle)  # the rest would fail as well
        return first + self._deliver_part(items[middle:])

    def _troubled(self, error: BaseException) -> DeliveryOutcome:
        outcome = trouble(error)
        if outcome.status == 401:
            # The secret may have been rotated: the next attempt uses what the file holds by then.
            try:
                self.connection.renew()
            except (AuditLogError, OSError) as unreadable:
                self._log_once("renew", "sink %s: %s", self.name, unreadable)
        return outcome

    # -- conflicts -------------------------------------------------------------------------

    def _resolve(self, items: Sequence[Item], outcomes: list[DeliveryOutcome]) -> None:
        """Replace each conflict.  The id of a document is made of its content, so it is there; of
        a record the stored hash is compared."""
        conflicts: list[tuple[int, Header]] = []
        for index, outcome in enumerate(outcomes):
            if outcome is CONFLICT:
                item = items[index]
                outcomes[index] = DUPLICATE
                if not isinstance(item, Document) and item.header is not None:
                    conflicts.append((index, item.header))
        if not conflicts:
            return
        names = self._names
        wanted = [
            {"_index": names.of(h.log, h.day), "_id": document_id(h), "_source": ["hash"]}
            for _, h in conflicts
        ]
        try:
            answer = self.connection.request("POST", "/_mget", body=orjson.dumps({"docs": wanted}))
        except FAILURES as error:
            if isinstance(error, elasticsearch.AuthorizationException):
                self._log_unverified()
                failed = unverified_duplicate(403)
            else:
                failed = trouble(error)
            for index, _ in conflicts:
                outcomes[index] = failed
            return
        documents = answer.get("docs") if isinstance(answer, dict) else None
        if not isinstance(documents, list) or len(documents) != len(conflicts):
            documents = [{}] * len(conflicts)
        for (index, header), document in zip(conflicts, documents, strict=True):
            outcomes[index] = self._compare(document_id(header), header.hash, document)

    def _compare(self, sent_id: str, sent_hash: str, document: Any) -> DeliveryOutcome:
        if not isinstance(document, dict) or document.get("_id") != sent_id:
            return retry("the stored record could not be read back for comparison")
        error = document.get("error")
        if isinstance(error, dict):
            if error.get("type") == "security_exception":
                self._log_unverified()
                return unverified_duplicate(403)
            return retry(f"the stored record could not be read back ({error.get('type')})")
        if not document.get("found"):
            return retry("the record was there when it was sent and is gone now", 409)
        source = document.get("_source")
        stored = source.get("hash") if isinstance(source, dict) else None
        return DUPLICATE if stored == sent_hash else tampered(str(stored or "")[:64], 409)

    def _log_unverified(self) -> None:
        self._log_once(
            "unverified",
            "%s: this user may not read, so records that are there already count as duplicates "
            "without their hash being compared",
            self.address,
        )

    def _log_once(self, key: str, text: str, *arguments: object) -> None:
        if key not in self._logged:
            self._logged.add(key)
            _logger.warning(text, *arguments)
