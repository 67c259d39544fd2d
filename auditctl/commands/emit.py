"""``auditctl emit``: write audit events from shell scripts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import orjson

from auditctl.errors import BadPath
from auditctl.options import DIRECTORY, DURATION, TEXT
from auditctl.output import render
from auditlog.errors import LogFailed, LogLocked
from auditlog.events.actor import OUTCOMES, SEVERITIES
from auditlog.writer.opening import open_log

if TYPE_CHECKING:
    import datetime as dt

    from auditlog.writer.log import Log
    from auditlog.writer.ticket import Ticket

_RETRY_SECONDS: Final = 0.05


@click.command
@click.argument("directory", metavar="DIR", type=DIRECTORY)
@click.argument("event_type", type=TEXT)
@click.option("--service", type=TEXT, required=True, help="Service that the log belongs to.")
@click.option("--host", type=TEXT, help="Name of the host (default: this host's).")
@click.option(
    "--instance", type=TEXT, help="Instance, where the service has several processes on this host."
)
@click.option("--actor", type=TEXT, metavar="USER", help="User who performed the action.")
@click.option(
    "--resource",
    type=TEXT,
    metavar="TYPE/ID",
    help="Resource that the action concerns, such as host/gpu-1.",
)
@click.option(
    "--outcome",
    type=click.Choice(OUTCOMES),
    default="success",
    show_default=True,
    help="Outcome of the action.",
)
@click.option("--reason", help="Reason for the outcome; '' for none.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Severity of the event.")
@click.option(
    "--correlation-id",
    metavar="ID",
    help="ID shared by related events, such as a request's; '' for none.",
)
@click.option(
    "--detail",
    "details",
    type=TEXT,
    multiple=True,
    metavar="KEY=TEXT",
    help="Further detail; KEY:=JSON for numbers and structures. Repeatable.",
)
@click.option(
    "--wait",
    type=DURATION,
    default="5s",
    show_default=True,
    help="Maximum time to wait while another process writes this log.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (auditctl.emit/1).")
def emit(
    directory: Path,
    event_type: str,
    *,
    service: str,
    host: str | None,
    instance: str | None,
    actor: str | None,
    resource: str | None,
    outcome: str,
    reason: str | None,
    severity: str | None,
    correlation_id: str | None,
    details: tuple[str, ...],
    wait: dt.timedelta,
    as_json: bool,
) -> None:
    """Append one event to a log, and return when it is durable.

    Prints the log, the record's sequence number and its hash. DIR is created when only its last
    part is missing. Exits with 0 only when the record will survive a crash of this host.

    \b
    Examples:
      auditctl emit /var/log/llama-orch/audit --service backup backup.finished --detail files:=12
      auditctl emit ./audit --service deploy deploy.started --actor "$USER" --resource host/gpu-1
    """
    fields: dict[str, Any] = {
        "actor": None if actor is None else {"user_id": actor},
        "resource": None if resource is None else _resource(resource),
        "outcome": outcome,
        "reason": reason or None,
        "severity": severity,
        "correlation_id": correlation_id or None,
        "details": dict(_detail(text) for text in details) or None,
    }
    if not directory.absolute().parent.is_dir():
        raise BadPath(
            "there is no such directory",
            path=directory.parent,
            hint=f"Only {directory.name} itself would be created; check the path.",
        )
    log = _open(directory, service, host, instance, wait)
    ticket = None
    try:
        ticket = log.emit(event_type, **fields, durable=True)
    finally:
        _close(log, ticket)
    if as_json:
        render.print_json(
            {
                "schema": "auditctl.emit/1",
                "log": ticket.log,
                "seq": ticket.seq,
                "hash": ticket.hash,
            }
        )
    else:
        render.print_line(f"{ticket.log} {ticket.seq} {ticket.hash}")


def _open(
    directory: Path, service: str, host: str | None, instance: str | None, wait: dt.timedelta
) -> Log:
    """Open the log, waiting while another script has it open."""
    deadline = time.monotonic() + wait.total_seconds()
    while True:
        try:
            return open_log(directory, service=service, host=host, instance=instance)
        except LogLocked:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_RETRY_SECONDS)


def _close(log: Log, ticket: Ticket | None) -> None:
    """Close; what is durable stays so, and a script that is told otherwise would write it again."""
    try:
        log.close()
    except LogFailed as error:
        if ticket is not None:
            render.say(f"The event is durable; log.closed could not be written behind it: {error}")


def _resource(text: str) -> dict[str, str]:
    kind, slash, name = text.partition("/")
    if not slash or not kind or not name:
        raise click.BadParameter(f"{text!r} is not like TYPE/ID.", param_hint="--resource")
    return {"resource_type": kind, "resource_id": name}


def _detail(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.rstrip(":"):
        raise click.BadParameter(f"{key!r} is not like KEY=TEXT.", param_hint="--detail")
    if not key.endswith(":"):
        return key, value
    try:
        return key[:-1], orjson.loads(value)
    except orjson.JSONDecodeError:
        raise click.BadParameter(
            f"what follows {key}= is not JSON.", param_hint="--detail"
        ) from None
