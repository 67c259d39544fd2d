from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from auditctl.doctor.disks import check_directory, check_state, filesystem_of
from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditctl.doctor.check_result import CheckResult


def states(findings: Iterable[CheckResult]) -> dict[str, str]:
    return {finding.check: finding.state for finding in findings}


def test_a_directory_as_it_should_be(tmp_path: Path) -> None:
    write_log(tmp_path / "audit", records=1)
    found = states(check_directory(tmp_path / "audit"))
    assert set(found) == {"directory", "permissions", "file system", "space", "sync"}
    assert found["directory"] == found["permissions"] == "ok"


def test_reads_only(tmp_path: Path) -> None:
    built = write_log(tmp_path / "audit", records=1)
    before = built.active.read_bytes()
    assert [*check_directory(built.directory)]
    assert {path.name for path in built.directory.iterdir()} == {built.active.name}
    assert built.active.read_bytes() == before


def test_what_is_open_to_everybody_is_named(tmp_path: Path) -> None:
    built = write_log(tmp_path / "audit", records=1)
    built.active.chmod(0o644)
    assert states(check_directory(built.directory))["permissions"] == "warn"
    built.directory.chmod(0o777)
    (found,) = check_directory(built.directory)
    assert (found.state, found.mend) == ("fail", "Run chmod o-w on it.")


def test_a_file_that_goes_while_it_is_looked_at_is_no_finding(tmp_path: Path) -> None:
    built = write_log(tmp_path / "audit", records=1)
    names = [built.directory / f"x{n}.ndjson" for n in range(1000)]
    for path in names:
        path.touch(0o600)
    findings = check_directory(built.directory)
    assert next(findings).check == "directory"
    remove = threading.Thread(target=lambda: [path.unlink() for path in names])
    remove.start()
    permissions = next(findings)
    remove.join()
    assert (permissions.check, permissions.state) == ("permissions", "ok")


def test_a_directory_that_is_missing_or_a_link_or_none(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for name, state in (("gone", "warn"), ("link", "fail"), ("file", "fail")):
        (found,) = check_directory(tmp_path / name)
        assert found.state == state


def test_the_state_directory(tmp_path: Path) -> None:
    assert states(check_state(tmp_path)) == {"state": "ok"}
    assert states(check_state(tmp_path / "new")) == {"state": "ok"}
    assert states(check_state(tmp_path / "no" / "new")) == {"state": "warn"}


def test_a_state_directory_on_a_full_file_system_fails() -> None:
    (found,) = check_state(Path("/proc"))
    assert (found.state, "is full" in found.detail) == ("fail", True)


def test_the_file_system_is_the_one_that_stat_knows(tmp_path: Path) -> None:
    assert filesystem_of(Path("/proc/self")) == "proc"
    done = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE", "--target", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert filesystem_of(tmp_path) == done.stdout.strip()
