"""Delivery into Elasticsearch 8.19 or 9 over its bulk API.

Every answer that does not prove or refuse a single record is RETRY for all: connection, timeout,
429, 5xx, credentials, index blocks.  The exceptions are 413, where the request is halved down to
one record, and 409, where the stored hash decides between a duplicate and tampering.

A record of an index that retention deleted is final and is not sent, since a create would make the
index again.

The client's own retries are off: one deliver is one attempt, and the waiting is the caller's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import elasticsearch
import orjson

from auditlog.errors import AuditLogError
from shippers.batch import Shipment
from shippers.document import Document
from shippers.errors import SinkRefused
from shippers.outcome import (
    DUPLICATE,
    RETIRED,
    Outcome,
    quarantined,
    retry,
    tampered,
    unverified_duplicate,
)
from shippers.sinks.elasticsearch.bulk import (
    PARAMS,
    Conflict,
    bulk_body,
    document_id,
    index_name,
    judge,
)
from shippers.sinks.elasticsearch.connection import FAILURES, Connection, Credentials, trouble
from shippers.sinks.elasticsearch.documents import DocumentDelivery
from shippers.sinks.elasticsearch.index_template import TEMPLATE_VERSION, index_template
from shippers.sinks.elasticsearch.options import ElasticsearchOptions

__all__ = ["ElasticsearchSink"]

_logger = logging.getLogger("auditlog.shippers.elasticsearch")

_NDJSON: Final = {"Accept": "application/json", "Content-Type": "application/x-ndjson"}


class ElasticsearchSink:
    """A cluster as a sink.  Thread-safe.

    ``credentials`` is asked at once, and again when the cluster refuses what it gave; ``retired``
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
        self._retired = retired
        self._max_body_bytes = options.max_body_bytes
        self._template_ready = not options.manage_template
        self._template_lock = threading.Lock()
        self._said: set[str] = set()
        self._documents = DocumentDelivery(self.connection, self._troubled)

    def __repr__(self) -> str:
        return f"ElasticsearchSink({self.name!r}, {self.address!r})"

    def close(self) -> None:
        self.connection.close()

    def deliver(self, records: Sequence[Shipment]) -> list[Outcome]:
        if not self._template_ready and (outcome := self._try_template()) is not None:
            return [outcome] * len(records)
        return self._deliver_part(records)

    def _is_retired(self, records: Sequence[Shipment]) -> list[bool]:
        retired = self._retired()
        prefix = self._options.index_prefix
        if not retired:
            return [False] * len(records)
        return [
            header is not None and index_name(prefix, header.day) in retired
            for _, header in records
        ]

    def deliver_documents(self, documents: Sequence[Document]) -> list[Outcome]:
        return self._documents.deliver(documents)

    def ensure_template(self) -> str:
        """Put the index template if it is missing or older; what was done: created, updated, kept.

        Raises SinkRefused, naming the address, when the cluster is unreachable or refuses.
        """
        path = f"/_index_template/{self._options.index_prefix}"
        try:
            found = self._present_template_version(path)
            if found is not None and found >= TEMPLATE_VERSION:
                return "kept"
            body = index_template(
                self._options.index_prefix,
                shards=self._options.shards,
                replicas=self._options.replicas,
            )
            self.connection.request("PUT", path, body=orjson.dumps(body))
        except FAILURES as error:
            outcome = trouble(error)
            raise SinkRefused(
                f"{self.address}: the index template {self._options.index_prefix} cannot be put: "
                f"{outcome.reason}",
                hint="Check address, credentials and the privilege manage_index_templates.",
            ) from error
        return "created" if found is None else "updated"

    def _present_template_version(self, path: str) -> int | None:
        try:
            answer = self.connection.request("GET", path)
        except elasticsearch.NotFoundError:
            return None
        templates = answer.get("index_templates") or [{}]
        return int(templates[0].get("index_template", {}).get("version") or 0)

    def _try_template(self) -> Outcome | None:
        """Before the first record: the template, else the index would guess a mapping."""
        with self._template_lock:
            if self._template_ready:
                return None
            try:
                self.ensure_template()
            except SinkRefused as error:
                cause = error.__cause__
                if not isinstance(cause, elasticsearch.AuthorizationException):
                    return self._troubled(cause)
                # As it should be with the least role; `auditctl setup` says whether it is there.
                _logger.info(
                    "%s: the index template is left to auditctl setup, since this user may not "
                    "manage index templates",
                    self.address,
                )
            self._template_ready = True
            return None

    def _deliver_part(self, records: Sequence[Shipment]) -> list[Outcome]:
        gone = self._is_retired(records)
        if any(gone):
            sent = [record for record, skip in zip(records, gone, strict=True) if not skip]
            outcomes = iter(self._send(sent) if sent else ())
            return [RETIRED if skip else next(outcomes) for skip in gone]
        return self._send(records)

    def _send(self, records: Sequence[Shipment]) -> list[Outcome]:
        body = bulk_body(records, self._options.index_prefix)
        if len(body) > self._max_body_bytes and len(records) > 1:
            return self._halve(records)
        try:
            response = self.connection.request("POST", "/_bulk", PARAMS, _NDJSON, body)
        except FAILURES as error:
            if not isinstance(error, elasticsearch.ApiError) or error.status_code != 413:
                return [self._troubled(error)] * len(records)
            if len(records) == 1:
                return [quarantined("the server refuses this one record as too large", 413)]
            self._max_body_bytes = min(self._max_body_bytes, len(body) // 2)
            return self._halve(records)
        outcomes = judge(records, response)
        if Conflict in set(map(type, outcomes)):
            self._resolve(records, outcomes)
        return outcomes

    def _troubled(self, error: BaseException | None) -> Outcome:
        outcome = trouble(error)
        if outcome.status == 401:
            # Rotated meanwhile?  The next attempt comes with what stands in the file by then.
            try:
                self.connection.renew()
            except (AuditLogError, OSError) as unreadable:
                self._say_once("renew", "sink %s: %s", self.name, unreadable)
        return outcome

    def _halve(self, records: Sequence[Shipment]) -> list[Outcome]:
        middle = len(records) // 2
        return self._deliver_part(records[:middle]) + self._deliver_part(records[middle:])

    def _resolve(self, records: Sequence[Shipment], outcomes: list[Outcome]) -> None:
        """Replace each conflict by what a comparison with the stored hash says."""
        conflicts = [index for index, outcome in enumerate(outcomes) if type(outcome) is Conflict]
        headers = [header for index in conflicts if (header := records[index].header) is not None]
        prefix = self._options.index_prefix
        wanted = [
            {"_index": index_name(prefix, h.day), "_id": document_id(h), "_source": ["hash"]}
            for h in headers
        ]
        try:
            answer = self.connection.request("POST", "/_mget", body=orjson.dumps({"docs": wanted}))
        except elasticsearch.AuthorizationException:
            self._say_unverified()
            for index in conflicts:
                outcomes[index] = unverified_duplicate(403)
            return
        except FAILURES as error:
            for index in conflicts:
                outcomes[index] = trouble(error)
            return
        documents = answer.get("docs") if isinstance(answer, dict) else None
        if not isinstance(documents, list) or len(documents) != len(headers):
            documents = [{}] * len(headers)
        for index, header, document in zip(conflicts, headers, documents, strict=True):
            outcomes[index] = self._compare(document_id(header), header.hash, document)

    def _compare(self, sent_id: str, sent_hash: str, document: Any) -> Outcome:
        if not isinstance(document, dict) or document.get("_id") != sent_id:
            return retry("the stored record could not be read back for comparison")
        error = document.get("error")
        if isinstance(error, dict):
            if error.get("type") == "security_exception":
                self._say_unverified()
                return unverified_duplicate(403)
            return retry(f"the stored record could not be read back ({error.get('type')})")
        if not document.get("found"):
            return retry("the record was there when it was sent and is gone now", 409)
        source = document.get("_source")
        stored = source.get("hash") if isinstance(source, dict) else None
        return DUPLICATE if stored == sent_hash else tampered(str(stored or "")[:64], 409)

    def _say_unverified(self) -> None:
        self._say_once(
            "unverified",
            "%s: this user may not read, so records that are there already count as duplicates "
            "without their hash being compared",
            self.address,
        )

    def _say_once(self, key: str, text: str, *arguments: object) -> None:
        if key not in self._said:
            self._said.add(key)
            _logger.warning(text, *arguments)
