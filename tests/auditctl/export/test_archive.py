from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from auditctl.errors import ArchiveDamaged
from auditctl.export.archive import verify_archive
from tests.auditctl.export.test_bundle import export
from tests.support.logs import LogBuilder, write_log

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    return write_log(tmp_path / "audit", records=4, segments=2)


def members(path: Path) -> dict[str, bytes]:
    packed = zstandard.ZstdDecompressor().stream_reader(path.read_bytes())
    found = {}
    with tarfile.open(fileobj=packed, mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    return found


def pack(path: Path, contents: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    path.write_bytes(zstandard.ZstdCompressor().compress(made.getvalue()))
    return path


def test_an_export_is_ok_and_says_what_its_manifest_hashes_to(
    tmp_path: Path, built: LogBuilder
) -> None:
    digest = export(built.directory, tmp_path / "case.tar.zst")
    found = verify_archive(tmp_path / "case.tar.zst")
    assert (found.ok, found.manifest_sha256, found.problems) == (True, digest, ())
    assert [(log.log, log.records) for log in found.logs.logs] == [("queen-rbee@hive1", 8)]
    assert found.to_json()["archive"]["manifest_sha256"] == digest
    again = pack(tmp_path / "again.tar.zst", members(tmp_path / "case.tar.zst"))
    assert verify_archive(again).ok


def test_changed(tmp_path: Path, built: LogBuilder) -> None:
    export(built.directory, tmp_path / "case.tar.zst")
    original = members(tmp_path / "case.tar.zst")
    for name, content in original.items():
        for place in {0, len(content) // 3, len(content) - 2}:
            changed = bytearray(content)
            changed[place] ^= 1
            path = pack(tmp_path / "changed.tar.zst", {**original, name: bytes(changed)})
            try:
                found = verify_archive(path)
            except ArchiveDamaged:
                assert name.endswith("MANIFEST.json")
                continue
            assert not found.ok, (name, place)
            said = name.partition("/")[2].replace("MANIFEST.sha256", "MANIFEST.json")
            assert said in str(found.problems)


def test_changed_by_leaving_out_or_putting_in(tmp_path: Path, built: LogBuilder) -> None:
    export(built.directory, tmp_path / "case.tar.zst")
    original = members(tmp_path / "case.tar.zst")
    for name in original:
        if name.endswith("MANIFEST.json"):
            continue
        rest = {other: content for other, content in original.items() if other != name}
        found = verify_archive(pack(tmp_path / "less.tar.zst", rest))
        assert f"{name.partition('/')[2]}: it is missing" in found.problems
    more = {"case/extra.txt": b"x", **original}
    found = verify_archive(pack(tmp_path / "more.tar.zst", more))
    assert found.problems == ("extra.txt: it does not belong to the export",)


def test_foreign(tmp_path: Path, built: LogBuilder) -> None:
    export(built.directory, tmp_path / "case.tar.zst")
    original = members(tmp_path / "case.tar.zst")
    link = tarfile.TarInfo("case/logs/x")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    whole = (tmp_path / "case.tar.zst").read_bytes()
    (tmp_path / "cut.tar.zst").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tar.zst").write_bytes(b"no archive at all")
    without = {name: c for name, c in original.items() if not name.endswith("MANIFEST.json")}
    for path, words in (
        (pack(tmp_path / "link.tar.zst", original, link), "not a plain file"),
        (pack(tmp_path / "none.tar.zst", without), "no MANIFEST.json"),
        (pack(tmp_path / "other.tar.zst", {"case/logs/strange": b"x"}), "is not a segment"),
        (pack(tmp_path / "json.tar.zst", {"case/MANIFEST.json": b"{}"}), "cannot be understood"),
        (pack(tmp_path / "text.tar.zst", {"case/MANIFEST.json": b"{"}), "not JSON"),
        (tmp_path / "cut.tar.zst", "cannot be read to its end"),
    ):
        with pytest.raises(ArchiveDamaged, match=words) as refused:
            verify_archive(path)
        assert str(path) in str(refused.value)
