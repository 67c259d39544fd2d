from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import auditlog
from auditlog.writer.installation import known_installations
from shippers.sources.audit_log.origin import LogOrigin

LOG = "queen-rbee@hive1"


@pytest.mark.parametrize("form", ["", ".gz"])
def test_ours(tmp_path: Path, form: str) -> None:
    """ours: an id that the file or any segment of the log names is ours, in whatever form it is"""
    auditlog.open(tmp_path, service="queen-rbee", host="hive1").close()
    origin = LogOrigin(tmp_path, LOG)
    (own,) = known_installations(tmp_path / ".auditlog")
    assert origin.is_named()
    assert origin.strangers(frozenset({own})) == frozenset()
    if form:
        [segment] = tmp_path.glob("*.ndjson")
        segment.with_name(f"{segment.name}.gz").write_bytes(gzip.compress(segment.read_bytes()))
        segment.unlink()
    (tmp_path / ".auditlog/installation").unlink()
    assert origin.strangers(frozenset({own})) == frozenset(), "the log itself says so"
    (tmp_path / ".auditlog/installation").write_text(f"{'c' * 32}\n{'d' * 32}\n")
    assert origin.strangers(frozenset({own, "c" * 32, "d" * 32})) == frozenset()


def test_strangers(tmp_path: Path) -> None:
    """strangers: any other is a stranger's"""
    auditlog.open(tmp_path, service="queen-rbee", host="hive1").close()
    auditlog.open(tmp_path, service="rbee-hive", host="hive1").close()
    (own,) = known_installations(tmp_path / ".auditlog")
    strange = frozenset({"a" * 32, "b" * 32})
    assert LogOrigin(tmp_path, LOG).strangers(strange | {own}) == strange
    assert LogOrigin(tmp_path, "none@hive1").strangers(strange) == strange
    assert not LogOrigin(tmp_path / "none", LOG).is_named()
