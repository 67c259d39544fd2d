"""What a source that is no audit log gives: documents, ready to be stored as they are.  Pure.

The id comes from the content, so that the same entry always gets the same one, whoever reads it
again and from wherever; a sink that has it already has this very document.

Invariants (tests of the same name in tests/shippers/test_document.py):
  same_id      the same parts give the same id
  other_id     parts that differ anywhere, also in where one ends, give another id
  place_after  a batch's position is behind the counted documents, and its start for none
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from shippers.batch import Finding

__all__ = ["Document", "DocumentBatch", "check_source_name", "content_id"]

_ID_BYTES: Final = 20
_SOURCE: Final = re.compile(r"[a-z][a-z0-9_-]{0,49}", re.ASCII)


class Document(NamedTuple):
    """``line`` is a JSON object with its LF, ``at`` its ``@timestamp`` in UTC (RFC 3339).

    ``source`` and the day name the index.
    """

    source: str
    id: str
    at: str
    line: bytes

    @property
    def day(self) -> str:
        """Like ``2026-11-23``."""
        return self.at[:10]


@dataclass(slots=True, eq=False)
class DocumentBatch:
    """Documents read together; ``places`` are the positions behind each, as their source has them.

    ``bad_lines`` could not be read as what they should be, ``cut_lines`` were too long.
    """

    log: str
    start: Any
    documents: list[Document]
    places: list[Any]
    size_bytes: int
    bad_lines: int = 0
    cut_lines: int = 0
    findings: list[Finding] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.documents)

    def position_after(self, count: int) -> Any:
        """The position behind the first ``count`` documents."""
        return self.places[count - 1] if count else self.start

    def at(self, index: int) -> str | None:
        """The timestamp of a document."""
        return self.documents[index].at


def content_id(*parts: str | bytes) -> str:
    """27 characters that are safe in a URL; 160 bits of a SHA-256 over the parts."""
    digest = sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return base64.urlsafe_b64encode(digest.digest()[:_ID_BYTES]).rstrip(b"=").decode("ascii")


def check_source_name(name: str) -> str:
    """The name, when it can stand in an index name beside the audit log's.  Raises ValueError."""
    if _SOURCE.fullmatch(name) is None:
        raise ValueError(
            f"the source name {name!r} is not usable: lower-case letters, digits, _ and - are "
            "allowed, up to 50, beginning with a letter"
        )
    if name == "audit" or name.startswith("audit-"):
        raise ValueError(f"the source name {name!r} belongs to the audit logs")
    return name
