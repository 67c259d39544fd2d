from __future__ import annotations

import orjson
import pytest

from shippers.archive.manifest import FIRST_SHA256, ArchiveManifest, decode, encode
from tests.auditlog.test_archived import NOW, STORED

MANIFEST = ArchiveManifest(
    "hive1", 7, NOW, FIRST_SHA256, (STORED,), (("audit.example.com/hive1", "41", "root="),)
)


def test_round_trip() -> None:
    content = encode(MANIFEST)
    assert decode(content) == MANIFEST
    assert b'"previous_sha256":"%b"' % (64 * b"0") in content, "the first of a host"
    assert content.count(b"\n") == 1
    assert content.endswith(b"\n")
    assert orjson.loads(content)["objects"][0]["last_hash"] == STORED.last_hash


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"schema":"auditlog.archive.manifest/2"}',
        encode(MANIFEST)[:-20],
        encode(MANIFEST).replace(b'"host":"hive1",', b""),
        encode(MANIFEST).replace(b'"objects":[', b'"objects":[7,'),
        encode(MANIFEST).replace(b'"first_seq":1', b'"first_seq":"1"'),
    ],
)
def test_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (some come from the JSON parser)
        decode(content)
