"""``auditctl report``: write a report on a period; see auditctl.report."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import click

from auditctl.exit_codes import ExitCode
from auditctl.options import DIRECTORY, PATH, TEXT, chosen, config_option, json_option
from auditctl.output import render
from auditctl.output.new_file import check_place
from auditctl.report.collect import collect
from auditctl.report.page import render_page
from auditlog import durable_fs
from auditlog.query.times import parse_time


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@click.option(
    "--since",
    type=TEXT,
    default="30d",
    show_default=True,
    metavar="TIME",
    help="Begin of the period: 30d, 2026-11-01, yesterday.",
)
@click.option(
    "--until",
    type=TEXT,
    metavar="TIME",
    help="End of the period; a date includes that whole day.  [default: now]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE|-",
    type=PATH,
    help="File to write the HTML page to; - writes to stdout.",
)
@json_option("auditctl.report/1")
def report(
    directory: Path | None,
    *,
    config_path: Path | None,
    since: str,
    until: str | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """Write an HTML report on a period: activity, refusals, verification.

    Covers DIR, or all configured directories: events over time by type and outcome, top actors,
    refused logins, gaps, the result of verification, shipped and deleted records, each number with
    its source. The report is one HTML file without scripts or network access, to open, print or
    mail; only its owner can read it. Exits with 1 when a log fails verification; the report is
    written all the same.

    \b
    Examples:
      auditctl report --since 30d -o report.html
      auditctl report audit --since 2026-11-01 --until 2026-11-30 -o november.html
      auditctl report --since 7d --json | jq .by_actor
    """
    if output is None and not as_json:
        raise click.UsageError("Give -o FILE for the page, or --json for its numbers.")
    to_stdout = str(output) == "-"
    if to_stdout and as_json:
        raise click.UsageError("The page and --json cannot both go to stdout; give -o FILE")
    if output is not None and not to_stdout:
        check_place(output)
    config, directories = chosen(directory, config_path)
    now = dt.datetime.now(dt.UTC)
    until_at = now if until is None else parse_time(until, now, end=True)
    found = collect(config, directories, parse_time(since, now), until_at, now)
    if to_stdout:
        sys.stdout.buffer.write(render_page(found).encode())
    elif output is not None:
        durable_fs.replace_durably(output, render_page(found).encode())
        render.say(f"{output}: {render.count(found.counts.events, 'event')}")
    if as_json:
        render.print_json(found.to_json(), indent=True)
    return ExitCode.OK if found.ok else ExitCode.FAILED
