"""Which settings there are, and how the text of each becomes a value.

A converter takes what TOML or the environment has and returns the value, or raises ValueError (or
an AuditLogError that is one) with a reason that never quotes what might be a secret.

Invariants (tests of the same name in tests/auditctl/config/test_values.py):
  both_sources   a value reads the same from TOML and from the environment
  refused        a value of the wrong type or range is refused with what it has to be
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from auditctl.config.origins import nearest
from auditlog.format.segment_names import LogId
from retention.policy import parse_duration

__all__ = [
    "FOREIGN",
    "RETENTION",
    "SINK",
    "TOP",
    "Address",
    "Converter",
    "to_duration",
    "to_size",
    "to_text",
]

_UNITS: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(frozen=True, slots=True)
class Address:
    """Where metrics are served."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def to_text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("it has to be a text in quotes")
    return value


def to_texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):  # from the environment
        value = value.split(",")
    if not isinstance(value, list) or not value:
        raise ValueError('it has to be a list of texts, ["…", "…"]')
    return tuple(to_text(item) for item in value)


def to_path(value: Any) -> Path:
    return Path(to_text(value)).expanduser().absolute()


def to_paths(value: Any) -> tuple[Path, ...]:
    if isinstance(value, str):
        value = value.split(os.pathsep)
    paths = tuple(to_path(item) for item in to_texts(value))
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError("one directory is named twice")
    return paths


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("each URL has to be like https://es.example:9200")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL must not hold a password; use username and password_file")
    return text.rstrip("/")


def to_urls(value: Any) -> tuple[str, ...]:
    return tuple(_url(text) for text in to_texts(value))


def to_kind(value: Any) -> str:
    if value not in ("elasticsearch", "sqlite"):
        raise ValueError('it has to be "elasticsearch" or "sqlite"')
    return str(value)


def to_fingerprint(value: Any) -> str:
    digits = to_text(value).replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError("it has to be the SHA-256 of a certificate, 64 hex digits")
    return digits


def to_compression(value: Any) -> str:
    if value not in ("none", "gzip"):
        raise ValueError('it has to be "none" or "gzip"')
    return str(value)


def to_count(value: Any) -> int:
    number = to_integer(value)
    if number < 1:
        raise ValueError("it has to be 1 or more")
    return number


def to_natural(value: Any) -> int:
    number = to_integer(value)
    if number < 0:
        raise ValueError("it has to be 0 or more")
    return number


def to_host(value: Any) -> str:
    return LogId("retention", to_text(value)).host


def to_address(value: Any) -> Address | None:
    if value == "":
        return None
    host, colon, port = to_text(value).rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError('it has to be like "127.0.0.1:9464", or "" to serve no metrics')
    return Address(host.strip("[]"), int(port))


def to_duration(value: Any) -> dt.timedelta:
    duration = parse_duration(to_text(value))
    if not duration:
        raise ValueError("it has to be longer than zero")
    return duration


def to_index_age(value: Any) -> dt.timedelta:
    duration = to_duration(value)
    if duration < dt.timedelta(days=1):
        raise ValueError("it has to be 1d or more, since an index holds a day")
    return duration


def to_size(value: Any) -> int:
    """Bytes, as a number or as a text with B, KiB, MiB or GiB.  Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,15}) ?(B|KiB|MiB|GiB)?", str(value), re.ASCII)
    if match is None or isinstance(value, (bool, float)):
        raise ValueError('it has to be a size like "32MiB"')
    return int(match[1]) * _UNITS[match[2] or ""]


def to_in_flight(value: Any) -> int:
    size = to_size(value)
    if size < 1 << 20:
        raise ValueError("it has to be 1MiB or more")
    return size


def to_integer(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        return int(value)
    if type(value) is not int:
        raise ValueError("it has to be a whole number")
    return value


def to_number(value: Any) -> float:
    if isinstance(value, str) and re.fullmatch(r"[0-9]*\.?[0-9]+", value, re.ASCII):
        return float(value)
    if type(value) not in (int, float):
        raise ValueError("it has to be a number")
    return float(value)


Converter = Callable[[Any], Any]
TOP: Final[Mapping[str, Converter]] = {
    "directories": to_paths,
    "state_dir": to_path,
    "host": to_host,
    "metrics": to_address,
    "max_in_flight": to_in_flight,
    "linger": to_duration,
}
SINK: Final[Mapping[str, Converter]] = {
    "kind": to_kind,
    "urls": to_urls,
    "username": to_text,
    "password_file": to_path,
    "api_key_file": to_path,
    "ca_file": to_path,
    "ca_fingerprint": to_fingerprint,
    "client_cert_file": to_path,
    "client_key_file": to_path,
    "compression": to_compression,
    "request_timeout": to_duration,
    "shards": to_count,
    "replicas": to_natural,
    "index_prefix": to_text,
    "index_delete_after": to_index_age,
    "index_delete_username": to_text,
    "index_delete_password_file": to_path,
    "index_delete_api_key_file": to_path,
    "path": to_path,
}


def to_tables(required: str, fields: Mapping[str, Converter]) -> Converter:
    """A converter for tables in a list, ``[[retention.logs]]``, each with ``required``."""

    def convert(value: Any) -> tuple[dict[str, Any], ...]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ValueError("it has to be tables in double brackets, and only a file can have it")
        return tuple(table(item) for item in value)

    def table(item: Mapping[str, Any]) -> dict[str, Any]:
        if required not in item:
            raise ValueError(f"{required} is missing in one of the tables")
        for name in item:
            if name not in fields:
                near = nearest(name, fields)
                raise ValueError(f"there is no {name} in it; the nearest is {near}")
        converted = {}
        for name, value in item.items():
            try:
                converted[name] = fields[name](value)
            except ValueError as error:
                raise ValueError(f"{name}: {getattr(error, 'reason', error)}") from error
        return converted

    return convert


_OF_A_LOG: Final[Mapping[str, Converter]] = {
    "compress_after": to_duration,
    "delete_after": to_duration,
    "compression": to_text,
    "level": to_integer,
    "long_window_bytes": to_size,
    "keep_at_least": to_integer,
    "max_delete_fraction": to_number,
    "verify_before_delete": to_text,
}
FOREIGN: Final[Mapping[str, Converter]] = {
    "pattern": to_text,
    **_OF_A_LOG,
    "shipped": to_text,
    "timestamp_fields": to_texts,
}
RETENTION: Final[Mapping[str, Converter]] = {
    **_OF_A_LOG,
    "max_total_bytes": to_size,
    "every": to_duration,
    "logs": to_tables("match", {"match": to_text, **_OF_A_LOG}),
    "foreign": to_tables("pattern", FOREIGN),
}
