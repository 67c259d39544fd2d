from __future__ import annotations

import gzip
import io
import os
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.reading.inventory import SegmentFile, scan
from shippers.archive import packing
from shippers.archive.packing import Measured, PackedBody, PartDigests, measure
from tests.support.logs import write_log


def segment(directory: Path) -> SegmentFile:
    return next(iter(scan(directory).logs.values()))[0]


def test_same(tmp_path: Path) -> None:
    plain = write_log(tmp_path, records=2000).paths[0]
    content = plain.read_bytes()
    found = [measure(segment(tmp_path))]
    for suffix, form in ((".zst", zstandard.compress(content, 9)), (".gz", gzip.compress(content))):
        plain.unlink(missing_ok=True)
        packed = plain.with_name(plain.name + suffix)
        packed.write_bytes(form)
        found.append(measure(segment(tmp_path)))
        packed.unlink()
    assert found[0] == found[1] == found[2]
    assert found[0].content_bytes == len(content)


def test_measured(tmp_path: Path) -> None:
    content = write_log(tmp_path, records=3000).paths[0].read_bytes()
    measured = measure(segment(tmp_path))
    with PackedBody(segment(tmp_path), measured.size_bytes) as body:
        stored = body.read()
    assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stored)).read() == content
    assert measured == Measured(
        len(stored),
        sha256(stored).hexdigest(),
        b64encode(sha256(stored).digest()).decode(),
        len(content),
    )
    assert not measured.in_parts


def test_measured_in_parts() -> None:
    content = os.urandom(packing.PART_BYTES * 2 + 1000)
    digests = PartDigests()
    for begin in range(0, len(content), 1_000_003):
        digests.update(content[begin : begin + 1_000_003])
    parts = [
        content[n : n + packing.PART_BYTES] for n in range(0, len(content), packing.PART_BYTES)
    ]
    whole = sha256(b"".join(sha256(part).digest() for part in parts)).digest()
    assert digests.checksum() == f"{b64encode(whole).decode()}-3"
    assert digests.size_bytes == len(content)


@settings(max_examples=40)
@given(places=st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 30_000)), max_size=8))
def test_again(places: list[tuple[int, int]]) -> None:
    found, size = _packed()
    with PackedBody(found, size) as body:
        whole = body.read()
        assert len(whole) == size == body.seek(0, io.SEEK_END)
        for place, length in places:
            assert body.seek(place) == place
            assert body.read(length) == whole[place : place + length]
            assert body.tell() == min(place + length, max(place, size))


def _packed(cache: list[tuple[SegmentFile, int]] = []) -> tuple[SegmentFile, int]:  # noqa: B006  (once for all examples)
    if not cache:
        import tempfile

        place = Path(tempfile.mkdtemp())
        write_log(place, records=400)
        cache.append((segment(place), measure(segment(place)).size_bytes))
    return cache[0]
