"""``auditctl reconcile``: compare files with a sink; see shippers.reconcile.reconciliation."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from auditctl.composition.sinks import index_of_log, make_read_back, make_sink
from auditctl.config.sinks import sink_for_target
from auditctl.credentials import as_user, credential_options
from auditctl.errors import ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.fleet.sources import open_source
from auditctl.options import (
    DIRECTORY,
    DURATION,
    PATH,
    TEXT,
    chosen,
    complete_sinks,
    config_option,
    json_option,
)
from auditctl.output import render
from auditctl.output.log_lines import log_to_stderr
from auditlog import durable_fs
from auditlog.cursors import CursorStore
from auditlog.errors import InvalidName
from auditlog.format.segment_names import LogId
from auditlog.reading.deleted_indices import DeletedIndices
from auditlog.reading.inventory import scan
from auditlog.reading.registry import forgotten_logs
from shippers.reconcile.receipt import LogReceipt
from shippers.reconcile.reconciliation import Reconciliation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditctl.config.model import Config
    from auditctl.config.sinks import SinkConfig
    from auditctl.fleet.judgement import LogSummary
    from shippers.reconcile.receipt import Receipt

__all__ = ["compare_with", "print_receipt", "reconcile"]


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@click.option(
    "--sink",
    "name",
    type=TEXT,
    shell_complete=complete_sinks,
    metavar="NAME",
    help="Compare with only this configured sink.",
)
@click.option(
    "--to",
    "target",
    type=TEXT,
    metavar="URL|FILE",
    help="Elasticsearch URL or SQLite file to compare with.",
)
@credential_options
@click.option("-n", "--dry-run", is_flag=True, help="Compare only; ship nothing.")
@click.option(
    "--receipt", type=PATH, metavar="FILE", help="Write the receipt to this file as well."
)
@click.option(
    "--give-up-after",
    type=DURATION,
    default="60s",
    show_default=True,
    help="Stop when the sink has accepted nothing for this long.",
)
@json_option("auditctl.reconcile/1, one object a sink")
def reconcile(
    directory: Path | None,
    *,
    config_path: Path | None,
    name: str | None,
    target: str | None,
    username: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    ca_file: Path | None,
    dry_run: bool,
    receipt: Path | None,
    give_up_after: dt.timedelta,
    as_json: bool,
) -> int:
    """Prove that a sink holds what the files hold; ship what is missing.

    Compares every record of DIR, or of all configured directories, with --to or the configured
    sinks. Missing records are shipped again; records that differ or should not be there are
    reported and left as they are. Needs a user who may read (and create documents, to ship): see
    deploy/elasticsearch/. Exits with 3 if a difference remains.

    \b
    Examples:
      auditctl reconcile --dry-run --json | jq .totals
      auditctl reconcile /var/log/llama-orch/audit --to audit.sqlite --receipt today.json
    """
    config, directories = chosen(directory, config_path)
    sinks = _sinks(config, name, target)
    if receipt is not None and len(sinks) > 1:
        raise ConfigError("a receipt covers only one sink", hint="Name a sink with --sink.")
    log_to_stderr()
    codes = []
    for sink in sinks:
        asked = as_user(
            sink,
            username=username,
            password_file=password_file,
            api_key_file=api_key_file,
            ca_file=ca_file,
        )
        made = compare_with(
            asked,
            directories,
            config,
            ship=not dry_run,
            whole_host=directory is None,
            give_up_after=give_up_after,
        )
        if receipt is not None:
            content = orjson.dumps(made.to_json(), option=orjson.OPT_INDENT_2) + b"\n"
            durable_fs.replace_durably(receipt, content)
        if as_json:
            render.print_json(made.to_json(), indent=True)
        else:
            print_receipt(made)
        codes.append(ExitCode.OK if made.ok else ExitCode.PARTLY)
    return max(codes)


def compare_with(
    sink: SinkConfig,
    directories: Sequence[Path],
    config: Config | None,
    *,
    ship: bool,
    whole_host: bool,
    give_up_after: dt.timedelta = dt.timedelta(seconds=60),
) -> Receipt:
    """Compare the directories with one sink.

    With a configuration, records that the sink's cursor has not passed are pending, and no fault.
    ``whole_host``: the directories have all logs of their hosts, so one that only the sink has is
    missing here; else it is mentioned, since it may lie in another directory.
    """
    store = None if config is None else CursorStore(config.state_directory())

    def acknowledged(log: str) -> int | None:
        cursor = None if store is None else store.load(sink.name, log)
        return None if cursor is None else cursor.seq

    deleted = DeletedIndices(directories)

    def retired(log: str, day: str) -> bool:
        try:
            index = index_of_log(sink, log, dt.date.fromisoformat(day))
        except ValueError:  # the index has no valid day in its name
            return False
        return sink.kind == "elasticsearch" and index in deleted.of(sink.name, sink.urls)

    target = make_sink(sink, directories) if ship else None
    read_back = make_read_back(sink)
    try:
        made = Reconciliation(
            directories,
            read_back,
            name=sink.name,
            sink=target,
            acknowledged=acknowledged,
            retired=retired,
            give_up_after=give_up_after,
            retention_hosts=config.deleting_hosts() if config is not None else None,
        )
        receipt = made.run(dt.datetime.now(dt.UTC))
        for log in _only_in_sink(sink, directories):
            detail = f"no segment of this log is here; {sink.name} has it up to seq {log.last_seq}"
            if whole_host:
                lost = LogReceipt(log.log)
                lost.add("missing_log", "", log.last_seq, detail)
                receipt.logs.append(lost)
            else:
                render.say(f"auditctl: {log.log}: {detail}; does it lie in another directory?")
        return receipt
    finally:
        read_back.close()
        if target is not None:
            target.close()


def _only_in_sink(sink: SinkConfig, directories: Sequence[Path]) -> Iterator[LogSummary]:
    """The logs of the directories' hosts that the sink has and the files do not."""
    present = {log for directory in directories for log in scan(directory).logs}
    hosts = {log.host for log in present}
    names = {*map(str, present), *forgotten_logs(directories)}
    source = open_source(sink)
    try:
        for log in source.summaries():
            with contextlib.suppress(InvalidName):  # a document that belongs to no log
                if log.log not in names and LogId.parse(log.log).host in hosts:
                    yield log
    finally:
        source.close()


def _sinks(config: Config, name: str | None, target: str | None) -> Sequence[SinkConfig]:
    if target is not None:
        return (sink_for_target(target),)
    found = [sink for sink in config.sinks if name in (None, sink.name)]
    if not found:
        what = f"there is no sink {name}" if name else "there is no sink to compare with"
        raise ConfigError(what, hint="Give --to URL or --to FILE.sqlite, or add [sinks.main].")
    return found


def print_receipt(receipt: Receipt) -> None:
    """Print one line for each log, and one for each remaining difference."""
    for log in receipt.logs:
        _print_log(log, receipt.sink)
    count, names = receipt.strangers
    if count:
        mark = render.paint("FAILED", "red")
        shown = ", ".join(render.clean(name) for name in names)
        render.print_text(f"{mark} {count} in the sink are of no log: {shown}")


def _print_log(log: LogReceipt, sink: str) -> None:
    mark = render.paint("ok    ", "green") if log.ok else render.paint("FAILED", "red")
    files = sum(day.files.records for day in log.days)
    there = sum(day.sink.records for day in log.days)
    text = f"{render.count(files, 'record')} in the files, {there:,} in {sink}"
    for name, words in (
        ("reshipped", "shipped again"),
        ("pending", "not shipped yet"),
        ("retired", "in an index deleted by policy"),
        ("unsearchable", "there and not searchable yet"),
    ):
        if number := log.total(name):
            text += f", {number:,} {words}"
    if gone := sum(check.records for check in log.deleted):
        text += f", {gone:,} deleted here"
    render.print_text(f"{mark} {log.log}: {text}")
    for one in log.discrepancies:
        place = one.day + (f" seq {one.seq}" if one.seq is not None else "")
        kind = render.paint(one.kind, "red")
        render.print_text(f"       {kind}: {place}: {render.clean(one.detail)}")
    if log.omitted:
        render.print_line(f"       and {log.omitted:,} more")
