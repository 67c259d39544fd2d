"""Deletions by retention of other hosts: an export and both checks believe what verify believes."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditctl.export.archive import verify_archive
from tests.auditctl.export.test_bundle import check, export
from tests.auditctl.export.test_check import LOG, edit_manifest
from tests.support.erasures import erase
from tests.support.logs import write_log
from tests.support.signed_host import SignedHost, unpack
from tests.support.tombstones import delete_second_segment

SIGNED_BY_NONE = "in logs of other hosts too: MANIFEST.json, which nothing signs, allows it\n"


def allow(host: SignedHost, *hosts: str) -> None:
    if hosts:
        config = host.config.read_text()
        host.config.write_text(f"retention_hosts = {[*hosts]}\n{config}")


def packed(place: Path) -> Path:
    """Let whoever made the export pack it again."""
    target = place.with_name("again.tar")
    paths = [path for path in place.rglob("*") if path.is_file()]
    paths.sort(key=lambda path: (path.name == "MANIFEST.json", "retention@" not in path.name, path))
    with tarfile.open(target, "w") as tar:
        for path in paths:
            info = tarfile.TarInfo(f"{place.name}/{path.relative_to(place)}")
            info.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(info, file)
    return target


def without_findings(manifest: dict[str, Any]) -> None:
    manifest["ok"] = True
    for log in manifest["logs"]:
        log["findings"] = []


@pytest.mark.parametrize(
    ("writer", "hosts", "is_whole"),
    [
        ("hive9", (), False),
        ("hive9", ("hive8",), False),
        ("hive9", ("hive8", "hive9"), True),
        ("hive1", (), True),
        ("hive1+other", (), True),
    ],
)
def test_an_export_is_whole_where_verify_finds_the_directory_whole(
    host: SignedHost, writer: str, hosts: tuple[str, ...], is_whole: bool
) -> None:
    allow(host, *hosts)
    delete_second_segment(host.log, writer)
    host.run("verify", str(host.audit), code=0 if is_whole else 1)
    place = host.export(code=0 if is_whole else 3)
    manifest = orjson.loads((place / "MANIFEST.json").read_bytes())
    assert (manifest["ok"], manifest["retention_hosts"]) == (is_whole, sorted({"hive1", *hosts}))
    code, said = check(place)
    assert code == (0 if is_whole else 1), said
    assert verify_archive(place.with_name(f"{place.name}.tar.zst")).ok == is_whole
    name = writer.partition("+")[0]
    assert (f"deletions and erasures on record by {name} are believed" in said) == is_whole
    assert (SIGNED_BY_NONE in said) == ((writer, is_whole) == ("hive9", True))
    code, said = check(place, "--policy", host.policy)
    assert code == (0 if is_whole else 1), said


def test_a_deletion_by_a_foreign_host_is_found_also_where_the_export_hides_it(
    host: SignedHost,
) -> None:
    delete_second_segment(host.log, "hive9")
    place = host.export(code=3)
    edit_manifest(place, without_findings)
    code, said = check(place)
    assert (code, f"MANIFEST.json lets its host delete no part of {LOG}" in said) == (1, True), said
    assert "it does not follow record 5" in said
    report = verify_archive(packed(place))
    problems = "".join(report.problems)
    assert (report.ok, f"retention@hive9: no deletion from {LOG}" in problems) == (False, True)


@pytest.mark.parametrize("hosts", [(), ("hive9",)])
def test_an_erasure_by_a_foreign_host_is_none(host: SignedHost, hosts: tuple[str, ...]) -> None:
    allow(host, *hosts)
    erase(host.log, 7, host="hive9")
    place = host.export(code=0 if hosts else 3)
    edit_manifest(place, without_findings)
    code, said = check(place)
    assert code == (0 if hosts else 1), said
    assert ("line 2: its hash is not of its content" in said) != bool(hosts)
    report = verify_archive(packed(place))
    assert report.ok == bool(hosts), report.problems
    assert hosts or "no proof of the erasure of record 7" in "".join(report.problems)


def test_without_a_configuration_every_host_of_the_directory_is_believed(tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", records=5, segments=3, days=1)
    delete_second_segment(log, "hive9")
    export(log.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    assert orjson.loads((place / "MANIFEST.json").read_bytes())["retention_hosts"] is None
    code, said = check(place)
    believed = f"deletions and erasures on record by hive9 are believed, {SIGNED_BY_NONE}"
    assert (code, believed in said) == (0, True), said
    assert verify_archive(tmp_path / "case.tar.zst").ok
