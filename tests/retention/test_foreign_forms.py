"""Foreign files from plain to compressed."""

from __future__ import annotations

import gzip
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import zstandard

from retention.errors import SegmentChanged
from retention.foreign_content import inspect_foreign
from retention.foreign_forms import check_forms, compress_foreign
from retention.subjects import AdoptedFile
from tests.support.foreign import DAY, NOW, foreign_policy, leave

if TYPE_CHECKING:
    from pathlib import Path

    from retention.policy import Compression


def adopted(directory: Path, *forms: str, compression: Compression = "gzip") -> AdoptedFile:
    (foreign,) = foreign_policy(directory).foreign
    foreign = replace(foreign, policy=replace(foreign.policy, compression=compression))
    path = leave(directory, "a.ndjson", 40 * DAY, lines=200)
    content, _ = inspect_foreign(path, "", foreign.timestamp_fields, threading.Event())
    return AdoptedFile(
        path, ("", *forms), path.stat().st_size, foreign, NOW - 40 * DAY, content=content
    )


def compress(file: AdoptedFile) -> int:
    assert file.content is not None
    return compress_foreign(file, file.content, threading.Event())


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_equal(tmp_path: Path, compression: Compression) -> None:
    file = adopted(tmp_path, compression=compression)
    plain = file.path.read_bytes()
    freed = compress(file)
    (name,) = names(tmp_path)
    packed = (tmp_path / name).read_bytes()
    assert freed == len(plain) - len(packed)
    if compression == "gzip":
        assert (name, gzip.decompress(packed)) == ("a.ndjson.gz", plain)
    else:
        unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
        assert (name, unpacked) == ("a.ndjson.zst", plain)


def test_torn(tmp_path: Path) -> None:
    """Cut at every place, a form is replaced; one that holds anything else never is."""
    file = adopted(tmp_path, ".gz")
    plain, target = file.path.read_bytes(), tmp_path / "a.ndjson.gz"
    whole = gzip.compress(plain)
    for cut in (0, 5, 20, len(whole) // 2, len(whole) - 1):
        file.path.write_bytes(plain)
        target.write_bytes(whole[:cut])
        before = len(plain) + cut
        freed = compress(file)
        assert names(tmp_path) == ["a.ndjson.gz"]
        assert gzip.decompress(target.read_bytes()) == plain
        assert freed == before - target.stat().st_size
    for other in (plain + b"more\n", b"other\n" + plain, b"x"):
        file.path.write_bytes(plain)
        target.write_bytes(gzip.compress(other))
        with pytest.raises(SegmentChanged, match="hold different lines"):
            compress(file)
        assert file.path.read_bytes() == plain
        assert gzip.decompress(target.read_bytes()) == other


def test_a_whole_form_is_kept_as_it_is(tmp_path: Path) -> None:
    file = adopted(tmp_path, ".gz", compression="zstd")
    packed = gzip.compress(file.path.read_bytes())
    (tmp_path / "a.ndjson.gz").write_bytes(packed)
    compress(file)
    assert names(tmp_path) == ["a.ndjson.gz"]
    assert (tmp_path / "a.ndjson.gz").read_bytes() == packed


def test_attributes(tmp_path: Path) -> None:
    file = adopted(tmp_path)
    file.path.chmod(0o640)
    before = file.path.stat()
    compress(file)
    after = (tmp_path / "a.ndjson.gz").stat()
    for name in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
        assert getattr(after, name) == getattr(before, name)


def test_untouched(tmp_path: Path) -> None:
    file = adopted(tmp_path)
    with file.path.open("ab") as grown:
        grown.write(b"more\n")
    before = file.path.read_bytes()
    with pytest.raises(SegmentChanged, match="changed"):
        compress(file)
    assert names(tmp_path) == ["a.ndjson"]
    file = adopted(tmp_path)
    (tmp_path / "a.ndjson.gz").symlink_to("elsewhere")  # came since the plan
    with pytest.raises(SegmentChanged, match="another process"):
        compress(file)
    assert names(tmp_path) == ["a.ndjson", "a.ndjson.gz"]
    assert len(check_forms(file, threading.Event())) == 1
    assert before
