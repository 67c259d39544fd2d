"""Read a server's answers up to a bound, whatever it sends and however well that is compressed.

The client itself reads an answer whole, decompressed, however large it becomes: 3 MB of gzip are
2.5 GB.  Here it is decompressed piece by piece, and given up where it is too long.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_bounded_node.py):
  same      an answer below the bound is the one that was sent, compressed or not
  bounded   a longer one is an error that says so, and the connection is closed
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from elastic_transport import Urllib3HttpNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from elastic_transport import NodeConfig

__all__ = ["MAX_ANSWER_BYTES", "AnswerTooLarge", "BoundedNode"]

MAX_ANSWER_BYTES: Final = 128 << 20
"""A page of 1,000 of the largest records is below it."""

_READ_BYTES: Final = 1 << 16


class AnswerTooLarge(Exception):
    """An answer is longer than any that a request of ours can have, or cannot be decompressed."""


class BoundedNode(Urllib3HttpNode):
    """A node of the client, with answers that are bounded."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self.pool: Any = _BoundedPool(self.pool)


@dataclass(frozen=True, slots=True)
class _ReadAnswer:
    """The part of urllib3's response that the node looks at."""

    status: int
    headers: Any
    data: bytes


@dataclass(frozen=True, slots=True)
class _BoundedPool:
    """Stands in for urllib3's pool, of which the node calls these two methods."""

    pool: Any

    def urlopen(self, *arguments: Any, **options: Any) -> _ReadAnswer:
        response = self.pool.urlopen(*arguments, preload_content=False, **options)
        try:
            found = bytearray()
            for chunk in _decoded(response):
                found += chunk
                _check_size(len(found))
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()
        return _ReadAnswer(response.status, response.headers, bytes(found))

    def close(self) -> None:
        self.pool.close()


def _check_size(size: int) -> None:
    if size > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(f"the server's answer is longer than {MAX_ANSWER_BYTES >> 20} MiB")


def _decoded(response: Any) -> Iterator[bytes]:
    """Yield the answer in pieces of a bounded size.  Raises AnswerTooLarge."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise AnswerTooLarge("the server's answer is compressed in a way that was not asked for")
    decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if "gzip" in encoding else None
    begun = False
    while chunk := response.read(_READ_BYTES, decode_content=False):
        begun = True
        if decoder is None:
            yield chunk
            continue
        while chunk:
            try:
                yield decoder.decompress(chunk, _READ_BYTES)
            except zlib.error:
                raise AnswerTooLarge("the server's answer cannot be decompressed") from None
            chunk = decoder.unconsumed_tail
    if decoder is not None and begun:
        yield decoder.flush()
        if not decoder.eof:
            raise AnswerTooLarge("the server's answer cannot be decompressed")
