"""A host whose log is signed and cosigned, made once and copied for each test."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest

from tests.support.signed_host import SignedHost


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> SignedHost:
    host = SignedHost.build(tmp_path_factory.mktemp("host"))
    host.sign(1, 2)
    return host


@pytest.fixture
def host(original: SignedHost, tmp_path: Path) -> SignedHost:
    """Fifteen witnessed records."""
    place = tmp_path / "host"
    shutil.copytree(original.place, place)
    log = copy.copy(original.log)
    log.directory, log.lines, log.names = place / "audit", [*log.lines], [*log.names]
    config = place / "config.toml"
    config.write_text(config.read_text().replace(str(original.place), str(place)))
    return SignedHost(place, log)
