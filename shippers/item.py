"""Define the items delivered to a sink: audit records, and other documents.  Pure.

A record's id is ``log:seq``.  A document's id is made of its content, so that the same entry always
gets the same id, whoever reads it again and from wherever: a sink that has the id has the document.

Invariants (tests of the same name in tests/shippers/test_item.py):
  same_id      the same parts give the same id
  other_id     parts that differ anywhere, also in where one ends, give another id
"""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from auditlog.format.record import Header

__all__ = ["Document", "Item", "Shipment", "check_source_name", "content_id"]

_ID_BYTES: Final = 20
_SOURCE: Final = re.compile(r"[a-z][a-z0-9_-]{0,49}", re.ASCII)


class Shipment(NamedTuple):
    """A line of an audit log with its LF, and its header; None if the line is not a record.

    Lines without a header go to quarantine and never reach a sink.
    """

    line: bytes
    header: Header | None

    @property
    def id(self) -> str:
        return "" if self.header is None else f"{self.header.log}:{self.header.seq}"

    @property
    def at(self) -> str | None:
        """The record's timestamp."""
        return None if self.header is None else self.header.timestamp


class Document(NamedTuple):
    """``line`` is a JSON object with its LF, ``at`` its ``@timestamp`` in UTC (RFC 3339).

    ``source`` and the day of ``at`` name the index.
    """

    source: str
    id: str
    at: str
    line: bytes

    @property
    def day(self) -> str:
        """As in ``2026-11-23``."""
        return self.at[:10]


Item = Shipment | Document


def content_id(*parts: str | bytes) -> str:
    """Return 27 URL-safe characters: 160 bits of a SHA-256 over the parts."""
    digest = sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return base64.urlsafe_b64encode(digest.digest()[:_ID_BYTES]).rstrip(b"=").decode("ascii")


def check_source_name(name: str) -> str:
    """Return the name if an index name can contain it.  Raises ValueError."""
    if _SOURCE.fullmatch(name) is None:
        raise ValueError(
            f"the source name {name!r} is not usable: lower-case letters, digits, _ and - are "
            "allowed, up to 50, beginning with a letter"
        )
    if name == "audit" or name.startswith("audit-"):
        raise ValueError(f"the source name {name!r} belongs to the audit logs")
    return name
