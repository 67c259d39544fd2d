"""Benchmarks whose cases can be run at once do what they say, with a few records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import archive, cost
from benchmarks.workload import WORKLOADS, write_log

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.s3 import S3Server


def test_a_sink_that_keeps_nothing_takes_every_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "audit", 100)
    monkeypatch.setenv("BENCHMARK_LOG", str(tmp_path / "audit"))
    assert cost.ship_nowhere() > 0


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_case_of_the_archive_finds_what_was_archived(
    workload: str, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "RECORDS", 500)
    monkeypatch.setattr(archive, "SEGMENT_BYTES", 100_000)
    for name, value in archive.prepare(tmp_path, s3_server.url, workload).items():
        monkeypatch.setenv(name, value)
    figures = {name: case.run() for name, case in archive.CASES.items()}
    assert min(figures.values()) > 0
    assert figures["requests"] == 1
    assert figures["bytes"] > figures["zstd -3 bytes"]
