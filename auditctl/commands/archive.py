"""``auditctl archive``: upload finished segments, and read back what a bucket holds of them."""

from __future__ import annotations

import datetime as dt
import tempfile
import threading
from contextlib import ExitStack, closing
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from auditctl.composition.archive import make_archive, make_bucket
from auditctl.config.model import load
from auditctl.errors import CommandFailed, ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.options import (
    DIRECTORY,
    TEXT,
    complete_sinks,
    config_option,
    json_option,
    log_events_option,
    scope_options,
)
from auditctl.output import render
from auditlog import durable_fs
from auditlog.archived import ArchiveMemory
from auditlog.format.record import format_timestamp
from auditlog.query.heartbeats import without_heartbeats
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import parse
from auditlog.reading.inventory import scan
from shippers.archive.reading import find_objects, last_manifest, restore_object, search_objects
from shippers.archive.status import state_of
from shippers.archive.verification import hosts_in, verify_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditctl.config.model import Config
    from auditlog.archived import ArchivedObject
    from shippers.archive.bucket import Bucket
    from shippers.archive.options import ArchiveOptions
    from shippers.archive.status import ArchiveStatus, UnfinishedLog
    from shippers.archive.verdicts import ArchiveFinding
    from shippers.archive.verification import BucketReport

_NAMED_LOGS: Final = 5

_host_option = click.option(
    "--host",
    "glob",
    type=TEXT,
    metavar="GLOB",
    help="Hosts whose manifests are read, such as '*'; by default this host.",
)


@click.group
def archive() -> None:
    """Keep finished segments in a bucket with Object Lock, and read them back.

    The agent uploads each segment of the configured directories when it is finished, and retention
    deletes nothing that the bucket does not have. Everything but upload and status needs a key that
    may read the bucket, from the configuration or from AWS_PROFILE and the like.
    """


@archive.command
@config_option
@json_option("auditctl.archive.status/1")
def upload(config_path: Path | None, *, as_json: bool) -> int:
    """Upload what is finished now, and a manifest, for hosts without an agent.

    Exits with 1 when a segment could not be uploaded, with 75 while an agent uploads.
    """
    config = load(config_path)
    found = make_archive(config).run_once()
    _print_status(config, found, as_json=as_json)
    return ExitCode.FAILED if found.trouble or found.waiting else ExitCode.OK


@archive.command
@config_option
@json_option("auditctl.archive.status/1")
def status(config_path: Path | None, *, as_json: bool) -> int:
    """Show what is archived and what waits, without asking the bucket.

    Names the logs that were not written to for longer than late_after: their newest records are on
    this host and in the sinks alone, until the service writes again or retention compresses them.
    Exits with 1 when a finished segment waits longer than late_after.
    """
    config = load(config_path)
    options = _archive_of(config)
    with ArchiveMemory(config.state_directory(), read_only=True) as memory:
        found = state_of(config.directories, memory, options, dt.datetime.now(dt.UTC))
    _print_status(config, found, as_json=as_json)
    return ExitCode.FAILED if found.late else ExitCode.OK


@archive.command
@config_option
@_host_option
@click.option(
    "--quick",
    is_flag=True,
    help="Compare lists, checksums and locks; download no segment.",
)
@json_option("auditctl.archive.verify/1")
def verify(config_path: Path | None, *, glob: str | None, quick: bool, as_json: bool) -> int:
    """Prove from the bucket alone that nothing in it is missing, changed or put over.

    Reads the manifests, the versions and locks of every object and, without --quick, every byte and
    the hash chain of every record. Exits with 1 when something is wrong, or there is nothing.
    """
    config = load(config_path)
    with closing(make_bucket(config)) as bucket:
        reports = []
        for host in _hosts(bucket, config, glob):
            newest = None
            if host == config.host and config.directories:
                with ArchiveMemory(config.state_directory(), read_only=True) as memory:
                    newest = memory.newest_manifest()
            now = dt.datetime.now(dt.UTC)
            reports.append(verify_host(bucket, host, now, read=not quick, newest=newest))
    ok = all(report.ok for report in reports)
    if as_json:
        found = {
            "schema": "auditctl.archive.verify/1",
            "ok": ok,
            "bucket": _archive_of(config).address,
            "read": not quick,
            "hosts": [report.to_json() for report in reports],
        }
        render.print_json(found, indent=True)
    else:
        for report in reports:
            _print_report(report, read=not quick)
    return ExitCode.OK if ok else ExitCode.FAILED


@archive.command
@config_option
@_host_option
@scope_options
@click.option("--to", "target", type=DIRECTORY, metavar="DIR", help="Directory for the files.")
@click.option(
    "--sink",
    "sink_name",
    type=TEXT,
    shell_complete=complete_sinks,
    help="Configured sink that the records are shipped to, instead of files.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="Restore this host into its configured directory, and remember what is archived.",
)
@json_option("auditctl.archive.restore/1")
def restore(
    config_path: Path | None,
    *,
    glob: str | None,
    logs: str,
    since: str | None,
    until: str | None,
    target: Path | None,
    sink_name: str | None,
    rebuild: bool,
    as_json: bool,
) -> int:
    """Bring archived segments back, into files or into a sink.

    Restores whole segments of the days and logs that are asked for, as .ndjson.zst files, and
    compares each with the hash in its manifest. Files that are there already are left alone. Exits
    with 1 when nothing was found, with 65 when an object is not what was uploaded.

    \b
    Examples:
      auditctl archive restore --since 2026-11-23 --until 2026-11-23 --to restored
      auditctl archive restore --log 'queen-rbee@*' --since 2026-11-23 --sink main
      auditctl archive restore --rebuild
    """
    if sum((target is not None, sink_name is not None, rebuild)) != 1:
        raise click.UsageError("Give one of --to, --sink and --rebuild.")
    config = load(config_path)
    scope = SearchScope.asked_for(logs, since, until, dt.datetime.now(dt.UTC))
    with ExitStack() as stack:
        bucket = stack.enter_context(closing(make_bucket(config)))
        objects = _objects(bucket, config, glob, scope)
        if rebuild:
            target = _empty_directory(config)
        elif target is None:
            target = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        durable_fs.make_directory(target)
        restored = [each for each in objects if restore_object(bucket, each, target)]
        if rebuild:
            _remember(bucket, config, objects)
        if sink_name is not None:
            _ship(config, target, sink_name)
    size = sum(each.content_bytes for each in restored)
    if as_json:
        found = {
            "schema": "auditctl.archive.restore/1",
            "ok": bool(objects),
            "segments": [each.segment for each in restored],
            "bytes": size,
            "already_there": len(objects) - len(restored),
        }
        render.print_json(found, indent=True)
    else:
        place = f"sink {sink_name}" if sink_name is not None else str(target)
        text = f"Restored {render.count(len(restored), 'segment')} to {place}"
        if len(restored) < len(objects):
            text += f"; already there: {len(objects) - len(restored)}"
        render.print_line(f"{text}.")
    return ExitCode.OK if objects else ExitCode.FAILED


@archive.command
@click.argument("query", metavar="QUERY")
@config_option
@_host_option
@scope_options
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Stop after so many records.")
@click.option("--json", "as_json", is_flag=True, help="Print records as they are in the file.")
@log_events_option
def search(
    query: str,
    config_path: Path | None,
    *,
    glob: str | None,
    logs: str,
    since: str | None,
    until: str | None,
    limit: int | None,
    as_json: bool,
    log_events: bool,
) -> int:
    """Find records in the bucket, without restoring anything.

    QUERY is that of auditctl search. Only segments of the days between --since and --until are
    downloaded. Exits with 65 when an object is not what was uploaded.

    \b
    Examples:
      auditctl archive search 'actor=alice event_type=auth_failure' --since 2026-03-01
      auditctl archive search req-12345 --host '*' --json | jq .details
    """
    config = load(config_path)
    parsed = parse(query) if log_events else without_heartbeats(parse(query))
    scope = SearchScope.asked_for(logs, since, until, dt.datetime.now(dt.UTC))
    damaged = shown = 0

    def tell(place: str, offset: int, reason: str) -> None:
        nonlocal damaged
        damaged += 1
        render.say(f"auditctl: {place}: {reason} (byte {offset}).")

    room = render.width()
    with closing(make_bucket(config)) as bucket:
        objects = _objects(bucket, config, glob, scope)
        for record in search_objects(bucket, objects, parsed, scope, tell):
            if as_json:
                render.print_raw(record.line)
            else:
                render.print_line(render.record_line(record, room))
            shown += 1
            if shown == limit:
                break
    if not shown and not as_json:
        render.say("auditctl: no record matches.")
    return ExitCode.DATA if damaged else ExitCode.OK


# Shared -------------------------------------------------------------------------------------------


def _archive_of(config: Config) -> ArchiveOptions:
    if config.archive is None:
        raise ConfigError(
            "no archive is configured", hint="Add [archive] with a bucket to the configuration."
        )
    return config.archive


def _hosts(bucket: Bucket, config: Config, glob: str | None) -> list[str]:
    if glob is None:
        return [config.host]
    return [host for host in hosts_in(bucket) if fnmatchcase(host, glob)]


def _objects(
    bucket: Bucket, config: Config, glob: str | None, scope: SearchScope
) -> list[ArchivedObject]:
    findings: list[ArchiveFinding] = []
    objects = find_objects(bucket, _hosts(bucket, config, glob), scope, findings)
    for each in findings:
        if each.fatal:
            render.say(f"auditctl: {each.key}: {each.kind}: {each.detail}.")
    if not objects:
        render.say("auditctl: the archive has no segment of these logs and days.")
    return objects


def _empty_directory(config: Config) -> Path:
    """The configured directory, which must not have logs.  Raises ConfigError, CommandFailed."""
    if len(config.directories) != 1:
        raise ConfigError(
            f"{len(config.directories)} directories are configured",
            hint="Restore each log with --log and --to into the directory that it belongs to.",
        )
    directory = config.directories[0]
    if directory.is_dir() and scan(directory).logs:
        raise CommandFailed(
            "there are logs already, so that this machine is not rebuilt",
            path=directory,
            hint="Use --to with another directory.",
        )
    return directory


def _remember(bucket: Bucket, config: Config, objects: Sequence[ArchivedObject]) -> None:
    """Make the memory of the archive anew, so that the agent goes on where the old one stopped."""
    with ArchiveMemory(config.state_directory()) as memory:
        memory.adopt(objects, last_manifest(bucket, config.host))


def _ship(config: Config, directory: Path, sink_name: str) -> None:
    from auditctl.agent.services import Services  # noqa: PLC0415  (only where it is asked for)

    sinks = tuple(sink for sink in config.sinks if sink.name == sink_name)
    if not sinks:
        raise ConfigError(f"there is no sink {sink_name}", hint="auditctl config show lists them.")
    alone = replace(
        config,
        directories=(directory,),
        state_dir=directory / "state",
        sinks=sinks,
        sources=(),
        archive=None,
    )
    services = Services(alone, retain=False)
    services.ship_once(dt.timedelta(minutes=5), threading.Event())


def _print_status(config: Config, found: ArchiveStatus, *, as_json: bool) -> None:
    options = _archive_of(config)
    oldest = None if found.oldest_at is None else format_timestamp(found.oldest_at)
    made = None if found.manifest_at is None else format_timestamp(found.manifest_at)
    if as_json:
        shown = {
            "schema": "auditctl.archive.status/1",
            "ok": not (found.late or found.trouble),
            "bucket": options.address,
            "objects": found.objects,
            "bytes": found.object_bytes,
            "newest_at": None if found.newest_at is None else format_timestamp(found.newest_at),
            "waiting": found.waiting,
            "waiting_bytes": found.waiting_bytes,
            "oldest_waiting_at": oldest,
            "late": found.late,
            "unfinished": [
                {"log": each.log, "written_at": format_timestamp(each.written_at)}
                for each in found.unfinished
            ],
            "manifest": found.manifest,
            "manifest_at": made,
            "trouble": found.trouble,
        }
        render.print_json(shown, indent=True)
        return
    size = render.bytes_text(found.object_bytes)
    render.print_text(f"{options.address}: {render.count(found.objects, 'segment')}, {size}")
    if found.waiting:
        size = render.bytes_text(found.waiting_bytes)
        text = f"{render.count(found.waiting, 'finished segment')} without upload, {size}"
        render.print_text(f"{text}; the oldest is from {oldest}")
    since = dt.datetime.now(dt.UTC) - options.late_after
    _print_at_rest([each for each in found.unfinished if each.written_at < since])
    if found.manifest:
        render.print_text(f"manifest {found.manifest} was made at {made}")
    if found.trouble:
        render.print_text(render.paint(f"FAILED {render.clean(found.trouble)}", "red"))


def _print_at_rest(logs: Sequence[UnfinishedLog]) -> None:
    for each in logs[:_NAMED_LOGS]:
        at = format_timestamp(each.written_at)
        render.print_text(f"{each.log} was last written to at {at}; its newest segment is not here")
    if len(logs) > _NAMED_LOGS:
        render.print_text(f"and {len(logs) - _NAMED_LOGS} more logs")


def _print_report(report: BucketReport, *, read: bool) -> None:
    mark = render.paint("ok    ", "green") if report.ok else render.paint("FAILED", "red")
    text = f"{mark} {report.host}: {render.count(report.objects, 'segment')}"
    text += f" in {render.count(report.manifests, 'manifest')}"
    text += f", {render.count(report.records, 'record')} verified" if read else ""
    render.print_text(text)
    for each in report.findings:
        render.print_text(f"       {each.kind} {each.key}: {render.clean(each.detail)}")
