from __future__ import annotations

import datetime as dt

import pytest

from auditlog.format.segment_names import LogId, SegmentName
from shippers.archive.keys import manifest_key, manifest_of_key, segment_key, segment_of_key


@pytest.mark.parametrize("log", ["queen-rbee@hive1", "rbee-hive@gpu-1.example.org+2"])
def test_round_trip(log: str) -> None:
    name = SegmentName(LogId.parse(log), dt.date(2026, 11, 23), 7)
    key = segment_key(name)
    assert key == f"v1/{log}/{log}.2026-11-23.0007.ndjson.zst"
    assert segment_of_key(key) == name
    assert manifest_of_key(manifest_key("gpu-1.example.org", 12)) == ("gpu-1.example.org", 12)


@pytest.mark.parametrize(
    "key",
    [
        "v1/other@host/queen-rbee@hive1.2026-11-23.0007.ndjson.zst",
        "v1/queen-rbee@hive1/queen-rbee@hive1.2026-11-23.0007.ndjson",
        "v1/manifests/hive1/0000000001.json",
        "v1/queen-rbee@hive1/notes.txt",
    ],
)
def test_round_trip_of_no_other_key(key: str) -> None:
    assert segment_of_key(key) is None
    assert (manifest_of_key(key) is None) == ("manifests" not in key)
