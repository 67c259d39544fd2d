"""``auditctl hold``: add, list and release legal holds; see retention.holds."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditctl.commands.prune import user
from auditctl.options import (
    DURATION,
    FUTURE,
    PAST,
    TEXT,
    chosen,
    complete_logs,
    config_option,
    directory_option,
    json_option,
)
from auditctl.output import render
from auditlog.format.record import format_timestamp
from retention.holds import Hold, HoldStore
from retention.tombstone_log import HOLD_ADDED, HOLD_RELEASED, TombstoneLog, recorded_holds

if TYPE_CHECKING:
    from auditctl.config.model import Config


@click.group
def hold() -> None:
    """Exempt segments from retention, with a reason.

    A hold keeps every segment that contains a matching record, as a whole, while it is in force.
    Adding and releasing a hold is recorded in the chain of retention's log.
    """


@hold.command
@click.argument("hold_id", type=TEXT, metavar="ID")
@config_option
@directory_option
@click.option("--owner", type=TEXT, required=True, help="Person who asks for the hold.")
@click.option("--reason", type=TEXT, required=True, help="Reason, such as a case number.")
@click.option(
    "--logs",
    type=TEXT,
    shell_complete=complete_logs,
    default="*",
    show_default=True,
    help="Glob of log ids.",
)
@click.option(
    "--from", "from_at", type=PAST, help="Earliest record to hold; 200d means 200 days ago."
)
@click.option("--until", "until_at", type=PAST, help="Records before this instant.")
@click.option(
    "--actor", type=TEXT, metavar="USER", help="Hold only segments with a record of this user_id."
)
@click.option(
    "--correlation-id",
    type=TEXT,
    metavar="ID",
    help="Hold only segments with a record of this correlation ID.",
)
@click.option(
    "--expires",
    "expires_at",
    type=FUTURE,
    help="Time at which the hold ends by itself; 200d means in 200 days.",
)
@json_option("auditctl.hold/1")
def add(
    hold_id: str,
    *,
    config_path: Path | None,
    directory: Path | None,
    owner: str,
    reason: str,
    logs: str,
    from_at: dt.datetime | None,
    until_at: dt.datetime | None,
    actor: str | None,
    correlation_id: str | None,
    expires_at: dt.datetime | None,
    as_json: bool,
) -> None:
    """Add a hold; it is in force when the command returns.

    \b
    Examples:
      auditctl hold add case-7 --owner legal@example.org --reason "subpoena 7" --actor alice
      auditctl hold add q3 --owner audit --reason "Q3 audit" --until 2026-10-01T00:00:00Z
    """
    config, directories = chosen(directory, config_path)
    added = Hold(hold_id, owner, reason, logs, from_at, until_at, expires_at, actor, correlation_id)
    # Store first: if recording fails, the hold is in force all the same.
    _store(config, directories).add(added)
    _record(config, directories[0], HOLD_ADDED, added)
    _print_holds((added,), as_json=as_json)


@hold.command("list")
@config_option
@directory_option
@json_option("auditctl.hold/1")
def list_(config_path: Path | None, *, directory: Path | None, as_json: bool) -> None:
    """Show all holds, including those that have ended."""
    holds = _store(*chosen(directory, config_path)).load()
    if not holds and not as_json:
        render.say("There is no hold.")
        return
    _print_holds(holds, as_json=as_json)


@hold.command
@click.argument("hold_id", type=TEXT, metavar="ID")
@config_option
@directory_option
@click.option("--reason", type=TEXT, required=True, help="Reason for ending the hold.")
@click.option(
    "--wait",
    type=DURATION,
    default="10s",
    show_default=True,
    help="Maximum time to wait for a retention run in progress.",
)
@json_option("auditctl.hold/1")
def release(
    hold_id: str,
    *,
    config_path: Path | None,
    directory: Path | None,
    reason: str,
    wait: dt.timedelta,
    as_json: bool,
) -> None:
    """End a hold; the policy applies to its segments again from the next run on."""
    config, directories = chosen(directory, config_path)
    store = _store(config, directories)
    released = store.get(hold_id)
    # Record first: no hold ends without its record.
    _record(config, directories[0], HOLD_RELEASED, released, reason=reason, wait=wait)
    store.release(hold_id)
    _print_holds((released,), as_json=as_json, released=True)


def _store(config: Config, directories: tuple[Path, ...]) -> HoldStore:
    return HoldStore(config.state_directory(), recorded_holds(directories))


def _record(
    config: Config,
    directory: Path,
    event_type: str,
    about: Hold,
    *,
    reason: str = "",
    wait: dt.timedelta = dt.timedelta(seconds=10),
) -> None:
    instance = config.retention_instance(directory)
    details = about.to_json() | ({"release_reason": reason} if reason else {})
    with TombstoneLog(directory, config.host, instance, patience=wait) as log:
        log.write(event_type, ("hold", about.id), details, actor=user())


def _print_holds(holds: tuple[Hold, ...], *, as_json: bool, released: bool = False) -> None:
    now = dt.datetime.now(dt.UTC)
    in_force = {held.id for held in holds if held.in_force(now) and not released}
    if as_json:
        listed = [{**held.to_json(), "in_force": held.id in in_force} for held in holds]
        render.print_json({"schema": "auditctl.hold/1", "holds": listed}, indent=True)
        return
    rows = [("ID", "OWNER", "IN FORCE", "WHAT", "REASON")]
    rows += [
        (held.id, held.owner, "yes" if held.id in in_force else "ended", _what(held), held.reason)
        for held in holds
    ]
    for line in render.table([tuple(map(render.clean, row)) for row in rows]):
        render.print_text(line)


def _what(held: Hold) -> str:
    parts = [held.logs]
    parts += [f"actor={held.actor}"] if held.actor else []
    parts += [f"correlation_id={held.correlation_id}"] if held.correlation_id else []
    for word, at in (
        ("from", held.from_at),
        ("until", held.until_at),
        ("expires", held.expires_at),
    ):
        if at is not None:
            parts.append(f"{word} {format_timestamp(at)[:19]}Z")
    return " ".join(parts)
