"""Comparing the addresses that the retention unit may reach with those it has to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auditctl.config.model import Config, load
from auditctl.doctor.reach import check_reach
from auditctl.installation import Installation

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = "[retention]\nverify_before_delete = 'index'\n"
COUNTS_SOME = "[[retention.logs]]\nmatch = 'rbee-hive@*'\nverify_before_delete = 'index'\n"
DELETES = (
    "index_delete_after = '365d'\nindex_delete_username = 'x'\nindex_delete_password_file = '/x'\n"
)
REMOTE_URL = "https://es.example:9200"


def configured(
    place: Path, retention: str = COUNTS, sink: str = "", url: str = REMOTE_URL
) -> Config:
    path = place / "config.toml"
    path.write_text(
        f"[sinks.main]\nkind = 'elasticsearch'\nurls = ['{url}']\n{sink}{retention}", "utf-8"
    )
    return load(path, environ={})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    installation = Installation()
    installation.apply(installation.plan(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("retention", "sink"), [(COUNTS, ""), (COUNTS_SOME, ""), ("", DELETES), ("", "")]
)
def test_a_cluster_elsewhere_has_to_be_allowed(root: Path, retention: str, sink: str) -> None:
    config = configured(root, retention, sink)
    (found,) = check_reach(config, root)
    assert (found.state, "sink main" in found.detail) == ("warn", True)
    assert "systemctl edit auditlog-retention" in found.mend
    drop_in = root / "etc/systemd/system/auditlog-retention.service.d/override.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nIPAddressAllow=192.0.2.10\n", "utf-8")
    assert not list(check_reach(config, root))


def test_what_asks_no_cluster_needs_none(root: Path) -> None:
    shipper = "username = 'x'\npassword_file = '/x'\n"  # which retention's user cannot read
    assert not list(check_reach(configured(root, "", shipper), root))
    trusting = "[retention]\nverify_before_delete = 'none'\n"
    assert not list(check_reach(configured(root, trusting), root))
    assert not list(check_reach(configured(root, url="http://localhost:9200"), root))


def test_a_host_without_the_unit(tmp_path: Path) -> None:
    assert not list(check_reach(configured(tmp_path), tmp_path))
