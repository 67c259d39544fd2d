"""Define the options of an Elasticsearch connection.

Each annotated field is a setting of `[sinks.NAME]` as well; see `auditctl.config.declared`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from auditlog.format.index_names import IndexNames, IndexPeriod

__all__ = ["DEFAULT_PREFIX", "ElasticsearchOptions"]

DEFAULT_PREFIX: Final = "llama-orch-audit"
_FINGERPRINT_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class ElasticsearchOptions:
    """Where the cluster is, whom to trust, and what its indices look like.

    max_body_bytes    a larger bulk body is sent in parts (the server's own limit is 100 MiB)
    max_in_flight     requests at the same time
    manage_template   put the index template when the credentials allow it

    Raises ValueError for values that cannot work, without quoting a URL.
    """

    urls: Annotated[tuple[str, ...], "URLs of the cluster's nodes, without a password"]
    ca_file: Annotated[
        Path | None, "CA certificates to trust instead of the system's", "the system's"
    ] = None
    ca_fingerprint: Annotated[
        str | None, "SHA-256 of a certificate in the server's chain, in hex, instead of `ca_file`"
    ] = None
    client_cert_file: Annotated[Path | None, "client certificate, for servers that ask for one"] = (
        None
    )
    client_key_file: Annotated[Path | None, "private key of `client_cert_file`"] = None
    compression: Annotated[
        Literal["none", "gzip"], "compression of request bodies; `gzip` helps on slow networks"
    ] = "none"
    request_timeout: Annotated[
        dt.timedelta, "time limit of one request, which is then tried again"
    ] = dt.timedelta(seconds=30)
    shards: Annotated[int, "primary shards of a new index"] = 1
    replicas: Annotated[int, "replicas of a new index"] = 1
    index_prefix: Annotated[
        str,
        "indices are named `<prefix>-<day>`; `{bucket:28}` in it becomes one of 28 numbers, by the "
        "hash of the log's id",
    ] = DEFAULT_PREFIX
    index_period: Annotated[
        IndexPeriod, "time that one index is for: `day`, `week` or `month`, for few records"
    ] = "day"
    max_body_bytes: int = 16 << 20
    max_in_flight: int = 3
    manage_template: bool = True

    def __post_init__(self) -> None:
        # Indices that were deleted by policy are recorded with the cluster's URLs and compared.
        object.__setattr__(self, "urls", tuple(url.rstrip("/") for url in self.urls))
        if not self.urls:
            raise ValueError("an Elasticsearch sink needs at least one url")
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("each URL has to be like https://es.example:9200")
            if parts.username is not None or parts.password is not None:
                raise ValueError("a URL must not hold a password; use username and password_file")
        if self.ca_file is not None and self.ca_fingerprint is not None:
            raise ValueError("either a ca_file or a ca_fingerprint, not both")
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("client_key_file needs its client_cert_file")
        if self.ca_fingerprint is not None:
            digits = self.ca_fingerprint.replace(":", "").lower()
            if len(digits) != _FINGERPRINT_DIGITS or set(digits) - set("0123456789abcdef"):
                raise ValueError(
                    "ca_fingerprint has to be the SHA-256 of a certificate: 64 hex digits"
                )
        _ = self.names  # refuses a prefix that cannot work
        if self.request_timeout <= dt.timedelta(0):
            raise ValueError("request_timeout has to be longer than zero")
        if self.shards < 1 or self.replicas < 0:
            raise ValueError("shards has to be 1 or more, replicas 0 or more")

    @property
    def names(self) -> IndexNames:
        """The names of its indices."""
        return IndexNames(self.index_prefix, self.index_period)

    @property
    def address(self) -> str:
        return ", ".join(self.urls)
