"""``auditctl tail``: what journalctl does for the journal."""

from __future__ import annotations

import sys
import threading
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from auditctl import render
from auditctl.exit_codes import ExitCode
from auditctl.follow import Follower
from auditctl.options import PATH, chosen, config_option, existing_directory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditlog.record import Record

_LOOK_SECONDS: Final = 0.25


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=PATH)
@config_option
@click.option("-n", "--lines", default=10, show_default=True, type=click.IntRange(min=0))
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written, until Ctrl-C.")
@click.option("--log", "pattern", default="*", metavar="GLOB", help="Only logs like rbee-hive@*.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["short", "json"]),
    default="short",
    show_default=True,
    help="A line for people, or the records as they stand in the file.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
def tail(
    directory: Path | None,
    *,
    config_path: Path | None,
    lines: int,
    follow: bool,
    pattern: str,
    output: str,
    as_json: bool,
) -> int:
    """Show the newest records, and follow what is written.

    Of all logs in DIR, or in all configured directories, in the order of their timestamps. Nothing
    is verified here.

    \b
    Examples:
      auditctl tail /var/log/llama-orch/audit
      auditctl tail -f --log 'queen-rbee@*' -o json /var/log/llama-orch/audit | jq .event_type
    """
    damaged = 0

    def tell(segment: str, offset: int) -> None:
        nonlocal damaged
        damaged += 1
        render.say(f"auditctl: {segment}: the line at byte {offset} is not a record.")

    places = [existing_directory(directory)] if directory else chosen(None, config_path)[1]
    follower = Follower(places, tell, lambda log: fnmatchcase(log, pattern))
    raw = as_json or output == "json"
    _print(follower.newest(lines), raw=raw)
    never = threading.Event()
    while follow:
        never.wait(_LOOK_SECONDS)
        _print(follower.poll(), raw=raw)
    return ExitCode.DATA if damaged else ExitCode.OK


def _print(records: Iterable[Record], *, raw: bool) -> None:
    for record in records:
        if raw:
            sys.stdout.buffer.write(record.line)
        else:
            render.print_line(render.record_line(record))
    sys.stdout.flush()
