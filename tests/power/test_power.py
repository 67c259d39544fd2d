"""Two cuts of the power of a virtual machine on each file system; `make power` makes more."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest

from tests.power.__main__ import CACHE
from tests.power.cuts import Series
from tests.power.disk_log import replay_flushed
from tests.power.machine import FILESYSTEMS, Machine, Unavailable
from tests.support.programs import not_run


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    if os.environ.get("AUDITLOG_REQUIRE_POWER") != "1":
        not_run("POWER", "a machine that loses power takes minutes to emulate; make power does it")
    try:
        return Machine.prepare(CACHE, tmp_path_factory.mktemp("machine"))
    except Unavailable as error:
        not_run("POWER", f"a machine that loses power: {error}")


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_nothing_acknowledged_is_lost_when_the_power_is_cut(
    machine: Machine, tmp_path: Path, filesystem: str
) -> None:
    series = Series(machine, tmp_path / filesystem, filesystem, random.Random(filesystem))
    series.cut()
    series.cut()
    series.look()
    assert series.acknowledged


def test_what_was_not_flushed_is_dropped(tmp_path: Path) -> None:
    log, image = tmp_path / "log", tmp_path / "image"
    sector, flush = 512, 1

    def entry(where: int, flags: int, data: bytes) -> bytes:
        head = struct.pack("<QQQQ", where, len(data) // sector, flags, 0)
        return head.ljust(sector, b"\0") + data

    first, second = b"a" * sector, b"b" * sector
    head = struct.pack("<QQQI", 0x6A736677736872, 1, 2, sector).ljust(sector, b"\0")
    log.write_bytes(head + entry(1, 0, first) + entry(0, flush, b"") + entry(2, 0, second))
    image.write_bytes(bytes(3 * sector))
    assert replay_flushed(log, image) == (2, 1)
    assert image.read_bytes() == bytes(sector) + first + bytes(sector)
