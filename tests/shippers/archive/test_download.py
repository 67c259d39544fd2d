from __future__ import annotations

import os
import tracemalloc
from hashlib import sha256

import pytest
import zstandard

from auditlog.reading.decompression import NotWhole
from shippers.archive.download import ArrivingObject


def pieces(content: bytes, size: int = 1000) -> list[bytes]:
    return [content[n : n + size] for n in range(0, len(content), size)]


def test_hashed() -> None:
    content = os.urandom(300_000)
    packed = zstandard.compress(content)
    arriving = ArrivingObject(iter(pieces(packed)))
    assert arriving.content().read() == content
    arriving.drain()
    assert (arriving.size_bytes, arriving.sha256) == (len(packed), sha256(packed).hexdigest())
    changed = packed[:50_000] + b"\0" * 100 + packed[50_100:] + b"and more"
    arriving = ArrivingObject(iter(pieces(changed)))
    with pytest.raises(NotWhole):
        arriving.content().read()
    arriving.drain()
    assert (arriving.size_bytes, arriving.sha256) == (len(changed), sha256(changed).hexdigest())


def test_bounded() -> None:
    packed = zstandard.compress(bytes(200 << 20))
    tracemalloc.start()
    stream = ArrivingObject(iter(pieces(packed))).content()
    while stream.read(1 << 18):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
