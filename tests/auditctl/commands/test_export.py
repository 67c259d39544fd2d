from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pyarrow.parquet
import pytest

from tests.support.logs import LogBuilder, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    built = write_log(tmp_path / "audit", records=10, segments=2, days=1)
    built.compress(0)
    return built


def test_a_bundle_is_what_verify_takes(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    target = tmp_path / "case-17.tar.zst"
    made = run("export", built.directory, "-o", target, "--query", "seq>15")
    assert (made.code, made.err) == (0, "")
    first, second = made.out.splitlines()
    assert first == f"{target}: 20 records of 1 log"
    digest = second.rpartition(" ")[2]
    verified = run("verify", target)
    assert verified.code == 0
    assert "ok     queen-rbee@hive1: 20 records in 2 segments" in verified.out
    assert digest in verified.out
    found = run("verify", target, "--json").json
    assert (found["ok"], found["archive"]["sha256"]) == (True, digest)
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    ignored = run("verify", target, "--policy", tmp_path / "trust.policy")
    assert (ignored.code, "run: python3 -I check.py --policy FILE" in ignored.err) == (2, True)
    again = run("export", built.directory, "-o", target)
    assert (again.code, "it is there already" in again.err) == (2, True)


def test_a_damaged_log_is_exported_and_said(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    built.active.write_bytes(built.active.read_bytes().replace(b"task-12", b"task-99"))
    target = tmp_path / "case.tar.zst"
    made = run("export", built.directory, "-o", target, "--json")
    assert made.code == 3
    assert made.json["findings"] == 1
    verified = run("verify", target)
    assert verified.code == 1
    assert "hash_mismatch" in verified.out


def test_records_alone(run: Callable[..., Result], built: LogBuilder, tmp_path: Path) -> None:
    options = ["--query", "seq>8", "--until", "2026-11-23"]
    made = run("export", built.directory, *options, "-o", tmp_path / "some.ndjson")
    assert (made.code, made.out) == (0, f"{tmp_path}/some.ndjson: 2 records\n")
    assert (tmp_path / "some.ndjson").read_bytes() == b"".join(built.lines[8:10])
    run("export", built.directory, *options, "-o", tmp_path / "some.csv")
    rows = [*csv.DictReader(io.StringIO((tmp_path / "some.csv").read_text()))]
    assert [row["seq"] for row in rows] == ["9", "10"]
    shown = run("export", built.directory, *options, "-o", "-", "--format", "ecs")
    numbers = [orjson.loads(line)["event"]["sequence"] for line in shown.out.splitlines()]
    assert numbers == [9, 10]


def test_parquet_is_a_file_of_typed_columns(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    target = tmp_path / "some.parquet"
    made = run("export", built.directory, "--query", "seq>8", "-o", target)
    assert (made.code, made.out, made.err) == (0, f"{target}: 12 records\n", "")
    read = pyarrow.parquet.read_table(target)
    assert read.column("seq").to_pylist() == [*range(9, 21)]
    assert "".join(read.column("record").to_pylist()).encode() == b"".join(built.lines[8:])


def test_parquet_without_pyarrow_says_how_to_get_it(built: LogBuilder, tmp_path: Path) -> None:
    target = tmp_path / "some.parquet"
    code = (
        "import sys; sys.modules['pyarrow'] = None; from auditctl.main import main; "
        f"sys.exit(main(['export', {str(built.directory)!r}, '-o', {str(target)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Run: pip install 'llama-orch-auditlog[parquet]'" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"audit"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "case"], "give --format"),
        (["-o", "-", "--format", "parquet"], "The format parquet cannot be streamed"),
        (["-o", "-", "--format", "bundle"], "The format bundle cannot be streamed"),
        (["-o", "case.tar.zst", "--since", "never"], "is not a time"),
        (["-o", "case.tar.zst", "--query", "a=("], "no field"),
        ([], "Give -o FILE, or --tiles DIR"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Callable[..., Result], built: LogBuilder, options: list[str], words: str
) -> None:
    result = run("export", built.directory, *options)
    assert (result.code, words in result.err) == (2, True)


def test_nothing_to_export_makes_no_file(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    result = run("export", built.directory, "--since", "today", "--until", "now", "--log", "x@*",
                 "-o", tmp_path / "case.tar.zst")  # fmt: skip
    assert result.code == 1
    assert "no record to export" in result.err
    assert {path.name for path in tmp_path.iterdir()} == {"audit"}
