"""``auditctl status``: the logs at a glance; see survey for what counts as a problem."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditctl import render
from auditctl.exit_codes import ExitCode
from auditctl.options import PATH, chosen, config_option, json_option
from auditctl.survey import survey

if TYPE_CHECKING:
    from auditctl.survey import LogState, Survey


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=PATH)
@config_option
@json_option("auditctl.status/1")
def status(directory: Path | None, *, config_path: Path | None, as_json: bool) -> int:
    """Show each log's state, problems first.

    Of DIR, or of all configured directories. Exits with 1 when something needs a person.

    \b
    Examples:
      auditctl status /var/log/llama-orch/audit
      auditctl status --json | jq -r '.problems[]'
    """
    config, directories = chosen(directory, config_path)
    found = survey(config, directories, config.state_directory(), dt.datetime.now(dt.UTC))
    if as_json:
        render.print_json(found.to_json(), indent=True)
    else:
        _print(found)
    return ExitCode.FAILED if found.all_problems else ExitCode.OK


def _print(found: Survey) -> None:
    for problem in found.all_problems:
        render.print_line(f"{render.paint('problem', 'red')} {render.clean(problem)}")
    if not found.logs:
        render.print_line("There is no log yet.")
    rows: list[tuple[str, ...]] = [("LOG", "RECORDS", "SEGMENTS", "SIZE", "LAST RECORD", "SINKS")]
    rows += [_row(log, found.at) for log in found.logs]
    if found.logs:
        for line in render.table(rows):
            render.print_line(line)
    for directory, at in found.retention:
        when = "never run" if at is None else f"last success {render.since(found.at - at)}"
        render.print_line(f"retention of {directory}: {when}")


def _row(log: LogState, now: dt.datetime) -> tuple[str, ...]:
    held = f"{log.segments}"
    if log.compressed:
        held += f" ({log.compressed} compressed)"
    return (
        log.log,
        "-" if log.last_seq is None else f"{log.first_seq or '?'}-{log.last_seq}",
        held,
        render.bytes_text(log.size_bytes),
        "-" if log.last_record_at is None else render.since(now - log.last_record_at),
        ", ".join(
            f"{sink.sink} {f'{sink.lag_records:,} behind' if sink.lag_records else 'up to date'}"
            for sink in log.sinks
        )
        or "none",
    )
