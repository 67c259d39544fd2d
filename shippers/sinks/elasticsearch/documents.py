"""Documents of other sources into Elasticsearch: their own indices, templates and rule for a 409.

Their id comes from their content, so what is there under the id is this document: a 409 is a
duplicate, and nothing has to be read back.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

import elasticsearch
import orjson

from shippers.outcome import DUPLICATE, Outcome, quarantined
from shippers.sinks.elasticsearch.bulk import (
    PARAMS,
    Conflict,
    documents_body,
    documents_prefix,
    judge_ids,
)
from shippers.sinks.elasticsearch.connection import FAILURES
from shippers.sinks.elasticsearch.document_template import (
    DOCUMENT_TEMPLATE_VERSION,
    document_template,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shippers.document import Document
    from shippers.sinks.elasticsearch.connection import Connection

__all__ = ["DocumentDelivery"]

_logger = logging.getLogger("auditlog.shippers.elasticsearch")

_NDJSON: Final = {"Accept": "application/json", "Content-Type": "application/x-ndjson"}


class DocumentDelivery:
    """Thread-safe.  ``troubled`` says what a failed request means for all it carried."""

    def __init__(
        self, connection: Connection, troubled: Callable[[BaseException], Outcome]
    ) -> None:
        self._connection = connection
        self._troubled = troubled
        self._options = connection.options
        self._max_body_bytes = self._options.max_body_bytes
        self._ready: set[str] = set()
        self._lock = threading.Lock()

    def deliver(self, documents: Sequence[Document]) -> list[Outcome]:
        if not documents:
            return []
        for source in {document.source for document in documents}:
            try:
                self._prepare(source)
            except FAILURES as error:
                return [self._troubled(error)] * len(documents)
        return self._deliver_part(documents)

    def _deliver_part(self, documents: Sequence[Document]) -> list[Outcome]:
        body = documents_body(documents, self._options.index_prefix)
        if len(body) > self._max_body_bytes and len(documents) > 1:
            return self._halve(documents)
        try:
            response = self._connection.request("POST", "/_bulk", PARAMS, _NDJSON, body)
        except FAILURES as error:
            if not isinstance(error, elasticsearch.ApiError) or error.status_code != 413:
                return [self._troubled(error)] * len(documents)
            if len(documents) == 1:
                return [quarantined("the server refuses this one document as too large", 413)]
            self._max_body_bytes = min(self._max_body_bytes, len(body) // 2)
            return self._halve(documents)
        outcomes = judge_ids([document.id for document in documents], response)
        return [DUPLICATE if type(outcome) is Conflict else outcome for outcome in outcomes]

    def _halve(self, documents: Sequence[Document]) -> list[Outcome]:
        middle = len(documents) // 2
        return self._deliver_part(documents[:middle]) + self._deliver_part(documents[middle:])

    def _prepare(self, source: str) -> None:
        """Before a source's first document: its template, else the index would guess a mapping."""
        with self._lock:
            if not self._options.manage_template or source in self._ready:
                return
            path = f"/_index_template/{documents_prefix(self._options.index_prefix, source)}"
            try:
                if self._present_version(path) < DOCUMENT_TEMPLATE_VERSION:
                    body = document_template(
                        self._options.index_prefix,
                        source,
                        shards=self._options.shards,
                        replicas=self._options.replicas,
                    )
                    self._connection.request("PUT", path, body=orjson.dumps(body))
            except elasticsearch.AuthorizationException:
                # As it should be with the least role; `auditctl setup` says whether it is there.
                _logger.info(
                    "%s: the index template of the source %s is left to auditctl setup, since "
                    "this user may not manage index templates",
                    self._options.address,
                    source,
                )
            self._ready.add(source)

    def _present_version(self, path: str) -> int:
        try:
            answer = self._connection.request("GET", path)
        except elasticsearch.NotFoundError:
            return 0
        templates = answer.get("index_templates") or [{}]
        return int(templates[0].get("index_template", {}).get("version") or 0)
