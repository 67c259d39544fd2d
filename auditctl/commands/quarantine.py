"""``auditctl quarantine``: list, show, acknowledge and retry records that a sink refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from auditctl.commands.prune import user
from auditctl.composition.sinks import make_sink
from auditctl.config.sinks import sink_for_target
from auditctl.credentials import as_user, credential_options
from auditctl.errors import CommandFailed, ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.options import (
    DIRECTORY,
    DURATION,
    TEXT,
    chosen,
    complete_sinks,
    config_option,
    json_option,
)
from auditctl.output import render
from auditctl.output.log_lines import log_to_stderr
from shippers.quarantine.acknowledgement import acknowledge as take_note
from shippers.quarantine.acknowledgement import acknowledged
from shippers.quarantine.retry import retry_entries
from shippers.quarantine.store import read_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditctl.config.model import Config
    from auditctl.config.sinks import SinkConfig
    from shippers.quarantine.entry import StoredEntry
    from shippers.quarantine.retry import RetryResult

# Without the payload, and without the server's words, which may quote it.
_LISTED: Final = ("at", "sink", "kind", "log", "segment", "offset", "seq", "status", "reason")

_sink = click.option(
    "--sink",
    "name",
    type=TEXT,
    shell_complete=complete_sinks,
    metavar="NAME",
    help="Select only entries of this sink.",
)
_directory = click.option(
    "--directory",
    "-d",
    type=DIRECTORY,
    metavar="DIR",
    help="Log directory whose state to use.",
)


@click.group
def quarantine() -> None:
    """Show records that no retry could deliver, and deliver them later."""


@quarantine.command("list")
@config_option
@_directory
@_sink
@click.option("--acknowledged", "history", is_flag=True, help="List acknowledged alarms instead.")
@json_option("auditctl.quarantine/1")
def list_(
    *,
    config_path: Path | None,
    directory: Path | None,
    name: str | None,
    history: bool,
    as_json: bool,
) -> None:
    """List the entries of the quarantine: place and cause, without their content."""
    config, _ = chosen(directory, config_path, or_sources=True)
    entries = list(_entries(config, name, acknowledged if history else read_entries))
    if as_json:
        listed = [_listed(entry) for entry in entries]
        render.print_json({"schema": "auditctl.quarantine/1", "entries": listed}, indent=True)
        return
    if not entries:
        what = "was acknowledged" if history else "is in quarantine"
        render.print_line(f"Nothing {what}.")
        return
    head = ("ID", "AT", "SINK", "KIND", "LOG", "SEQ", "WHERE", "REASON")
    rows = [head + ("BY", "ANSWER") * history]
    for entry in entries:
        shown = entry.fields
        seq = "" if shown.get("seq") is None else shown["seq"]
        texts = [shown["at"], shown["sink"], shown["kind"], shown["log"], seq]
        texts += [entry.place, shown["reason"]]
        if history:
            texts += [shown["acknowledged"]["by"], shown["acknowledged"]["reason"]]
        rows.append((entry.id, *(render.clean(str(text)) for text in texts)))
    for line in render.table(rows):
        render.print_text(line)


@quarantine.command
@click.argument("entry_id", type=TEXT, metavar="ID")
@config_option
@_directory
def show(entry_id: str, *, config_path: Path | None, directory: Path | None) -> None:
    """Show one entry in full, with the record and the server's message.

    Prints JSON, including the complete content of the record.
    """
    config, _ = chosen(directory, config_path, or_sources=True)
    for entry in (*_entries(config, None), *_entries(config, None, acknowledged)):
        if entry.id == entry_id:
            render.print_json({"id": entry.id, **entry.fields}, indent=True)
            return
    raise _no_such([entry_id])


@quarantine.command
@click.argument("entry_ids", type=TEXT, metavar="ID...", nargs=-1, required=True)
@config_option
@_directory
@click.option(
    "--reason", type=TEXT, required=True, help="Result of the investigation, such as a case number."
)
@click.option(
    "--by", type=TEXT, metavar="WHO", help="Person who acknowledges it. [default: the user]"
)
@json_option("auditctl.quarantine/1")
def acknowledge(
    entry_ids: tuple[str, ...],
    *,
    config_path: Path | None,
    directory: Path | None,
    reason: str,
    by: str | None,
    as_json: bool,
) -> None:
    """Acknowledge alarms that were investigated.

    An alarm stays in quarantine until a person acknowledges it. It is then kept with the person,
    time and reason (list --acknowledged), and no longer counted by status and metrics. A refused
    record cannot be acknowledged: fix the cause, then retry.

    \b
    Example:
      auditctl quarantine acknowledge 8d41c2aa07f3e915 --reason "disk replaced, case 7"
    """
    config, _ = chosen(directory, config_path, or_sources=True)
    by = user() if by is None else by
    if not reason.strip() or not by.strip():
        raise click.UsageError("--reason and --by need some text.")
    found = {entry.id: entry for entry in _entries(config, None)}
    if missing := sorted(set(entry_ids) - found.keys()):
        raise _no_such(missing)
    if refused := sorted(one for one in set(entry_ids) if not found[one].alarm):
        raise CommandFailed(
            f"{', '.join(refused)}: not an alarm but a record that a sink refused",
            hint="Fix the cause, then run auditctl quarantine retry.",
        )
    now = dt.datetime.now(dt.UTC)
    for sink in sorted({found[one].fields["sink"] for one in entry_ids}):
        take_note(_path(config, sink), set(entry_ids), by=by, reason=reason, now=now)
    if as_json:
        history = [entry for entry in _entries(config, None, acknowledged) if entry.id in entry_ids]
        listed = [_listed(entry) for entry in history]
        render.print_json({"schema": "auditctl.quarantine/1", "entries": listed}, indent=True)
        return
    alarms = render.count(len(set(entry_ids)), "alarm")
    render.print_line(f"{alarms} acknowledged by {render.clean(by)}")


@quarantine.command
@click.argument("entry_ids", type=TEXT, metavar="[ID]...", nargs=-1)
@config_option
@_directory
@_sink
@click.option("--to", "target", type=TEXT, metavar="URL|FILE", help="Sink, as given to ship --to.")
@credential_options
@click.option(
    "--give-up-after",
    type=DURATION,
    default="60s",
    show_default=True,
    help="Stop when the sink has accepted nothing for this long.",
)
@json_option("auditctl.quarantine_retry/1")
def retry(
    entry_ids: tuple[str, ...],
    *,
    config_path: Path | None,
    directory: Path | None,
    name: str | None,
    target: str | None,
    username: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    ca_file: Path | None,
    give_up_after: dt.timedelta,
    as_json: bool,
) -> int:
    """Deliver all or the named entries again, and remove those that arrive.

    Use it after you have fixed a mapping or raised a limit. Alarms stay: see acknowledge. It can be
    interrupted at any point and run beside the agent: nothing is lost, nothing arrives twice.
    Exits with 3 if something is still refused.
    """
    config, _ = chosen(directory, config_path, or_sources=True)
    sinks = _sinks(config, name, target)
    wanted = set(entry_ids)
    known = {entry.id for sink in sinks for entry in read_entries(_path(config, sink.name))}
    if missing := sorted(wanted - known):
        raise _no_such(missing)
    log_to_stderr()
    results = []
    for sink in sinks:
        asked = as_user(
            sink,
            username=username,
            password_file=password_file,
            api_key_file=api_key_file,
            ca_file=ca_file,
        )
        made = make_sink(asked, config.directories)
        try:
            result = retry_entries(
                _path(config, sink.name),
                made,
                lambda entry: not wanted or entry.id in wanted,
                give_up_after=give_up_after,
            )
        finally:
            made.close()
        results.append((sink.name, result))
    _print(results, as_json=as_json)
    return ExitCode.OK if all(result.complete for _, result in results) else ExitCode.PARTLY


def _print(results: list[tuple[str, RetryResult]], *, as_json: bool) -> None:
    if as_json:
        sinks = [
            {
                "sink": name,
                "released": result.delivered,
                "refused": [{"id": e.id, "reason": reason} for e, reason in result.refused],
                "waiting": [{"id": e.id, "reason": reason} for e, reason in result.waiting],
            }
            for name, result in results
        ]
        render.print_json({"schema": "auditctl.quarantine_retry/1", "sinks": sinks}, indent=True)
        return
    for name, result in results:
        left = len(result.refused) + len(result.waiting)
        render.print_line(f"{name}: {result.delivered:,} delivered, {left:,} left")
        for entry, reason in (*result.refused, *result.waiting):
            render.print_line(f"  {entry.id}: {render.clean(reason)}")


def _path(config: Config, sink: str) -> Path:
    return config.state_directory() / "quarantine" / f"{sink}.ndjson"


def _entries(
    config: Config, name: str | None, of: Callable[[Path], Iterator[StoredEntry]] = read_entries
) -> Iterator[StoredEntry]:
    """The entries of every sink that has a quarantine, configured or not."""
    for path in sorted((config.state_directory() / "quarantine").glob("*.ndjson")):
        if name in (None, path.stem):
            yield from of(path)


def _sinks(config: Config, name: str | None, target: str | None) -> list[SinkConfig]:
    if target is not None:
        return [sink_for_target(target)]
    found = [sink for sink in config.sinks if name in (None, sink.name)]
    if not found:
        raise ConfigError(
            f"there is no sink {name}" if name else "there is no sink to deliver to",
            hint="Give --to as ship was given it, or configure the sink.",
        )
    return found


def _listed(entry: StoredEntry) -> dict[str, Any]:
    listed = {"id": entry.id, **{name: entry.fields.get(name) for name in _LISTED}}
    if "document" in entry.fields:
        listed["document"] = entry.fields["document"]
        listed["place"] = entry.place
    if "acknowledged" in entry.fields:
        listed["acknowledged"] = entry.fields["acknowledged"]
    return listed


def _no_such(ids: list[str]) -> CommandFailed:
    return CommandFailed(
        f"there is no entry {', '.join(ids)}", hint="See auditctl quarantine list."
    )
