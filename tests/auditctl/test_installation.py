from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest

from auditctl.errors import CommandFailed
from auditctl.installation import Installation
from auditlog.errors import InvalidName
from tests.support.operations import DEPLOY


def installed(root: Path, **options: object) -> dict[str, str]:
    """Return the state of each file."""
    installation = Installation(**options)  # type: ignore[arg-type]  # names and texts, as given
    steps = installation.plan(root)
    installation.apply(steps)
    return {str(step.path.relative_to(root)): step.state for step in steps}


def texts(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("*.*")
        if path.is_file()
    }


def test_idempotent(tmp_path: Path) -> None:
    assert set(installed(tmp_path).values()) == {"create"}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert set(installed(tmp_path).values()) == {"unchanged"}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_all_can_read_it_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        installed(tmp_path / "image")
    finally:
        os.umask(before)
    modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in tmp_path.rglob("*")}
    assert modes == {(True, 0o755), (False, 0o644)}


def test_what_was_changed_by_hand_is_mended(tmp_path: Path) -> None:
    installed(tmp_path)
    unit = tmp_path / "etc/systemd/system/auditlog-agent.service"
    text = unit.read_text()
    unit.write_text(text.replace("NoNewPrivileges=yes", "NoNewPrivileges=no"))
    states = installed(tmp_path)
    assert states.pop("etc/systemd/system/auditlog-agent.service") == "update"
    assert set(states.values()) == {"unchanged"}
    assert unit.read_text() == text


def test_yours(tmp_path: Path) -> None:
    config = tmp_path / "etc/auditlog/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("directories = ['/srv']\n")
    assert installed(tmp_path)["etc/auditlog/config.toml"] == "yours"
    assert config.read_text() == "directories = ['/srv']\n"


def test_planning_changes_nothing(tmp_path: Path) -> None:
    Installation().plan(tmp_path)
    assert not list(tmp_path.iterdir())


def test_whole_words(tmp_path: Path) -> None:
    installed(
        tmp_path,
        agent="shipper",
        writer="auditlog",  # becomes the writer where llama-orch stood, and nowhere else
        program="/opt/audit/bin/auditctl",
        directory="/srv/audit",
        services=("queen-rbee.service", "worker@"),
    )
    found = texts(tmp_path)
    agent = found["etc/systemd/system/auditlog-agent.service"]
    assert "User=shipper\nGroup=shipper\n" in agent
    assert "ExecStartPre=-/opt/audit/bin/auditctl evidence init\n" in agent
    assert "ExecStart=/opt/audit/bin/auditctl agent --only ship\n" in agent
    assert "ReadOnlyPaths=-/srv/audit\nReadWritePaths=/var/lib/auditlog\n" in agent
    assert "https://docs.llama-orch.example/agent.html" in agent
    retention = found["etc/systemd/system/auditlog-retention.service"]
    assert "User=auditlog\n" in retention
    assert "SupplementaryGroups=shipper\n" in retention
    assert (
        "d /srv/audit/.auditlog  2750 auditlog shipper -" in found["etc/tmpfiles.d/auditlog.conf"]
    )
    assert 'u auditlog - "auditlog services"' in found["etc/sysusers.d/auditlog.conf"]
    assert "etc/systemd/system/queen-rbee.service.d/50-auditlog.conf" in found
    assert "etc/systemd/system/worker@.service.d/50-auditlog.conf" in found
    assert (
        'directories = ["/srv/audit", "/var/lib/auditlog/evidence"]'
        in found["etc/auditlog/config.toml"]
    )


@pytest.mark.parametrize(
    "options",
    [
        {"agent": "root user"},
        {"writer": "llama\nUser=root"},
        {"directory": "audit"},
        {"directory": "/srv/audit dir"},
        {"program": "/bin/sh -c true"},
        {"services": ("../x",)},
        {"agent": "one", "writer": "one"},
    ],
    ids=str,
)
def test_what_cannot_stand_in_a_unit_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidName):
        Installation(**options)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("program", ["/root/venv/bin/auditctl", "/etc/passwd", "/no/such/program"])
def test_a_program_that_the_units_cannot_execute_is_refused(program: str) -> None:
    with pytest.raises(CommandFailed, match="could not start") as raised:
        Installation(program=program).check_program()
    assert "--program" in raised.value.hint


def test_a_script_is_refused_for_its_interpreter() -> None:
    Installation(program="/usr/bin/env").check_program()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:  # which every user can enter
        Path(name).chmod(0o755)
        script = Path(name) / "auditctl"
        script.write_text("#!/root/venv/bin/python\n")
        script.chmod(0o755)
        with pytest.raises(CommandFailed, match="hidden from the units") as raised:
            Installation(program=str(script)).check_program()
    assert raised.value.path == Path("/root/venv/bin/python")


def test_the_units_let_journalctl_follow_and_refuse_a_reload_that_cannot_work() -> None:
    """journalctl --follow needs /proc/sys/kernel/random/boot_id, which ProcSubset=pid hides."""
    for name, part in (("agent", "ship"), ("retention", "retain")):
        unit = (DEPLOY / f"systemd/auditlog-{name}.service").read_text()
        assert re.search(r"^ProcSubset=pid$", unit, re.MULTILINE) is None
        reload = re.findall(r"^ExecReload=(.*)$", unit, re.MULTILINE)
        assert reload == [
            f"/usr/bin/auditctl config check --only {part}",
            "/bin/kill -HUP $MAINPID",
        ]


def test_the_writers_user_may_reach_the_state_directory() -> None:
    """`sudo -u llama-orch auditctl hold add` writes there."""
    assert "\nm llama-orch auditlog\n" in (DEPLOY / "systemd/sysusers.conf").read_text()
