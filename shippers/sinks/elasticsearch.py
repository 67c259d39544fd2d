"""Delivery into Elasticsearch 8.19 or 9 over its bulk API.

Every answer that does not prove or refuse a single record is RETRY for all: connection, timeout,
429, 5xx, credentials, index blocks.  The exceptions are 413, where the request is halved down to
one record, and 409, where the stored hash decides between a duplicate and tampering.

The client's own retries are off: one deliver is one attempt, and the waiting is the caller's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import elasticsearch
import orjson
from elastic_transport import JsonSerializer

from shippers.batch import Shipment
from shippers.errors import SinkRefused
from shippers.outcome import DUPLICATE, Outcome, quarantined, retry, tampered, unverified_duplicate
from shippers.sinks.bulk import PARAMS, Conflict, bulk_body, document_id, index_name, judge
from shippers.sinks.index_template import DEFAULT_PREFIX, TEMPLATE_VERSION, index_template

__all__ = ["ElasticsearchOptions", "ElasticsearchSink"]

_logger = logging.getLogger("auditlog.shippers.elasticsearch")

_NDJSON: Final = {"Accept": "application/json", "Content-Type": "application/x-ndjson"}
_JSON: Final = {"Accept": "application/json", "Content-Type": "application/json"}
_JSON_TYPES: Final = ("application/json", "application/vnd.elasticsearch+json")


@dataclass(frozen=True, slots=True)
class ElasticsearchOptions:
    """How to reach the cluster; a password in a URL is refused, and no repr shows a secret.

    prefix            of the index names; the record's day is appended
    max_body_bytes    a larger bulk body is sent in parts (the server's own limit is 100 MiB)
    request_timeout   in seconds, for one request
    manage_template   put the index template when the credentials allow it
    """

    urls: tuple[str, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    ca_certs: Path | None = None
    prefix: str = DEFAULT_PREFIX
    shards: int = 1
    replicas: int = 1
    request_timeout: float = 30.0
    max_body_bytes: int = 16 << 20
    max_in_flight: int = 3
    compress: bool = False
    manage_template: bool = True

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("an Elasticsearch sink needs at least one url")
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError(
                    "a url of an Elasticsearch sink is not http://host or https://host"
                )
            if parts.username or parts.password:
                raise ValueError("credentials do not belong into a url; use username and password")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password come together")
        if self.api_key is not None and self.username is not None:
            raise ValueError("either an api_key or a username, not both")


class ElasticsearchSink:
    """A cluster as a sink.  Thread-safe."""

    def __init__(self, name: str, options: ElasticsearchOptions) -> None:
        self.name = name
        self.address = ", ".join(options.urls)
        self.max_in_flight = options.max_in_flight
        self._options = options
        self._client = _connect(options)
        self._max_body_bytes = options.max_body_bytes
        self._template_ready = not options.manage_template
        self._template_lock = threading.Lock()
        self._said: set[str] = set()

    def __repr__(self) -> str:
        return f"ElasticsearchSink({self.name!r}, {self.address!r})"

    def close(self) -> None:
        self._client.close()

    def deliver(self, records: Sequence[Shipment]) -> list[Outcome]:
        if not self._template_ready and (trouble := self._try_template()) is not None:
            return [trouble] * len(records)
        return self._deliver_part(records)

    def ensure_template(self) -> str:
        """Put the index template if it is missing or older; what was done: created, updated, kept.

        Raises SinkRefused, naming the address, when the cluster is unreachable or refuses.
        """
        path = f"/_index_template/{self._options.prefix}"
        try:
            found = self._present_template_version(path)
            if found is not None and found >= TEMPLATE_VERSION:
                return "kept"
            body = index_template(
                self._options.prefix, shards=self._options.shards, replicas=self._options.replicas
            )
            self._request("PUT", path, body=orjson.dumps(body))
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            outcome = _trouble(error)
            raise SinkRefused(
                f"{self.address}: the index template {self._options.prefix} cannot be put: "
                f"{outcome.reason}",
                hint="Check address, credentials and the privilege manage_index_templates.",
            ) from error
        return "created" if found is None else "updated"

    def _present_template_version(self, path: str) -> int | None:
        try:
            answer = self._request("GET", path)
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
                    return retry(_trouble(cause).reason, _trouble(cause).status)
                # The shipper's own role is append-only: set-up is done with other credentials.
                self._say_once(
                    "template",
                    "%s: this user may not manage index templates; relying on "
                    "what set-up with other credentials has put there",
                    self.address,
                )
            self._template_ready = True
            return None

    def _deliver_part(self, records: Sequence[Shipment]) -> list[Outcome]:
        body = bulk_body(records, self._options.prefix)
        if len(body) > self._max_body_bytes and len(records) > 1:
            return self._halve(records)
        try:
            response = self._request("POST", "/_bulk", PARAMS, _NDJSON, body)
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            if not isinstance(error, elasticsearch.ApiError) or error.status_code != 413:
                return [_trouble(error)] * len(records)
            if len(records) == 1:
                return [quarantined("the server refuses this one record as too large", 413)]
            self._max_body_bytes = min(self._max_body_bytes, len(body) // 2)
            return self._halve(records)
        outcomes = judge(records, response)
        if Conflict in set(map(type, outcomes)):
            self._resolve(records, outcomes)
        return outcomes

    def _halve(self, records: Sequence[Shipment]) -> list[Outcome]:
        middle = len(records) // 2
        return self._deliver_part(records[:middle]) + self._deliver_part(records[middle:])

    def _resolve(self, records: Sequence[Shipment], outcomes: list[Outcome]) -> None:
        """Replace each conflict by what a comparison with the stored hash says."""
        conflicts = [index for index, outcome in enumerate(outcomes) if type(outcome) is Conflict]
        headers = [header for index in conflicts if (header := records[index].header) is not None]
        prefix = self._options.prefix
        wanted = [
            {"_index": index_name(prefix, h.day), "_id": document_id(h), "_source": ["hash"]}
            for h in headers
        ]
        try:
            answer = self._request("POST", "/_mget", body=orjson.dumps({"docs": wanted}))
        except elasticsearch.AuthorizationException:
            self._say_unverified()
            for index in conflicts:
                outcomes[index] = unverified_duplicate(403)
            return
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            for index in conflicts:
                outcomes[index] = _trouble(error)
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

    def _request(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        headers: dict[str, str] = _JSON,
        body: bytes | None = None,
    ) -> Any:
        return self._client.perform_request(
            method, path, params=params, headers=headers, body=body
        ).body


class _Json(JsonSerializer):
    """Responses have an item a record: reading them is a good part of the whole work."""

    def json_loads(self, data: bytes) -> Any:
        return orjson.loads(data)


def _connect(options: ElasticsearchOptions) -> elasticsearch.Elasticsearch:
    credentials: dict[str, Any] = {}
    if options.username is not None and options.password is not None:
        credentials["basic_auth"] = (options.username, options.password)
    if options.api_key is not None:
        credentials["api_key"] = options.api_key
    if options.ca_certs is not None:
        credentials["ca_certs"] = str(options.ca_certs)
    return elasticsearch.Elasticsearch(
        [_with_port(url) for url in options.urls],
        request_timeout=options.request_timeout,
        max_retries=0,
        retry_on_timeout=False,
        retry_on_status=(),
        http_compress=options.compress,
        connections_per_node=options.max_in_flight + 1,
        serializers={name: _Json() for name in _JSON_TYPES},
        **credentials,
    )


def _with_port(url: str) -> str:
    parts = urlsplit(url)
    if parts.port is not None:
        return url
    default = 443 if parts.scheme == "https" else 80  # as every other program reads such a url
    return parts._replace(netloc=f"{parts.netloc}:{default}").geturl()


def _trouble(error: BaseException | None) -> Outcome:
    """Why a request proves nothing, without the request's or the response's content."""
    if isinstance(error, elasticsearch.UnsupportedProductError):
        return retry("what answers there is not Elasticsearch", error.meta.status)
    if isinstance(error, elasticsearch.ApiError):
        return _refusal(error)
    if isinstance(error, elasticsearch.ConnectionTimeout):
        return retry("no answer within the request timeout")
    if isinstance(error, elasticsearch.SerializationError):
        return retry("the server's answer is not valid JSON")
    cause = _system_error(error)
    return retry(f"cannot connect: {type(error).__name__ if cause is None else cause.strerror}")


def _refusal(error: elasticsearch.ApiError) -> Outcome:
    status = error.status_code
    if status == 401:
        return retry("the server refuses the credentials (401)", status)
    details = error.body.get("error") if isinstance(error.body, dict) else None
    kind = details.get("type") if isinstance(details, dict) else None
    return retry(f"the server answered {status} {kind or ''}".rstrip(), status)


def _system_error(error: BaseException | None) -> OSError | None:
    """The error of the operating system (or of TLS) that the client's errors wrap."""
    seen: set[int] = set()
    found = None
    pending = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, OSError) and current.strerror:
            found = current
        pending += [current.__cause__, current.__context__, *getattr(current, "errors", ())]
        pending += [a for a in current.args if isinstance(a, BaseException)]
    return found
