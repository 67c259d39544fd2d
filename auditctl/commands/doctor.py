"""``auditctl doctor``: check this host; see auditctl.doctor for the checks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from auditctl.config.model import load
from auditctl.doctor.archive import check_archive
from auditctl.doctor.check_result import CheckResult
from auditctl.doctor.disks import check_directory, check_state, why_unlisted
from auditctl.doctor.environment import check_environment
from auditctl.doctor.host import check_host
from auditctl.doctor.reach import check_reach
from auditctl.doctor.registry import check_registry
from auditctl.doctor.services import check_agent, check_sink
from auditctl.doctor.units import check_units
from auditctl.doctor.witnesses import check_witnesses
from auditctl.errors import ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.options import DIRECTORY, chosen, config_option, json_option
from auditctl.output import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditctl.doctor.check_result import CheckState

_COLOURS: Final[dict[CheckState, render.Colour]] = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@json_option("auditctl.doctor/1")
def doctor(directory: Path | None, *, config_path: Path | None, as_json: bool) -> int:
    """Check whether this host is ready for audit logs.

    Checks the configuration, DIR or all configured directories and their disks, the clock, kernel
    limits, systemd units, the agent and the sinks, and prints how to fix each problem. It writes
    and syncs 400 KiB in each directory, removes them again, and changes nothing else. Exits with 1
    when a check fails; a warning does not change the exit code.

    \b
    Examples:
      sudo -u auditlog auditctl doctor
      auditctl doctor /var/log/llama-orch/audit
      auditctl doctor --json | jq -r '.checks[] | select(.state != "ok") | .mend'
    """
    findings = [*_findings(directory, config_path)]
    failed = any(finding.state == "fail" for finding in findings)
    if as_json:
        checks = [finding.to_json() for finding in findings]
        found = {"schema": "auditctl.doctor/1", "ok": not failed, "checks": checks}
        render.print_json(found, indent=True)
    else:
        for finding in findings:
            mark = render.paint(finding.state.ljust(4), _COLOURS[finding.state])
            render.print_text(f"{mark} {finding.check}: {render.clean(finding.detail)}")
            if finding.state != "ok":
                render.print_text(f"     {render.clean(finding.mend)}")
    return ExitCode.FAILED if failed else ExitCode.OK


def _findings(directory: Path | None, config_path: Path | None) -> Iterator[CheckResult]:
    try:
        config = load(config_path)
        listed = tuple(place for place in config.directories if not why_unlisted(place))
        replace(config, directories=listed).check_logs()
        if directory is not None or config.directories:
            config, _ = chosen(directory, config_path)
    except ConfigError as error:
        yield CheckResult("configuration", "fail", str(error), "auditctl config check")
        return
    yield CheckResult("configuration", "ok", "it can be used")
    yield from _going_on("host", check_host())
    yield from _going_on("environment", check_environment())
    yield from _going_on("units", check_units())
    yield from _going_on("reach", check_reach(config))
    yield from _going_on("witnesses", check_witnesses(config))
    yield from _going_on("archive", check_archive(config))
    for place in config.directories:
        yield from _going_on("directory", check_directory(place))
    if not config.directories and not config.sources:
        mend = "auditctl config init > /etc/auditlog/config.toml, and name them there"
        yield CheckResult("directories", "warn", "none is configured, and none was given", mend)
    elif config.state_dir is not None or len(config.directories) == 1:
        yield from _going_on("state", check_state(config.state_directory()))
        yield from _going_on(
            "records", check_registry(config.directories, config.state_directory())
        )
    if config.sinks:
        yield check_agent(config)
    for sink in config.sinks:
        sources = [source.name for source in config.sources]
        yield from _going_on(f"sink {sink.name}", check_sink(sink, sources))


def _going_on(check: str, findings: Iterator[CheckResult]) -> Iterator[CheckResult]:
    """Turn what cannot be read into a finding, so that the other checks are still made."""
    try:
        yield from findings
    except OSError as error:
        detail = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        mend = "Run it as root or the agent's user, and see that the disk works."
        yield CheckResult(check, "fail", detail, mend)
