"""``auditctl forget``: record that a log was retired on purpose; see auditlog.reading.registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditctl.commands.prune import user
from auditctl.errors import CommandFailed
from auditctl.exit_codes import ExitCode
from auditctl.options import DIRECTORY, TEXT, chosen, config_option, json_option
from auditctl.output import render
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import LOG_FORGOTTEN
from auditlog.reading.inventory import scan
from auditlog.reading.registry import known_records_by_directory
from retention.tombstone_log import TombstoneLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditlog.reading.registry import KnownRecord


@click.command
@click.argument("log", metavar="LOG", type=TEXT)
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@click.option("--reason", type=TEXT, required=True, help="Reason for retiring the log.")
@click.option("--force", is_flag=True, help="Record it even if nothing on this host knows the log.")
@json_option("auditctl.forget/1")
def forget(
    log: str,
    directory: Path | None,
    *,
    config_path: Path | None,
    reason: str,
    force: bool,
    as_json: bool,
) -> int:
    """Record that a log was retired on purpose.

    The log is then no longer reported as missing. Use it for a LOG that has no segment left in DIR,
    or in the configured directories, but is still named in the state. The user, time, reason and
    last known record are recorded in the chain of retention's log. Refused with exit code 4 while
    the log still has segments.

    \b
    Examples:
      auditctl forget queen-rbee@old-host audit --reason "host retired, ticket OPS-17"
    """
    log_id = LogId.parse(log)
    config, directories = chosen(directory, config_path)
    for place in directories:
        if place.is_dir() and log_id in scan(place).logs:
            render.say(f"auditctl: {place}: segments of {log} are still there; nothing was done.")
            return ExitCode.REFUSED
    known = known_records_by_directory(directories, config.state_directory())
    seen = [one for each in known.values() for one in each if one.log == log]
    if not seen and not force:
        raise CommandFailed(
            f"log {log} is unknown on this host, or already forgotten",
            hint="See auditctl status for the logs that are missing. A log that only a sink has"
            " needs --force.",
        )
    homes = (place for place, each in known.items() if any(one.log == log for one in each))
    home = next(homes, directories[0])
    through_seq = max((one.seq for one in seen), default=0)
    details = {
        "log": log,
        "through_seq": through_seq,
        "known_from": [one.source for one in seen],
        "reason": reason,
    }
    with TombstoneLog(home, config.host, config.retention_instance(home)) as tombstones:
        tombstones.write(LOG_FORGOTTEN, ("log", log), details, actor=user())
    if as_json:
        found = {"schema": "auditctl.forget/1", "directory": str(home), **details}
        render.print_json(found, indent=True)
    else:
        _print(log, through_seq, seen)
    return ExitCode.OK


def _print(log: str, through_seq: int, seen: Sequence[KnownRecord]) -> None:
    upto = f" up to seq {through_seq}" if through_seq else ""
    source = "; it was known from:" if seen else ""
    render.print_line(f"{render.clean(log)} is forgotten{upto}{source}")
    for one in seen:
        render.print_line(f"  {render.clean(one.source)}")
