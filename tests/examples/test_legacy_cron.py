"""The directory as the old script left it: what that script does with it next, and what we do."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final

import orjson
import pytest

import auditlog
from auditctl.main import main

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "legacy-cron"
CONFIG: Final = """
directories = ["{place}/audit"]
state_dir = "{place}/state"
metrics = ""
[sinks.main]
kind = "sqlite"
path = "{place}/index.sqlite"
[[sources.ndjson]]
name = "legacy"
paths = ["{place}/audit/queen-rbee.*.ndjson", "{place}/audit/rbee-hive.*.ndjson"]
timestamp_field = "timestamp"
[[retention.foreign]]
pattern = "*.ndjson"
"""


def day(audit: Path, ago: int) -> str:
    """Counted from the day the script counted from: by now it may be yesterday."""
    today = max(path.name.split(".")[1] for path in audit.glob("rbee-hive.*.ndjson"))
    return (dt.date.fromisoformat(today) - dt.timedelta(days=ago)).isoformat()


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("AUDITLOG_")]:
        monkeypatch.delenv(name)
    subprocess.run(
        ["bash", EXAMPLE / "leave-files.sh", tmp_path / "audit"], check=True, timeout=240
    )
    (tmp_path / "config.toml").write_text(CONFIG.format(place=tmp_path))
    return tmp_path / "audit"


def auditctl(audit: Path, *arguments: str) -> int:
    return int(main([*arguments, "--config", str(audit.parent / "config.toml")]))


def lines(audit: Path) -> set[bytes]:
    found: set[bytes] = set()
    for path in audit.glob("[qr]*.ndjson*"):
        if "@" not in path.name:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rb") as file:
                found |= set(file.read().splitlines())
    return found


def test_retention_takes_over_what_the_script_left(audit: Path) -> None:
    torn = audit / f"rbee-hive.{day(audit, 50)}.ndjson.gz"
    torn_content = torn.read_bytes()
    torn.unlink()
    written = lines(audit)
    torn.write_bytes(torn_content)
    os.utime(torn, (0, 0))  # nobody is writing it
    before = sorted(path.name for path in audit.iterdir())
    assert auditctl(audit, "prune") == 0
    kept = sorted(path.name for path in audit.iterdir() if path.name[0] != ".")
    assert kept == before, "nothing was shipped yet, so nothing goes"
    assert auditctl(audit, "ship", "--once") == 3, "one file is torn"
    assert auditctl(audit, "prune", "--confirm") == 0
    left = {path.name for path in audit.iterdir() if "@" not in path.name and path.name[0] != "."}
    assert left == {
        "README.txt",
        "latest.ndjson",
        *(f"queen-rbee.{day(audit, ago)}.ndjson.gz" for ago in (80, 60, 45, 40, 35)),
        *(f"queen-rbee.{day(audit, ago)}.ndjson" for ago in (20, 10, 1)),
        f"rbee-hive.{day(audit, 50)}.ndjson.gz",
        f"rbee-hive.{day(audit, 0)}.ndjson",
    }
    gone = {f"queen-rbee.{day(audit, 100)}.ndjson.gz", f"queen-rbee.{day(audit, 95)}.ndjson.gz"}
    gone.add(f"rbee-hive.{day(audit, 110)}.ndjson")
    stones = [
        record.fields["details"]
        for record in auditlog.read(audit, log_events=True)
        if record.event_type == "retention.foreign_deleted"
    ]
    assert {stone["file"] for stone in stones} == gone
    assert auditlog.verify(audit).ok
    assert auditctl(audit, "ship", "--once") == 0
    with closing(sqlite3.connect(audit.parent / "index.sqlite")) as connection:
        rows = connection.execute("SELECT * FROM documents").fetchall()
    shipped = [value for row in rows for value in row if str(value).startswith(('{"', "b'{"))]
    assert len(shipped) == len(written) == 65
    assert lines(audit) <= written


def test_the_first_deletion_under_a_new_pattern_asks(audit: Path) -> None:
    """As it was when retention ran in the directory before the section was there."""
    path = audit.parent / "config.toml"
    whole = path.read_text()
    path.write_text(whole.partition("[[retention.foreign]]")[0])
    assert auditctl(audit, "prune") == 0
    path.write_text(whole)
    assert auditctl(audit, "ship", "--once") == 3
    assert auditctl(audit, "prune") == 4
    assert (audit / f"rbee-hive.{day(audit, 110)}.ndjson").exists()
    assert auditctl(audit, "prune", "--confirm") == 0
    assert not (audit / f"rbee-hive.{day(audit, 110)}.ndjson").exists()


def test_the_script_beside_it(audit: Path) -> None:
    """The differences from cron are those that docs/migrate-from-cron.md lists."""
    beside = audit.parent / "beside"
    shutil.copytree(audit, beside, symlinks=True)
    done = subprocess.run(
        ["sh", EXAMPLE / "audit-retention.sh", beside],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert "already exists" in done.stderr, "gzip stumbles over the torn file each night"
    assert (beside / f"rbee-hive.{day(audit, 110)}.ndjson").exists(), "touched, so it is young"
    assert not (beside / f"queen-rbee.{day(audit, 95)}.ndjson.gz").exists(), (
        "though nobody shipped it"
    )


def test_the_lines_are_as_the_old_crate_wrote_them() -> None:
    real = Path(__file__).parents[1] / "data" / "legacy" / "2026-11-23.audit"
    fields = set(orjson.loads(real.read_bytes().splitlines()[0]))
    script = (EXAMPLE / "leave-files.sh").read_text()
    assert {"audit_id", "timestamp", "service_id", "event"} <= fields
    assert all(f'"{name}"' in script for name in ("audit_id", "timestamp", "service_id", "event"))
