"""``auditctl verify``: verify hash chains; see auditlog.verification.verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditctl.commands.reconcile import compare_with, print_receipt
from auditctl.config.sinks import sink_for_target
from auditctl.credentials import as_user, credential_options
from auditctl.errors import BadPath
from auditctl.exit_codes import ExitCode
from auditctl.export.archive import is_archive, verify_archive
from auditctl.options import PATH, TEXT, chosen, complete_sinks, config_option, json_option
from auditctl.output import render
from auditlog.errors import InvalidName, NoLog
from auditlog.reading.registry import sightings_by_directory
from auditlog.verification.verify import Report
from auditlog.verification.verify import verify as verify_logs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditctl.config.model import Config
    from auditctl.config.sinks import SinkConfig
    from auditlog.format.tombstones import Tombstone
    from auditlog.reading.registry import Sighting
    from auditlog.verification.verify import LogReport


@click.command
@click.argument("path", metavar="[DIR|FILE]", required=False, type=PATH)
@config_option
@click.option(
    "--against",
    type=TEXT,
    shell_complete=complete_sinks,
    metavar="URL|FILE",
    help="Compare with this sink as well.",
)
@click.option(
    "--jobs", metavar="N", type=click.IntRange(1, 64), default=1, help="So many processes; 1."
)
@credential_options
@json_option("auditctl.verify/1")
def verify(
    path: Path | None,
    *,
    config_path: Path | None,
    against: str | None,
    jobs: int,
    username: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    ca_file: Path | None,
    as_json: bool,
) -> int:
    """Prove that logs are complete and unchanged, or show where not.

    Reads every record of every log in DIR, or of one segment FILE (.ndjson, .ndjson.zst,
    .ndjson.gz), or of an export (.tar.zst), or of all configured directories. Exits with 1 when
    something is wrong, and where there is no log at all: of nothing, nothing is proven.

    With --against, each record is also compared with its copy in an Elasticsearch or SQLite file
    (or in the configured sink of that name); nothing is changed there. The comparison is in the
    JSON as "against", an auditctl.reconcile/1.

    \b
    Examples:
      auditctl verify /var/log/llama-orch/audit
      auditctl verify case-17.tar.zst
      auditctl verify --json /var/log/llama-orch/audit | jq '.logs[].findings'
      auditctl verify /var/log/llama-orch/audit --against audit.sqlite
    """
    if path is not None and is_archive(path) and path.is_file():
        return _verify_export(path, as_json=as_json)
    receipt = None
    directories: Sequence[Path]
    if against is not None:
        config, directories = chosen(path, config_path)
        sink = as_user(
            _sink(config, against),
            username=username,
            password_file=password_file,
            api_key_file=api_key_file,
            ca_file=ca_file,
        )
        receipt = compare_with(sink, directories, config, ship=False)
    if path is not None and config_path is None:
        directories = (path,)  # without the configuration: a copy is verified anywhere
        known: Mapping[Path, tuple[Sighting, ...]] = {}
    elif path is not None and not path.is_dir():
        directories, known = (path,), {}
    else:
        config, directories = chosen(path, config_path)
        known = sightings_by_directory(directories, config.state_dir)
    reports, lacking = [], False
    for directory in directories:
        try:
            reports.append(_verify(directory, jobs, known.get(directory)))
        except (NoLog, BadPath) as error:
            if len(directories) == 1 and isinstance(error, BadPath):
                raise
            lacking = True
            render.say(f"auditctl: {error}")
    report = Report(tuple(log for found in reports for log in found.logs))
    proven = report.ok and not lacking
    if as_json:
        compared = {} if receipt is None else {"against": receipt.to_json()}
        render.print_json({**report.to_json(), "ok": proven, **compared}, indent=True)
    else:
        for log in report.logs:
            _print_log(log)
        if receipt is not None:
            print_receipt(receipt)
    return ExitCode.OK if proven and (receipt is None or receipt.ok) else ExitCode.FAILED


def _sink(config: Config, against: str) -> SinkConfig:
    """The configured sink of that name, or the one at that place."""
    for sink in config.sinks:
        if against in (sink.name, sink.address):
            return sink
    return sink_for_target(against)


def _verify_export(path: Path, *, as_json: bool) -> int:
    found = verify_archive(path)
    if as_json:
        render.print_json(found.to_json(), indent=True)
        return ExitCode.OK if found.ok else ExitCode.FAILED
    for problem in found.problems:
        render.print_text(f"{render.paint('FAILED', 'red')} {render.clean(problem)}")
    for log in found.logs.logs:
        _print_log(log)
    render.print_line(f"SHA-256 of its MANIFEST.json: {found.manifest_sha256}")
    return ExitCode.OK if found.ok else ExitCode.FAILED


def _verify(path: Path, jobs: int, known: Sequence[Sighting] | None) -> Report:
    try:
        return verify_logs(path, jobs=jobs, known=known)
    except FileNotFoundError:
        if path.exists():
            raise  # something in it vanished
        raise BadPath(
            "there is no such file or directory", path=path, hint="Check the path."
        ) from None
    except InvalidName:
        raise BadPath(
            "it is not a segment",
            path=path,
            hint="Segments are named <service>@<host>.<day>.<part>.ndjson, .zst or .gz behind.",
        ) from None


def _when(deleted: Sequence[Tombstone]) -> str:
    """On which days, by what the tombstones tell."""
    days = sorted({tombstone.deleted_at[:10] for tombstone in deleted})
    return f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"


def _print_log(log: LogReport) -> None:
    mark = render.paint("ok    ", "green") if log.ok else render.paint("FAILED", "red")
    held = f"{render.count(log.records, 'record')} in {render.count(log.segments, 'segment')}"
    if log.first_seq is not None:
        held += f", seq {log.first_seq} to {log.last_seq}"
    if log.deleted:
        gone = sum(tombstone.records for tombstone in log.deleted)
        held += f", {render.count(gone, 'record')} deleted under policy {_when(log.deleted)}"
    state = f"head {log.head_hash[:12]}"
    if not log.ok:
        state = f"verified through seq {log.verified_through_seq}, {log.suspect_records:,} suspect"
    render.print_text(f"{mark} {log.log}: {held}; {state}")
    for finding in log.findings:
        place = f"{finding.segment} line {finding.line} (byte {finding.offset}"
        place += f", seq {finding.seq})" if finding.seq is not None else ")"
        kind = render.paint(finding.kind, "red" if finding.fatal else "yellow")
        render.print_text(f"       {kind}: {place}: {finding.detail}")
