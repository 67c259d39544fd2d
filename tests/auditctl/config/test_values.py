from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from auditctl.config.model import SINK, TOP, SocketAddress
from auditctl.config.policies import RETENTION
from auditctl.config.values import to_flag, to_size

EVERY = {**TOP, **{f"sink {name}": setting for name, setting in SINK.items()}, **RETENTION}


@pytest.mark.parametrize(
    ("name", "from_file", "from_environment", "value"),
    [
        ("directories", ["/a", "/b"], "/a:/b", (Path("/a"), Path("/b"))),
        ("state_dir", "/var/lib/auditlog", "/var/lib/auditlog", Path("/var/lib/auditlog")),
        ("host", "hive1", "hive1", "hive1"),
        ("metrics", "[::1]:9464", "[::1]:9464", SocketAddress("::1", 9464)),
        ("metrics", "", "", None),
        ("max_in_flight", 33554432, "32MiB", 32 << 20),
        ("sink urls", ["http://a:9200", "http://b/"], "http://a:9200,http://b/",
         ("http://a:9200", "http://b/")),
        ("sink ca_fingerprint", "ab" * 32, "ab" * 32, "ab" * 32),
        ("sink compression", "gzip", "gzip", "gzip"),
        ("sink request_timeout", "90s", "90s", dt.timedelta(seconds=90)),
        ("sink shards", 3, "3", 3),
        ("sink replicas", 0, "0", 0),
        ("compress_after", "36h", "36h", dt.timedelta(hours=36)),
        ("level", 9, "9", 9),
        ("max_delete_fraction", 0.25, "0.25", 0.25),
    ],
)  # fmt: skip
def test_both_sources_give_the_same_value(
    name: str, from_file: Any, from_environment: str, value: Any
) -> None:
    assert EVERY[name].convert(from_file) == EVERY[name].convert(from_environment) == value


def test_both_sources_of_a_flag() -> None:
    assert [to_flag(value) for value in (True, "true", False, "false")] == [
        True,
        True,
        False,
        False,
    ]
    for wrong in (1, "yes", None):
        with pytest.raises(ValueError, match="true or false"):
            to_flag(wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("directories", []),
        ("directories", "/a:/a"),
        ("directories", [1]),
        ("state_dir", 7),
        ("state_dir", ""),
        ("state_dir", "/a\x1b[2J"),
        ("host", "a b"),
        ("metrics", "9464"),
        ("metrics", "127.0.0.1:99999"),
        ("metrics", True),
        ("max_in_flight", "1KiB"),
        ("max_in_flight", -1),
        ("max_in_flight", 1.5),
        ("max_in_flight", True),
        ("sink kind", "opensearch"),
        ("sink compression", "zstd"),
        ("compress_after", "30"),
        ("compress_after", 30),
        ("compress_after", "0d"),
        ("level", "high"),
        ("level", True),
        ("keep_at_least", 1.0),
        ("max_delete_fraction", "half"),
        ("max_delete_fraction", True),
    ],
)
def test_refused_values_are_told_what_they_have_to_be(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\w") as raised:
        EVERY[name].convert(value)
    assert "secret" not in str(raised.value)


def test_sizes() -> None:
    assert [to_size(text) for text in ("10", "10B", "2KiB", "2 MiB", "1GiB")] == [
        10,
        10,
        2 << 10,
        2 << 20,
        1 << 30,
    ]
