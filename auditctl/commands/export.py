"""``auditctl export``: export evidence, or records for another program; see auditctl.export."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import hashlib
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from auditctl.exit_codes import ExitCode
from auditctl.export.bundle import Asked, write_bundle
from auditctl.export.parquet import ParquetFormat
from auditctl.export.rows import COLUMNS, ecs, row
from auditctl.options import DIRECTORY, PATH, chosen, config_option, scope_options
from auditctl.output import render
from auditctl.output.new_file import new_file
from auditlog.format.json_text import encoded
from auditlog.query.files import FileSearch
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import parse
from auditlog.reading.registry import known_records_by_directory
from retention.holds import HoldStore
from retention.tombstone_log import recorded_holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from auditctl.export.manifest import Manifest
    from auditlog.evidence.note import Note
    from auditlog.format.record import Record

_SUFFIXES: Final = {".tar.zst": "bundle", ".csv": "csv", ".ndjson": "ndjson", ".parquet": "parquet"}


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@scope_options
@click.option("--query", metavar="QUERY", help="Query that records must match; see search.")
@click.option(
    "-o",
    "--output",
    "target",
    type=PATH,
    metavar="FILE|-",
    help="File to write; - writes to stdout.",
)
@click.option(
    "--tiles",
    "tiles_dir",
    type=PATH,
    metavar="DIR",
    help="Write the signed trees to this directory instead, for other programs "
    "(c2sp.org/tlog-tiles).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["bundle", "ndjson", "csv", "ecs", "parquet"]),
    help="Format (default: by the file name, .tar.zst (bundle), .csv, .ndjson, .parquet).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (auditctl.exported/1).")
def export(
    directory: Path | None,
    *,
    config_path: Path | None,
    since: str | None,
    until: str | None,
    logs: str,
    query: str | None,
    target: Path | None,
    tiles_dir: Path | None,
    form: str | None,
    as_json: bool,
) -> int:
    """Export records for an auditor or another program.

    A bundle holds whole log files with their proofs, holds and tombstones, a manifest, a README and
    a checker that needs only Python; auditctl verify checks a bundle too. The formats ndjson, csv,
    ecs and parquet contain only records; parquet needs the package pyarrow. Exits with 3 when
    exported data is damaged.

    \b
    Examples:
      auditctl export --since 2026-11-01 --until 2026-11-23 -o case-17.tar.zst
      auditctl export /var/log/llama-orch/audit --query actor=mallory -o case-18.tar.zst
      auditctl export --query 'event_type~^auth_' --format csv -o - | less -S
      auditctl export --tiles /srv/www/log
    """
    now = dt.datetime.now(dt.UTC)
    if (target is None) == (tiles_dir is None):
        raise click.UsageError("Give -o FILE, or --tiles DIR.")
    if tiles_dir is not None:
        if query or form or since or until:
            raise click.UsageError("--tiles writes whole trees; --log is the only filter")
        return _write_tiles(directory, config_path, logs, tiles_dir, as_json=as_json)
    assert target is not None  # noqa: S101  (one of both, see above)
    form = form or next((f for end, f in _SUFFIXES.items() if target.name.endswith(end)), None)
    if form is None:
        raise click.UsageError(f"{target}: the file name does not tell the format; give --format")
    if form in ("bundle", "parquet") and str(target) == "-":
        raise click.UsageError(f"The format {form} cannot be streamed; give -o FILE")
    scope = SearchScope.asked_for(logs, since, until, now)
    config, directories = chosen(directory, config_path)
    damaged = 0

    def tell(place: str, offset: int, reason: str) -> None:
        nonlocal damaged
        damaged += 1
        render.say(f"auditctl: {place}: {reason} (byte {offset}).")

    parsed = parse(query or "")
    source = FileSearch(directories, tell)
    if form != "bundle":
        count = _write(target, form, source.records(parsed, scope))
        if str(target) != "-":
            _summary({"file": str(target), "records": count}, as_json=as_json)
        return ExitCode.PARTLY if damaged else ExitCode.OK
    asked = Asked(
        directories,
        scope,
        HoldStore(config.state_directory(), recorded_holds(directories)).load(),
        query,
        None if query is None else (lambda: source.records(parsed, scope)),
        known_records_by_directory(directories, config.state_directory()),
        _notes(directories, config.state_directory()),
        config.state_directory(),
        config.deleting_hosts(),
    )
    manifest, digest = write_bundle(target, asked, now)
    _bundle_summary(target, manifest, digest, as_json=as_json)
    return ExitCode.OK if manifest.ok and not damaged else ExitCode.PARTLY


def _notes(directories: Sequence[Path], state_dir: Path) -> Callable[[], Iterable[Note]] | None:
    """Return a function that finds the signed checkpoints; an export goes on without them."""

    def tell(text: str) -> None:
        render.say(f"auditctl: {text}; the export goes on without these checkpoints.")

    try:
        # Imported here: only who signs has the libraries of evidence.
        from auditctl.export.checkpoints import found_notes  # noqa: PLC0415  (see above)
    except ImportError as error:
        tell(f"checkpoints cannot be read ({error})")
        return None
    return lambda: found_notes(directories, state_dir, tell)


def _write_tiles(
    directory: Path | None, config_path: Path | None, logs: str, place: Path, *, as_json: bool
) -> int:
    # Imported here: only who signs has the libraries of evidence.
    from auditctl.export.tiles import export_tiles  # noqa: PLC0415  (see above)

    config, directories = chosen(directory, config_path)
    found = export_tiles(config, directories, logs, place)
    if as_json:
        trees = [dataclasses.asdict(each) for each in found]
        answer = {"schema": "auditctl.exported/1", "directory": str(place), "trees": trees}
        render.print_json(answer, indent=True)
    for each in found if not as_json else ():
        left_out = each.records - each.entries
        text = f"{each.directory}: the tree of {render.count(each.records, 'record')}"
        text += f"; {render.count(left_out, 'entry', 'entries')} left out" if left_out else ""
        render.print_line(text)
    return ExitCode.PARTLY if any(each.entries < each.records for each in found) else ExitCode.OK


def _write(target: Path, form: str, records: Iterable[Record]) -> int:
    """Raises BadPath as new_file, CommandFailed without pyarrow, OSError."""
    count = 0
    if str(target) == "-":
        for line in _lines(form, records):
            sys.stdout.buffer.write(line)
            count += 1
        return count
    parquet = ParquetFormat() if form == "parquet" else None  # before anything is made
    with new_file(target) as file:
        if parquet is not None:
            count = parquet.write(file, records)
        else:
            for line in _lines(form, records):
                file.write(line)
                count += 1
    return count - (form == "csv")


def _lines(form: str, records: Iterable[Record]) -> Iterator[bytes]:
    if form == "csv":
        yield _csv_line(COLUMNS)
    for record in records:
        if form == "csv":
            yield _csv_line(row(record))
        elif form == "ecs":
            yield encoded(ecs(record)) + b"\n"
        else:
            yield record.line


def _csv_line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # RFC 4180: CRLF, quotes doubled
    return text.getvalue().encode("utf-8")


def _bundle_summary(target: Path, manifest: Manifest, digest: str, *, as_json: bool) -> None:
    findings = sum(len(log.findings) for log in manifest.logs)
    if as_json:
        found = {"file": str(target), "records": manifest.records, "logs": len(manifest.logs)}
        digests = {"sha256": _sha256(target), "manifest_sha256": digest}
        _summary({**found, **digests, "findings": findings}, as_json=True)
        return
    held = (
        f"{render.count(manifest.records, 'record')} of {render.count(len(manifest.logs), 'log')}"
    )
    render.print_line(f"{target}: {held}")
    render.print_line(f"SHA-256 of the file: {_sha256(target)}")
    if findings:
        problem = render.count(findings, "finding")
        render.say(f"auditctl: the logs are not whole: {problem}, named in MANIFEST.json.")


def _sha256(target: Path) -> str:
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _summary(found: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        render.print_json({"schema": "auditctl.exported/1", **found}, indent=True)
    else:
        render.print_line(f"{found['file']}: {render.count(int(str(found['records'])), 'record')}")
