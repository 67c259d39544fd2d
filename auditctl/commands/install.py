"""``auditctl install``: write systemd units, sysusers, tmpfiles and a configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from auditctl.installation import Installation
from auditctl.options import PATH, TEXT, json_option
from auditctl.output import render

_NEXT: Final = (
    (
        "systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload "
        "&& auditctl config check"
    ),
    "systemctl enable --now auditlog-agent auditlog-retention",
)


@click.command
@click.option(
    "--root", type=PATH, default=Path("/"), help="Install below this directory, such as an image."
)
@click.option(
    "--user",
    type=TEXT,
    default="auditlog",
    help="User of the shipper: reads audit logs, cannot change them.",
)
@click.option("--writer", type=TEXT, default="llama-orch", help="User of the services that write.")
@click.option(
    "--service",
    "services",
    type=TEXT,
    multiple=True,
    default=("queen-rbee", "rbee-hive"),
    help="Service that writes, for its drop-in; may be repeated.",
)
@click.option(
    "--directory",
    type=TEXT,
    default="/var/log/llama-orch/audit",
    help="Directory of the audit logs.",
)
@click.option(
    "--program", type=TEXT, help="Path of auditctl on that host, instead of this program's own."
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, without doing it.")
@json_option("auditctl.install/1")
def install(
    *,
    root: Path,
    user: str,
    writer: str,
    services: tuple[str, ...],
    directory: str,
    program: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Install units, users, directories and a configuration on a host.

    Writes files below etc/ and starts nothing; a second run changes only files that differ. An
    existing configuration is kept.

    \b
    Examples:
      auditctl install --dry-run
      auditctl install --root /mnt/image --user shipper
    """
    installation = Installation(
        program=program or str(Path(sys.argv[0]).absolute()),
        directory=directory,
        agent=user,
        writer=writer,
        services=services,
    )
    if root == Path("/"):
        installation.check_program()
    steps = installation.plan(root)
    if not dry_run:
        installation.apply(steps)
    if as_json:
        files = [{"path": str(step.path), "state": step.state} for step in steps]
        answer = {"schema": "auditctl.install/1", "root": str(root), "dry_run": dry_run}
        render.print_json({**answer, "files": files}, indent=True)
        return
    for line in render.table([(step.state, str(step.path)) for step in steps]):
        render.print_line(line)
    if any(step.state in ("create", "update") for step in steps) and not dry_run:
        render.say(f"auditctl: edit {root / 'etc/auditlog/config.toml'}, then run on that host:")
        for command in _NEXT:
            render.say(f"  {command}")
