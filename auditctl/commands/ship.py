"""``auditctl ship``: ship without retention, once or until stopped."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditctl.agent.agent import Agent, exit_code
from auditctl.agent.file_limit import raise_file_limit
from auditctl.agent.services import Services
from auditctl.agent.signals import run_until_signal
from auditctl.config.sinks import sink_for_target
from auditctl.errors import CommandFailed, ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.options import DIRECTORY, DURATION, TEXT, chosen, config_option, json_option
from auditctl.output import render
from auditctl.output.log_lines import log_to_stderr
from auditlog.cursors import CursorStore

if TYPE_CHECKING:
    from auditctl.config.model import Config
    from auditctl.config.sinks import SinkConfig
    from shippers.service import Summary


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@click.option(
    "--to",
    "target",
    type=TEXT,
    metavar="URL|FILE",
    help="Elasticsearch URL or SQLite file to ship to.",
)
@click.option("--once", is_flag=True, help="Ship everything that is there now, then exit.")
@click.option(
    "--give-up-after",
    type=DURATION,
    default="60s",
    show_default=True,
    help="With --once: stop when the sink has accepted nothing for this long.",
)
@json_option("auditctl.ship/1, with --once")
def ship(
    directory: Path | None,
    *,
    config_path: Path | None,
    target: str | None,
    once: bool,
    give_up_after: dt.timedelta,
    as_json: bool,
) -> int:
    """Ship a directory's logs into Elasticsearch or SQLite.

    Ships DIR, or all configured directories, to --to or to the configured sinks. Every record
    arrives exactly once, however often shipping is interrupted. With --once, exits with 0 if all
    records have arrived, with 3 if some are in quarantine or waiting, and with 1 if a sink has
    accepted nothing for the time of --give-up-after.

    \b
    Examples:
      auditctl ship /var/log/llama-orch/audit --to audit.sqlite --once
      auditctl ship --config /etc/auditlog/config.toml
    """
    config, directories = chosen(directory, config_path, or_sources=True)
    if target is not None:
        config = replace(config, sinks=(sink_for_target(target),))
    if not config.sinks:
        raise ConfigError(
            "there is no sink to ship to",
            path=config_path,
            hint="Give --to URL or --to FILE.sqlite, or add [sinks.main] to the configuration.",
        )
    config = replace(config, directories=directories, state_dir=config.state_directory())
    for sink in config.sinks:
        _check_cursors(config, sink)
    log_to_stderr()
    raise_file_limit()
    if not once:
        agent = Agent(lambda: replace(config, metrics=None), retain=False)
        _, number = run_until_signal(agent.run)
        return exit_code(number)
    services = Services(config, retain=False)
    summary, number = run_until_signal(lambda stop: services.ship_once(give_up_after, stop))
    if as_json:
        render.print_json(_to_json(summary), indent=True)
    else:
        _print(summary)
    if number is not None:
        return exit_code(number)
    return ExitCode.OK if summary.complete and not summary.quarantined else ExitCode.PARTLY


def _print(summary: Summary) -> None:
    rows: list[tuple[str, ...]] = [
        ("LOG", "SINK", "SHIPPED", "ALREADY THERE", "QUARANTINED", "PENDING")
    ]
    rows += [
        (
            entry.log,
            entry.sink,
            f"{entry.indexed:,}",
            f"{entry.duplicate:,}",
            f"{entry.quarantined:,}",
            f"{entry.pending:,}",
        )
        for entry in summary.logs
    ]
    if not summary.logs:
        render.print_line("There is no log yet.")
        return
    for line in render.table(rows):
        render.print_text(line)


def _to_json(summary: Summary) -> dict[str, Any]:
    names = ("indexed", "duplicate", "quarantined", "pending", "chain_breaks")
    return {
        "schema": "auditctl.ship/1",
        "ok": summary.complete and not summary.quarantined,
        "logs": [
            {
                "log": entry.log,
                "sink": entry.sink,
                **{name: getattr(entry, name) for name in names},
                "acknowledged_seq": entry.acknowledged_seq,
            }
            for entry in summary.logs
        ],
        "totals": {name: sum(getattr(entry, name) for entry in summary.logs) for name in names},
    }


def _check_cursors(config: Config, sink: SinkConfig) -> None:
    """Refuse a SQLite file that is gone: cursors would hide that its records are, too."""
    if sink.kind != "sqlite" or sink.path.exists():
        return
    store = CursorStore(config.state_directory())
    if store.logs(sink.name):
        raise CommandFailed(
            "the file is gone, and its cursors say that it had records",
            path=sink.path,
            hint=f"Restore it, or remove {store.directory / sink.name} to ship from the beginning.",
        )
