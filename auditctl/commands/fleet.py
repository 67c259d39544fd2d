"""``auditctl fleet``: show the state of every shipped log; see auditctl.fleet."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from auditctl.config.model import Config, load
from auditctl.config.sinks import sink_for_target
from auditctl.credentials import as_user, credential_options
from auditctl.errors import ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.fleet.judgement import judge
from auditctl.fleet.ranges import find_irregularities
from auditctl.fleet.sources import open_source
from auditctl.options import DURATION, PATH, TEXT, complete_sinks, config_option, json_option
from auditctl.output import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditctl.config.sinks import SinkConfig
    from auditctl.fleet.judgement import FleetReport, LogLine, LogSummary
    from auditctl.fleet.ranges import Irregularities
    from auditctl.fleet.sources import FleetSource

_WATCH_SECONDS: Final = 30.0


@click.command
@click.argument("sink", metavar="[SINK]", required=False, type=TEXT, shell_complete=complete_sinks)
@config_option
@click.option(
    "--silent",
    type=DURATION,
    metavar="DURATION",
    help="List logs that have had no record for longer than this, such as 10m.",
)
@click.option(
    "--inventory",
    type=PATH,
    metavar="FILE",
    help="List of expected logs or hosts, one per line; # starts a comment.",
)
@click.option(
    "--policy",
    "policy_path",
    type=PATH,
    metavar="FILE",
    help="Trust policy; its witnesses say up to which record each log is witnessed.",
)
@click.option("--by-host", is_flag=True, help="Print one line per host instead of one per log.")
@click.option("--all", "show_all", is_flag=True, help="Also print logs without problems.")
@click.option("--watch", is_flag=True, help="Refresh every 30 seconds, until Ctrl-C.")
@click.option("--metrics", is_flag=True, help="Print the Prometheus text format instead.")
@credential_options
@json_option("auditctl.fleet/1")
def fleet(
    sink: str | None,
    *,
    config_path: Path | None,
    silent: dt.timedelta | None,
    inventory: Path | None,
    policy_path: Path | None,
    by_host: bool,
    show_all: bool,
    watch: bool,
    metrics: bool,
    username: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    ca_file: Path | None,
    as_json: bool,
) -> int:
    """Show the logs of all hosts as shipped to a sink, problems first.

    Reads only SINK: a configured sink (default: the only one), a URL, or FILE.sqlite. A log is
    listed when it is silent, has gaps in its sequence numbers, has two records with one number, or
    differs from the inventory. Exits with 1 when something needs attention.

    \b
    Examples:
      auditctl fleet audit.sqlite --silent 10m
      auditctl fleet audit.sqlite --inventory hosts.txt --by-host
      auditctl fleet audit.sqlite --json | jq '.lines[] | select(.problems != [])'
    """
    config = load(config_path)
    asked = as_user(
        _sink(config, sink),
        username=username,
        password_file=password_file,
        api_key_file=api_key_file,
        ca_file=ca_file,
    )
    expected = None if inventory is None else frozenset(_names(inventory))
    never = threading.Event()
    source = open_source(asked)
    try:
        while True:
            found = judge(
                source.summaries(),
                lambda log: _look_closely(source, log),
                now=dt.datetime.now(dt.UTC),
                silent_after=silent,
                inventory=expected,
                by_host=by_host,
            )
            if policy_path is not None:
                # Imported here: its libraries are needed with a policy only.
                from auditctl.composition.witnessed import (  # noqa: PLC0415  (see above)
                    seqs_of_witnesses,
                )

                seqs, silent_witnesses = seqs_of_witnesses(policy_path)
                for text in silent_witnesses:
                    render.say(f"auditctl: {text}")
                found = found.with_witnessed(seqs)
            if as_json:
                render.print_json(found.to_json(), indent=not watch)
            elif metrics:
                for line in _metrics(found):
                    render.print_line(line)
            else:
                _print(found, show_all=show_all, show_witnessed=policy_path is not None)
            if not watch:
                return ExitCode.OK if found.ok else ExitCode.FAILED
            never.wait(_WATCH_SECONDS)
    finally:
        source.close()


def _sink(config: Config, target: str | None) -> SinkConfig:
    if target is not None:
        named = [sink for sink in config.sinks if sink.name == target]
        return named[0] if named else sink_for_target(target)
    if len(config.sinks) != 1:
        raise ConfigError(
            f"{len(config.sinks)} sinks are configured",
            hint="Name the sink, or give a URL or FILE.sqlite.",
        )
    return config.sinks[0]


def _names(inventory: Path) -> Iterator[str]:
    for line in inventory.read_text("utf-8").splitlines():
        if name := line.partition("#")[0].strip():
            yield name


def _look_closely(source: FleetSource, log: LogSummary) -> Irregularities:
    return find_irregularities(
        log.first_seq, log.last_seq, lambda ranges: source.counts(log.log, ranges)
    )


def _print(found: FleetReport, *, show_all: bool, show_witnessed: bool) -> None:
    needing = [line for line in found.lines if line.problems]
    for line in needing:
        problems = "; ".join(map(render.clean, line.problems))
        render.print_text(f"{render.paint('problem', 'red')} {render.clean(line.name)}: {problems}")
    if not needing:
        render.print_line(f"{render.paint('ok', 'green')} nothing needs attention")
    if show_all:
        head: tuple[str, ...] = ("NAME", "RECORDS", "SEQ", "LAST RECORD")
        rows = [_row(line, found.at) for line in found.lines]
        if show_witnessed:
            head += ("WITNESSED THROUGH",)
            rows = [
                (
                    *row,
                    "-" if line.witnessed_through_seq is None else str(line.witnessed_through_seq),
                )
                for row, line in zip(rows, found.lines, strict=True)
            ]
        for text in render.table([head, *rows]):
            render.print_line(text)
    named = f"{len(needing):,} of {render.count(len(found.lines), 'line')}"
    render.say(f"auditctl: {named} need a person.")


def _row(line: LogLine, now: dt.datetime) -> tuple[str, ...]:
    return (
        render.clean(line.name),
        f"{line.records:,}",
        "-" if line.first_seq is None else f"{line.first_seq}-{line.last_seq}",
        "-" if line.last_at is None else render.since(now - line.last_at),
    )


def _metrics(found: FleetReport) -> Iterator[str]:
    """The text format of Prometheus, as for node_exporter's textfile collector."""
    families = (
        ("last_record_timestamp_seconds", "When the newest record was written."),
        ("missing_records", "Records that are missing by their sequence numbers."),
        ("forked_records", "Sequence numbers that several records have."),
        ("needs_person", "1 when something about it needs a person."),
    )
    for name, text in families:
        yield f"# HELP auditlog_fleet_{name} {text}"
        yield f"# TYPE auditlog_fleet_{name} gauge"
        for line in found.lines:
            value = {
                "last_record_timestamp_seconds": line.last_at and line.last_at.timestamp(),
                "missing_records": sum(b - a + 1 for a, b in line.irregularities.gaps),
                "forked_records": len(line.irregularities.forks),
                "needs_person": int(bool(line.problems)),
            }[name]
            if value is not None:
                label = line.name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
                yield f'auditlog_fleet_{name}{{name="{label}"}} {value}'
