"""Compare the installed systemd units with those that ``auditctl install`` would write.

Names of users, services, directory and program are taken from the units themselves, so a host that
was installed with others is not told to go back to the usual ones.  The configuration is its
operator's and not compared.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditctl.doctor.check_result import CheckResult
from auditctl.installation import Installation
from auditlog.errors import AuditLogError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_units"]

_UNITS: Final = Path("etc/systemd/system")
_AGENT: Final = "auditlog-agent.service"
_RETENTION: Final = "auditlog-retention.service"
_DROP_IN: Final = "50-auditlog.conf"
_PLACES: Final = re.compile(r"^d (\S+)/\.auditlog +2750 (\S+) (\S+)", re.MULTILINE)
_OPTIONS: Final = {
    "program": "--program",
    "directory": "--directory",
    "agent": "--user",
    "writer": "--writer",
}


def check_units(root: Path = Path("/")) -> Iterator[CheckResult]:
    """One result for each file that is missing or differs, or a single one when none is."""
    units = root / _UNITS
    drop_ins = sorted(units.glob(f"*.service.d/{_DROP_IN}"))
    if not drop_ins and not any((units / name).exists() for name in (_AGENT, _RETENTION)):
        detail = f"none is installed below {units}; auditctl install writes them"
        yield CheckResult("units", "ok", detail)
        return
    try:
        installation = _installed(units, drop_ins)
        steps = installation.plan(root)
    except (AuditLogError, OSError, UnicodeDecodeError) as error:
        mend = "Look at it, then install the units again: auditctl install"
        yield CheckResult("units", "fail", f"{units} cannot be compared: {error}", mend)
        return
    mend = f"{_command(installation, root)} && systemctl daemon-reload"
    wrong = False
    for step in steps:
        if step.state == "create":
            yield CheckResult("units", "fail", f"{step.path} is missing", mend)
        elif step.state == "update":
            own = f"{mend}; put local changes into a drop-in: systemctl edit {step.path.name}"
            detail = f"{step.path} differs from what auditctl install writes"
            yield CheckResult("units", "warn", detail, own if step.path.parent == units else mend)
        wrong = wrong or step.state in ("create", "update")
    program = root / installation.program.lstrip("/")
    if not os.access(program, os.X_OK):
        detail = f"{program}, which the units start, is not there or cannot be run"
        again = _command(installation, root, without="program")
        yield CheckResult(
            "units", "fail", detail, f"{again} --program PATH && systemctl daemon-reload"
        )
    elif not wrong:
        yield CheckResult("units", "ok", f"those below {units} are as auditctl install writes them")


def _installed(units: Path, drop_ins: list[Path]) -> Installation:
    """Raises InvalidName, OSError."""
    agent, retention = (_read(units / name) for name in (_AGENT, _RETENTION))
    places = _PLACES.search(_read(units.parents[2] / "etc/tmpfiles.d/auditlog.conf"))
    directory, writer, group = ("", "", "") if places is None else places.groups()
    found = {
        "program": _setting(agent, "ExecStart") or _setting(retention, "ExecStart"),
        "directory": _setting(retention, "RequiresMountsFor") or directory,
        "agent": _setting(agent, "User") or _setting(retention, "SupplementaryGroups") or group,
        "writer": _setting(retention, "User") or writer,
    }
    services = tuple(path.parent.name.removesuffix(".service.d") for path in drop_ins)
    usual = Installation()
    known = {name: text for name, text in found.items() if text}
    return replace(usual, services=services or usual.services, **known)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""


def _setting(unit: str, name: str) -> str:
    """The first word of a setting; "" where there is none."""
    found = re.search(rf"^{name}=(\S+)", unit, re.MULTILINE)
    return "" if found is None else found[1]


def _command(installation: Installation, root: Path, without: str = "") -> str:
    """The command that installs the same again, with the program, whose default is the caller's.

    Options that have their usual value are left out.
    """
    words = ["auditctl", "install", *(("--root", str(root)) if root != Path("/") else ())]
    usual = {field.name: field.default for field in fields(Installation)}
    for name, option in _OPTIONS.items():
        text = getattr(installation, name)
        if name != without and (text != usual[name] or name == "program"):
            words += [option, text]
    if installation.services != usual["services"]:
        for service in installation.services:
            words += ["--service", service]
    return shlex.join(words)
