from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import auditlog
from auditlog.writer.installation import known_installations, make_installation


def named(directory: Path) -> list[str | None]:
    records = auditlog.read(directory, types="log.opened")
    return [record.details.get("installation") for record in records]


def test_one_id(tmp_path: Path) -> None:
    """one_id: logs that are opened at the same moment carry the same id, and keep it"""
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: make_installation(tmp_path, 0o640), range(8)))
    assert len(set(made)) == 1
    for service in ("queen-rbee", "rbee-hive", "queen-rbee"):
        auditlog.open(tmp_path / "audit", service=service, host="hive1").close()
    first, second, third = named(tmp_path / "audit")
    assert first == second == third
    assert re.fullmatch("[0-9a-f]{32}", first or "")
    assert first != made[0], "another directory is another installation"
    assert (tmp_path / "installation").stat().st_mode & 0o777 == 0o640
    path = tmp_path / "audit/.auditlog/installation"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("a") as file:
        file.write(f"{'b' * 32}\nnonsense\n")
    assert known_installations(path.parent) == (first, "b" * 32)


def test_optional(tmp_path: Path) -> None:
    """optional: an id that cannot be made or read is left out, and the log is written"""
    (tmp_path / ".auditlog/installation").mkdir(parents=True)
    auditlog.open(tmp_path, service="queen-rbee", host="hive1").close()
    (tmp_path / ".auditlog/installation").rmdir()
    (tmp_path / ".auditlog/installation").write_text("nonsense\n")
    auditlog.open(tmp_path, service="queen-rbee", host="hive1").close()
    assert named(tmp_path) == [None, None]
    assert auditlog.verify(tmp_path).ok
