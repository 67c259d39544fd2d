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
from auditctl.options import (
    DURATION,
    PATH,
    TEXT,
    chosen,
    complete_sinks,
    config_option,
    json_option,
)
from auditctl.output import render
from auditlog.errors import InvalidName, NoLog
from auditlog.reading.registry import known_records_by_directory
from auditlog.verification.verify import Report
from auditlog.verification.verify import verify as verify_logs

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Mapping, Sequence

    from auditctl.config.model import Config
    from auditctl.config.sinks import SinkConfig
    from auditlog.evidence.verification import EvidenceReport
    from auditlog.format.erasures import Erasure
    from auditlog.format.tombstones import Tombstone
    from auditlog.reading.registry import KnownRecord
    from auditlog.verification.verify import LogReport
    from shippers.reconcile.receipt import Receipt


@click.command
@click.argument("path", metavar="[DIR|FILE]", required=False, type=PATH)
@config_option
@click.option(
    "--against",
    type=TEXT,
    shell_complete=complete_sinks,
    metavar="URL|FILE",
    help="Compare the records with this sink as well.",
)
@click.option(
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 64),
    default=1,
    help="Number of worker processes (default 1).",
)
@click.option(
    "--policy",
    "policy_path",
    type=PATH,
    metavar="FILE",
    help="Compare the logs with checkpoints that this trust policy accepts.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    type=TEXT,
    multiple=True,
    metavar="FILE|URL",
    help="Checkpoint to compare with, in addition to those found. Repeatable.",
)
@click.option(
    "--max-age", type=DURATION, help="Fail when the newest witnessed checkpoint is older."
)
@click.option(
    "--offline", is_flag=True, help="Use only local checkpoints; do not ask the witnesses."
)
@click.option(
    "--tsa-ca",
    "stamps_ca",
    type=PATH,
    metavar="FILE",
    help="Verify time stamps with these certificates (default: [evidence] timestamps_ca).",
)
@click.option(
    "--proof",
    "proof_path",
    type=PATH,
    metavar="FILE",
    help="Check this proof of the one line in FILE, and nothing else.",
)
@credential_options
@json_option("auditctl.verify/1")
def verify(
    path: Path | None,
    *,
    config_path: Path | None,
    against: str | None,
    jobs: int,
    policy_path: Path | None,
    checkpoints: tuple[str, ...],
    max_age: dt.timedelta | None,
    offline: bool,
    stamps_ca: Path | None,
    proof_path: Path | None,
    username: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    ca_file: Path | None,
    as_json: bool,
) -> int:
    """Prove that logs are complete and unchanged, or show where they are not.

    Reads every record of every log in DIR, or of one segment FILE (.ndjson, .ndjson.zst,
    .ndjson.gz), or of an export (.tar.zst), or of all configured directories. Exits with 1 when a
    check fails, or when there is no log to verify.

    With --against, each record is also compared with its copy in an Elasticsearch or SQLite file
    (or in the configured sink of that name); nothing is changed there. The comparison is in the
    JSON as "against", an auditctl.reconcile/1.

    With --policy, each log that the trust policy names is compared with the checkpoints that its
    witnesses cosigned, which exposes any record changed, cut off or rewritten since then.
    Checkpoints come from the state directory, the log evidence@HOST, --checkpoint, and the policy's
    witnesses.

    \b
    Examples:
      auditctl verify /var/log/llama-orch/audit
      auditctl verify case-17.tar.zst
      auditctl verify --json /var/log/llama-orch/audit | jq '.logs[].findings'
      auditctl verify /var/log/llama-orch/audit --against audit.sqlite
      auditctl verify /var/log/llama-orch/audit --policy trust.policy --max-age 1h
      auditctl verify --proof record-42.tlog-proof --policy trust.policy line-42.ndjson
    """
    if proof_path is not None:
        return _verify_proof(proof_path, policy_path, path, as_json=as_json)
    if policy_path is None and (checkpoints or max_age is not None or offline):
        raise click.UsageError("--checkpoint, --max-age and --offline need --policy.")
    if path is not None and is_archive(path) and path.is_file():
        if policy_path is not None:
            raise click.UsageError(
                "--policy is for logs; unpack the export and run: python3 -I check.py --policy FILE"
            )
        return _verify_export(path, as_json=as_json)
    receipt = None
    hosts: Collection[str] | None = None
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
        receipt = compare_with(sink, directories, config, ship=False, whole_host=path is None)
    if path is not None and config_path is None:
        directories = (path,)  # without the configuration, so that a copy can be verified anywhere
        state_dir = None
        known: Mapping[Path, tuple[KnownRecord, ...]] = {}
    elif path is not None and not path.is_dir():
        directories, known, state_dir = (path,), {}, None
    else:
        config, directories = chosen(path, config_path)
        state_dir = config.state_dir
        known = known_records_by_directory(directories, state_dir)
        hosts = config.deleting_hosts()
        stamps_ca = stamps_ca or config.evidence.timestamps_ca
    report, lacking = _report_of(directories, jobs, known, hosts)
    proven = report.ok and not lacking
    evidence: dict[str, EvidenceReport] = {}
    if policy_path is not None:
        # Imported here: its libraries are needed with a policy only.
        from auditctl.commands import verify_evidence  # noqa: PLC0415  (see above)

        evidence = verify_evidence.reports_of(
            directories,
            state_dir,
            policy_path,
            checkpoints,
            max_age=max_age,
            offline=offline,
            retention_hosts=hosts,
            stamps_ca=stamps_ca,
        )
        proven = proven and bool(evidence) and all(each.ok for each in evidence.values())
        if not evidence:
            render.say("auditctl: the trust policy names no log of ours: nothing is proven.")
    _show(report, evidence, receipt, proven=proven, as_json=as_json)
    return ExitCode.OK if proven and (receipt is None or receipt.ok) else ExitCode.FAILED


def _report_of(
    directories: Sequence[Path],
    jobs: int,
    known: Mapping[Path, tuple[KnownRecord, ...]],
    hosts: Collection[str] | None,
) -> tuple[Report, bool]:
    """The report, and whether a directory has no log or is not there.  Raises BadPath."""
    reports, lacking = [], False
    for directory in directories:
        try:
            reports.append(_verify(directory, jobs, known.get(directory), hosts))
        except (NoLog, BadPath) as error:
            if len(directories) == 1 and isinstance(error, BadPath):
                raise
            lacking = True
            render.say(f"auditctl: {error}")
    return Report(tuple(log for found in reports for log in found.logs)), lacking


def _show(
    report: Report,
    evidence: dict[str, EvidenceReport],
    receipt: Receipt | None,
    *,
    proven: bool,
    as_json: bool,
) -> None:
    if evidence:
        from auditctl.commands import verify_evidence  # noqa: PLC0415  (as in verify)
    if as_json:
        found = report.to_json()
        if evidence:
            found["logs"] = verify_evidence.merged(found["logs"], evidence)
        compared = {} if receipt is None else {"against": receipt.to_json()}
        render.print_json({**found, "ok": proven, **compared}, indent=True)
        return
    for log in report.logs:
        _print_log(log)
        if (own := evidence.pop(log.log, None)) is not None:
            verify_evidence.print_evidence(own, log)
    for own in evidence.values():
        verify_evidence.print_evidence(own, None)
    if receipt is not None:
        print_receipt(receipt)


def _verify_proof(
    proof_path: Path, policy_path: Path | None, line_path: Path | None, *, as_json: bool
) -> int:
    if policy_path is None or line_path is None:
        raise click.UsageError("--proof needs --policy, and FILE with the one line (- is stdin).")
    from auditctl.commands.verify_evidence import verify_proof  # noqa: PLC0415  (as above)

    return verify_proof(proof_path, policy_path, line_path, as_json=as_json)


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
    render.print_line(f"SHA-256 of the file: {found.sha256}")
    return ExitCode.OK if found.ok else ExitCode.FAILED


def _verify(
    path: Path, jobs: int, known: Sequence[KnownRecord] | None, hosts: Collection[str] | None
) -> Report:
    try:
        return verify_logs(path, jobs=jobs, known=known, retention_hosts=hosts)
    except FileNotFoundError:
        if path.exists():
            raise  # a part of it vanished
        raise BadPath(
            "there is no such file or directory", path=path, hint="Check the path."
        ) from None
    except InvalidName:
        raise BadPath(
            "it is not a segment",
            path=path,
            hint="Segments are named <service>@<host>.<day>.<part>.ndjson[.zst|.gz].",
        ) from None


def _when(deleted: Sequence[Tombstone]) -> str:
    """Return the days of the deleted segments, from their tombstones."""
    days = sorted({tombstone.deleted_at[:10] for tombstone in deleted})
    return f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"


def _erased(erased: Sequence[Erasure]) -> str:
    """How many records were erased, when, and the reasons, each once."""
    days = sorted({erasure.erased_at[:10] for erasure in erased})
    when = f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
    reasons = list(dict.fromkeys(render.clean(erasure.reason) for erasure in erased))
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return f"{render.count(len(erased), 'record')} erased {when}: {'; '.join(reasons[:3])}{more}"


def _print_log(log: LogReport) -> None:
    mark = render.paint("ok    ", "green") if log.ok else render.paint("FAILED", "red")
    held = f"{render.count(log.records, 'record')} in {render.count(log.segments, 'segment')}"
    if log.first_seq is not None:
        held += f", seq {log.first_seq} to {log.last_seq}"
    if log.deleted:
        gone = sum(tombstone.records for tombstone in log.deleted)
        held += f", {render.count(gone, 'record')} deleted under policy {_when(log.deleted)}"
    if log.erased:
        held += f", {_erased(log.erased)}"
    state = f"head {log.head_hash[:12]}"
    if not log.ok:
        state = f"verified through seq {log.verified_through_seq}, {log.suspect_records:,} suspect"
    render.print_text(f"{mark} {log.log}: {held}; {state}")
    for finding in log.findings:
        place = f"{finding.segment} line {finding.line} (byte {finding.offset}"
        place += f", seq {finding.seq})" if finding.seq is not None else ")"
        kind = render.paint(finding.kind, "red" if finding.fatal else "yellow")
        render.print_text(f"       {kind}: {place}: {finding.detail}")
