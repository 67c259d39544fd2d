"""``auditctl tail``: print the newest records, and follow them like journalctl."""

from __future__ import annotations

import sys
import threading
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from auditctl.exit_codes import ExitCode
from auditctl.options import (
    DIRECTORY,
    TEXT,
    chosen,
    complete_logs,
    config_option,
    existing_directory,
    log_events_option,
    record_format_option,
)
from auditctl.output import render
from auditlog.errors import LogDamaged
from auditlog.query.heartbeats import HEARTBEAT, names_heartbeats
from auditlog.query.predicate import predicate
from auditlog.query.syntax import parse
from auditlog.reading.follow import Follower

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditlog.format.record import Record
    from auditlog.query.predicate import Predicate

_LOOK_SECONDS: Final = 0.25


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@click.option(
    "-n",
    "--lines",
    default=10,
    show_default=True,
    type=click.IntRange(min=0),
    help="Number of newest records, before --query filters them.",
)
@click.option(
    "-f", "--follow", is_flag=True, help="Print new records as they are written, until Ctrl-C."
)
@click.option(
    "--query", metavar="QUERY", default="", help="Query that records must match; see search."
)
@click.option(
    "--log",
    "pattern",
    type=TEXT,
    shell_complete=complete_logs,
    default="*",
    metavar="GLOB",
    help="Logs to include, such as rbee-hive@*.",
)
@record_format_option
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@log_events_option
def tail(
    directory: Path | None,
    *,
    config_path: Path | None,
    lines: int,
    follow: bool,
    query: str,
    pattern: str,
    output: str,
    as_json: bool,
    log_events: bool,
) -> int:
    """Show the newest records, and follow new ones.

    Shows records of all logs in DIR, or in all configured directories, in the order of their
    timestamps. --query filters the newest records and those that follow; use search to look at all
    records. Heartbeats (log.heartbeat) are left out unless --query or --log-events asks for them.
    Records are not verified.

    \b
    Examples:
      auditctl tail /var/log/llama-orch/audit
      auditctl tail -f --query 'severity=critical or outcome=failure'
      auditctl tail -f --log 'queen-rbee@*' -o json /var/log/llama-orch/audit | jq .event_type
    """
    damaged = 0

    def tell(segment: str, offset: int) -> None:
        nonlocal damaged
        damaged += 1
        render.say(f"auditctl: {segment}: the line at byte {offset} is not a record.")

    places: Sequence[Path]
    if directory is not None and config_path is None:
        places = [existing_directory(directory)]  # for users who may not read the configuration
    else:
        _, places = chosen(directory, config_path)
    asked = parse(query)
    holds = predicate(asked)
    everything = log_events or names_heartbeats(asked)
    follower = Follower(
        places,
        tell,
        lambda log: fnmatchcase(log, pattern),
        lambda header: everything or header.event_type != HEARTBEAT,
    )
    form = "json" if as_json else output
    _print(follower.newest(lines), holds, form)
    never = threading.Event()
    while follow:
        never.wait(_LOOK_SECONDS)
        _print(follower.poll(), holds, form)
    return ExitCode.DATA if damaged else ExitCode.OK


def _print(records: Iterable[Record], holds: Predicate, form: str) -> None:
    room = render.width()  # a window can be resized
    for record in records:
        if not _answers(record, holds):
            continue
        if form == "json":
            render.print_raw(record.line)
        elif form == "verbose":
            for line in render.record_block(record):
                render.print_line(line)
        else:
            render.print_line(render.record_line(record, room))
    sys.stdout.flush()


def _answers(record: Record, holds: Predicate) -> bool:
    try:
        return holds(record)
    except LogDamaged:  # shown as it is, rather than left out
        return True
