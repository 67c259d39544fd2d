from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from auditctl.doctor.units import check_units
from auditctl.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditctl.doctor.check_result import CheckResult
    from tests.auditctl.conftest import Result

OTHERS: dict[str, Any] = {
    "program": "/opt/audit/auditctl",
    "directory": "/srv/audit",
    "agent": "shipper",
    "writer": "services",
    "services": ("worker@",),
}


def install(root: Path, **options: Any) -> None:
    installation = Installation(**options)
    installation.apply(installation.plan(root))
    program = root / installation.program.lstrip("/")
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch(0o755)


def only(root: Path) -> CheckResult:
    (found,) = check_units(root)
    return found


def mend(run: Callable[..., Result], found: CheckResult) -> None:
    """Does what the finding says, but for systemd's part, which needs a running one."""
    command, _, rest = found.mend.partition(" && ")
    assert rest.startswith("systemctl daemon-reload")
    program, *arguments = shlex.split(command)
    assert program == "auditctl"
    assert run(*arguments).code == 0


def test_a_host_without_units(tmp_path: Path) -> None:
    found = only(tmp_path)
    assert (found.state, "none is installed" in found.detail) == ("ok", True)


@pytest.mark.parametrize("options", [{}, OTHERS])
def test_units_that_are_as_they_were_laid_out(tmp_path: Path, options: dict[str, Any]) -> None:
    install(tmp_path, **options)
    found = only(tmp_path)
    assert (found.state, "as auditctl install writes them" in found.detail) == ("ok", True)


@pytest.mark.parametrize("options", [{}, OTHERS])
def test_a_unit_that_was_changed_is_a_warning_and_can_be_mended(
    run: Callable[..., Result], tmp_path: Path, options: dict[str, Any]
) -> None:
    install(tmp_path, **options)
    unit = tmp_path / "etc/systemd/system/auditlog-agent.service"
    text = unit.read_text()
    unit.write_text(text.replace("NoNewPrivileges=yes", "NoNewPrivileges=no"))
    found = only(tmp_path)
    assert (found.state, str(unit) in found.detail) == ("warn", True)
    assert found.mend.endswith("systemctl edit auditlog-agent.service")
    mend(run, found)
    assert only(tmp_path).state == "ok"
    assert unit.read_text() == text


@pytest.mark.parametrize(
    "gone",
    [
        "etc/systemd/system/auditlog-agent.service",
        "etc/systemd/system/auditlog-retention.service",
        "etc/sysusers.d/auditlog.conf",
        "etc/tmpfiles.d/auditlog.conf",
    ],
)
@pytest.mark.parametrize("options", [{}, OTHERS])
def test_a_file_that_is_missing_is_a_failure_and_can_be_mended(
    run: Callable[..., Result], tmp_path: Path, gone: str, options: dict[str, Any]
) -> None:
    install(tmp_path, **options)
    (tmp_path / gone).unlink()
    found = only(tmp_path)
    assert (found.state, found.detail) == ("fail", f"{tmp_path / gone} is missing")
    mend(run, found)
    assert only(tmp_path).state == "ok"


def test_a_program_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    install(tmp_path, **OTHERS)
    (tmp_path / "opt/audit/auditctl").unlink()
    found = only(tmp_path)
    assert (found.state, "/opt/audit/auditctl" in found.detail) == ("fail", True)
    assert "--program PATH" in found.mend


def test_a_unit_that_cannot_be_understood_is_a_failure(tmp_path: Path) -> None:
    install(tmp_path)
    unit = tmp_path / "etc/systemd/system/auditlog-agent.service"
    unit.write_text(unit.read_text().replace("User=auditlog", "User=%u"))
    assert only(tmp_path).state == "fail"


def test_the_configuration_is_its_operators(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "etc/auditlog/config.toml").write_text("directories = ['/srv']\n")
    assert only(tmp_path).state == "ok"


def test_doctor_looks_at_the_units(run: Callable[..., Result]) -> None:
    checks = run("doctor", "--json").json["checks"]
    assert any(check["check"] == "units" for check in checks)
