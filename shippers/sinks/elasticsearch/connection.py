"""Send requests to an Elasticsearch or OpenSearch cluster, and translate failures into outcomes.

The sink, its set-up and the read-back share this module, so that TLS, credentials and the words for
failures are in one place.  Secrets are read when a connection is made and when it is renewed, and
are kept nowhere else.  Requests go over the transport of Elasticsearch's client, not over the
client: that sends media types of its own, which OpenSearch refuses (406).

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_connection.py):
  secret    no secret is in a repr, in a reason, in a log line or in a traceback
  renewed   renew takes new secrets and certificates; requests under way end with the old ones
  let_go    a request that failed keeps nothing of its body in memory
  named     what is neither Elasticsearch nor OpenSearch is named at its first answer
  proven    over TLS nothing is sent to a server that does not prove its identity
"""

from __future__ import annotations

import base64
import ssl
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import elasticsearch
import orjson
from elastic_transport import (
    HttpHeaders,
    JsonSerializer,
    NdjsonSerializer,
    NodeConfig,
    TextSerializer,
    TlsError,
    Transport,
    TransportApiResponse,
)
from elastic_transport.client_utils import url_to_node_config
from elasticsearch.exceptions import HTTP_EXCEPTIONS

from shippers.errors import SinkRefused
from shippers.other_server import causes, describe, spoken
from shippers.outcome import DeliveryOutcome, retry
from shippers.sinks.elasticsearch.bounded_node import AnswerTooLarge, BoundedNode
from shippers.sinks.elasticsearch.options import ElasticsearchOptions
from shippers.sinks.elasticsearch.product import (
    NEITHER,
    Product,
    named_in_body,
    named_in_header,
    named_in_neither,
)

__all__ = [
    "FAILURES",
    "Connection",
    "Credentials",
    "is_something_else",
    "trouble",
    "was_cut_off",
]

FAILURES: Final = (elasticsearch.ApiError, elasticsearch.TransportError)
"""The errors of a request; ``trouble`` translates them."""

_UNAUTHORIZED: Final = 401
_REFUSED: Final = (_UNAUTHORIZED, 403)
_MOST_VALUES: Final = 2_000_000  # lists and objects of an answer, which take more than its bytes
_JSON: Final = {"Accept": "application/json", "Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user with a password, or an API key, or nobody.  Raises ValueError for other mixtures."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password come together")
        if self.api_key is not None and self.username is not None:
            raise ValueError("either an api_key or a username, not both")


class Connection:
    """Requests to a cluster.  Thread-safe.

    Raises SinkRefused when a certificate or key cannot be used, and whatever ``credentials``
    raises where it cannot read a secret.
    """

    def __init__(
        self, options: ElasticsearchOptions, credentials: Callable[[], Credentials] = Credentials
    ) -> None:
        self.options = options
        self._credentials = credentials
        self._lock = threading.Lock()
        self._product: Product | None = None
        self._transport = _transport(options, credentials())

    def __repr__(self) -> str:
        return f"Connection({self.options.address!r})"

    def renew(self) -> None:
        """Ask for the secrets and read the certificates again.

        Raises as the constructor does; what was in use until then stays in use.
        """
        with self._lock:
            fresh = _transport(self.options, self._credentials())
            before, self._transport = self._transport, fresh
        before.close()

    def close(self) -> None:
        self._transport.close()

    def product(self) -> Product:
        """Return what the cluster is; it is asked where no answer has said so yet.

        A cluster that says nothing and refuses the question is taken for Elasticsearch.  Raises
        one of FAILURES.
        """
        if self._product is None:
            try:
                self.request("GET", "/")
            except elasticsearch.ApiError as error:
                if isinstance(error, elasticsearch.UnsupportedProductError):
                    raise
        return self._product or "elasticsearch"

    def request(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        headers: dict[str, str] = _JSON,
        body: bytes | None = None,
    ) -> Any:
        """Send one request and return the parsed answer.  Raises one of FAILURES."""
        target = f"{path}?{urlencode(params)}" if params else path
        try:
            answer = self._transport.perform_request(method, target, headers=headers, body=body)
            self._recognise(target, answer)
            meta = answer.meta
            if not 200 <= meta.status < 300:
                kind = HTTP_EXCEPTIONS.get(meta.status, elasticsearch.ApiError)
                raise kind(f"status {meta.status}", meta, answer.body)
        except FAILURES as error:
            _let_go(error)
            raise
        return answer.body

    def _recognise(self, target: str, answer: TransportApiResponse) -> None:
        """Find out what answers, from the first answer that can tell.  Raises one of FAILURES."""
        if self._product is not None:
            return
        meta = answer.meta
        if named_in_header(meta.headers):
            self._product = "elasticsearch"
        elif target == "/":
            self._product = named_in_body(meta.status, answer.body)
        elif 200 <= meta.status < 300:
            root = self._transport.perform_request("GET", "/", headers=_JSON)
            self._product = named_in_body(root.meta.status, root.body)
        if self._product is None and named_in_neither(meta.status, answer.body):
            reason = describe(NEITHER, meta.status, meta.headers)
            raise elasticsearch.UnsupportedProductError(reason, meta, None)


def trouble(error: BaseException | None) -> DeliveryOutcome:
    """Return the outcome for every item of a failed request, without any of its content."""
    if isinstance(error, elasticsearch.UnsupportedProductError):
        return retry(error.message, error.meta.status)
    if isinstance(error, elasticsearch.ApiError):
        return _refusal(error)
    if isinstance(error, elasticsearch.ConnectionTimeout):
        return retry("no answer within the request timeout")
    if isinstance(error, elasticsearch.SerializationError):
        return retry("the server's answer is not valid JSON")
    if isinstance(error, TlsError):
        return retry(spoken(error) or f"cannot connect: {_tls_reason(error)}")
    large = next((each for each in causes(error) if isinstance(each, AnswerTooLarge)), None)
    cause = _system_error(error)
    why = f"cannot connect: {type(error).__name__ if cause is None else cause.strerror}"
    return retry(spoken(error) or (why if large is None else str(large)))


def is_something_else(error: BaseException) -> bool:
    """Whether it is plain that no cluster has answered, so that asking again helps nobody."""
    if isinstance(error, elasticsearch.ApiError):
        if isinstance(error, elasticsearch.UnsupportedProductError):
            return True
        return error.status_code in _REFUSED and _is_text(error.body)
    return bool(spoken(error))


def was_cut_off(error: BaseException) -> bool:
    """Whether a request ended without an answer, after some of it may have been sent.

    A smaller one may be answered in time.  Not so where no connection was made at all.
    """
    if isinstance(error, elasticsearch.ConnectionTimeout):
        return True
    cut = (ConnectionResetError, BrokenPipeError, TimeoutError)
    return any(isinstance(cause, cut) for cause in causes(error))


def _refusal(error: elasticsearch.ApiError) -> DeliveryOutcome:
    status = error.status_code
    details = error.body.get("error") if isinstance(error.body, dict) else None
    kind = details.get("type") if isinstance(details, dict) else None
    busy = status == 429 and kind != "cluster_block_exception"
    said = f"the server answered {status} {kind or ''}".rstrip()
    if status == _UNAUTHORIZED:
        said = f"the server refuses the credentials ({status})"
    if _is_text(error.body):
        said += f", not in JSON: something else than {NEITHER} answers there"
    return retry(said, status, throttled=busy)


def _is_text(body: Any) -> bool:
    return isinstance(body, str) and bool(body)


def _tls_reason(error: TlsError) -> str:
    """OpenSSL's own words for it, which hold no secret; the fingerprints are public too."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the server's certificate is refused ({cause.verify_message})"
    if "Fingerprints did not match" in error.message:
        return "no certificate of the server has the ca_fingerprint"
    failed = _system_error(error)
    reason = getattr(failed, "reason", None) or getattr(failed, "strerror", None)
    return f"TLS failed ({reason or 'no reason was given'})"


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the error of the operating system (or TLS) that the client's errors wrap."""
    found = None
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.strerror:
            found = cause
    return found


def _let_go(error: BaseException) -> None:
    """Empty the client's frames: they hold the error that holds them, and a body of megabytes."""
    for cause in causes(error):
        traceback.clear_frames(cause.__traceback__)


class _Json(JsonSerializer):
    """Responses have an item a record: reading them is a good part of the whole work."""

    def json_loads(self, data: bytes) -> Any:
        if data.count(b"[") + data.count(b"{") > _MOST_VALUES:
            raise ValueError("it has more values than any answer has")
        return orjson.loads(data)


class _Ndjson(NdjsonSerializer):
    """Bulk bodies are complete: the library's own would copy their megabytes twice."""

    def dumps(self, data: Any) -> bytes:
        return data if isinstance(data, bytes) else super().dumps(data)


def _transport(options: ElasticsearchOptions, credentials: Credentials) -> Transport:
    headers = _authorization(credentials)
    chosen: dict[str, Any] = {}
    if any(url.startswith("https:") for url in options.urls):
        chosen["ssl_context"] = _tls(options)
        if options.ca_fingerprint is not None:
            chosen["ssl_assert_fingerprint"] = options.ca_fingerprint
    return Transport(
        [_node(url, options, headers, chosen) for url in options.urls],
        node_class=BoundedNode,
        serializers={
            "application/json": _Json(),
            "application/x-ndjson": _Ndjson(),
            "application/*": TextSerializer(),  # of what is something else, and is refused
        },
        max_retries=0,
        retry_on_timeout=False,
        retry_on_status=(),
    )


def _authorization(credentials: Credentials) -> HttpHeaders:
    if credentials.username is not None and credentials.password is not None:
        user = f"{credentials.username}:{credentials.password}"  # as UTF-8, which servers expect
        return HttpHeaders({"authorization": f"Basic {base64.b64encode(user.encode()).decode()}"})
    if credentials.api_key is not None:
        # Kibana and the API print a key as id and key, or encoded; the header has it encoded.
        key = credentials.api_key
        encoded = base64.b64encode(key.encode()).decode() if ":" in key else key
        return HttpHeaders({"authorization": f"ApiKey {encoded}"})
    return HttpHeaders()


def _node(
    url: str, options: ElasticsearchOptions, headers: HttpHeaders, chosen: dict[str, Any]
) -> NodeConfig:
    node = url_to_node_config(_with_port(url))
    return node.replace(
        headers=headers,
        request_timeout=options.request_timeout.total_seconds(),
        http_compress=options.compression == "gzip",
        connections_per_node=options.max_in_flight + 1,
        **(chosen if node.scheme == "https" else {}),
    )


def _tls(options: ElasticsearchOptions) -> ssl.SSLContext:
    """Make the TLS context: trust the ca_file alone where given, else the system's authorities.

    Made here and not by the client, which would trust the system's authorities besides the
    ca_file, reads our own certificate at the first request only, and not with a fingerprint.
    """
    path: Path | None = options.ca_file
    try:
        context = ssl.create_default_context(cafile=path)
        if (path := options.client_cert_file) is not None:
            context.load_cert_chain(path, options.client_key_file, password=_no_passphrase)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
        raise SinkRefused(
            f"a certificate or key cannot be used ({reason or 'it is no PEM file'})",
            path=path,
            hint="It has to be a PEM file, its key without a passphrase, and readable for the "
            "user we run as.",
        ) from None  # what it wraps may quote a file's content
    return context


def _no_passphrase() -> str:
    """Refuse an encrypted key; OpenSSL would prompt for its password on the terminal."""
    raise ValueError


def _with_port(url: str) -> str:
    parts = urlsplit(url)
    if parts.port is not None:
        return url
    default = 443 if parts.scheme == "https" else 80  # as every other program reads such a url
    return parts._replace(netloc=f"{parts.netloc}:{default}").geturl()
