"""Check logs by a trust policy in ``auditctl verify``; see auditlog.evidence.verification."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from auditctl.composition.evidence import load_policy
from auditctl.errors import BadPath
from auditctl.exit_codes import ExitCode
from auditctl.output import render
from auditlog.evidence.collection import (
    Candidate,
    from_file,
    from_logs,
    from_state,
    from_url,
    from_witnesses,
    read_up_to,
)
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.note import MAX_NOTE_BYTES, Note
from auditlog.evidence.proof import RecordProof
from auditlog.evidence.stamping import newest_stamp
from auditlog.evidence.timestamp import attested_at
from auditlog.evidence.verification import verify_evidence
from auditlog.format.record import MAX_RECORD_BYTES
from auditlog.reading.inventory import STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from auditlog.evidence.policy import TrustPolicy
    from auditlog.evidence.verification import EvidenceReport
    from auditlog.verification.verify import LogReport

__all__ = ["merged", "print_evidence", "reports_of", "verify_proof"]


def reports_of(
    directories: Sequence[Path],
    state_dir: Path | None,
    policy_path: Path,
    checkpoints: Sequence[str],
    *,
    max_age: dt.timedelta | None,
    offline: bool,
    retention_hosts: Collection[str] | None = None,
    stamps_ca: Path | None = None,
) -> dict[str, EvidenceReport]:
    """Verify logs against their checkpoints.  Raises ConfigError, BadEvidence, OSError."""
    policy = load_policy(policy_path)
    found: list[Candidate] = []
    for place in checkpoints:
        if urlsplit(place).scheme in ("http", "https"):
            found.append(from_url(place))
        else:
            found.append(from_file(Path(place)))
    states = [state_dir] if state_dir is not None else [d / STATE_DIRECTORY for d in directories]
    for state in states:
        found += from_state(state)
    for directory in directories:
        if directory.is_dir():
            found += from_logs(directory)
    if not offline:
        answered, silent = from_witnesses(policy)
        found += answered
        for text in silent:
            render.say(f"auditctl: {text}")
    reports = verify_evidence(
        directories,
        policy,
        found,
        state_dir=states[0] if len(states) == 1 else None,
        now=dt.datetime.now(dt.UTC),
        max_age=max_age,
        retention_hosts=retention_hosts,
    )
    if stamps_ca is not None:
        for state in states:
            for report in reports.values():
                _verify_stamp(report, state / "proofs" / report.log, policy, stamps_ca)
    return reports


def _verify_stamp(report: EvidenceReport, place: Path, policy: TrustPolicy, ca: Path) -> None:
    """Verify the log's newest time stamp, where its checkpoint is one that the files fit."""
    stamp = newest_stamp(place)
    if stamp is None or not report.ok or stamp.size > report.signed_through_seq:
        return
    content = stamp.checkpoint.read_bytes()
    try:
        checkpoint = policy.trust(Note.parse(content)).checkpoint
        at = attested_at(stamp.reply.read_bytes(), content, ca)
    except BadEvidence as error:
        render.say(f"auditctl: the time stamp {stamp.reply} proves nothing: {error.reason}")
        return
    report.stamped_through_seq, report.stamped_at = checkpoint.size, at


def merged(logs: Sequence[dict[str, Any]], reports: Mapping[str, EvidenceReport]) -> list[Any]:
    """Add the results of the checkpoints to the logs of an auditctl.verify/1 object."""
    left, result = dict(reports), []
    for log in logs:
        report = left.pop(log["log"], None)
        result.append(log if report is None else {**log, **_members(report, log)})
    return result + [{"log": log, **_members(report, {})} for log, report in left.items()]


def _members(report: EvidenceReport, log: Mapping[str, Any]) -> dict[str, Any]:
    at, stamped = report.witnessed_at, report.stamped_at
    findings = [
        {
            "kind": finding.kind,
            "segment": finding.segment,
            "line": finding.line,
            "offset": finding.offset,
            "seq": finding.seq,
            "detail": finding.detail,
        }
        for finding in report.findings
    ]
    return {
        "ok": report.ok and log.get("ok", True),
        "findings": [*log.get("findings", ()), *findings],
        "signed_through_seq": report.signed_through_seq,
        "witnessed_through_seq": report.witnessed_through_seq,
        "witnessed_at": None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "witnesses": list(report.witnesses),
        "stamped_through_seq": report.stamped_through_seq,
        "stamped_at": None if stamped is None else f"{stamped:%Y-%m-%dT%H:%M:%SZ}",
    }


def print_evidence(report: EvidenceReport, log: LogReport | None) -> None:
    """Format each log: how far it is witnessed, and its findings."""
    if log is None:
        render.print_text(f"{render.paint('FAILED', 'red')} {report.log}: there is no such log")
    if report.witnessed_through_seq or report.ok:
        verb, through = "witnessed", report.witnessed_through_seq
        if not report.witnesses:
            verb, through = "signed", report.signed_through_seq
        text = f"       {verb} through seq {through:,}"
        if report.witnessed_at is not None:
            text += f" at {report.witnessed_at:%Y-%m-%dT%H:%M:%SZ}"
        text += f" by {', '.join(report.witnesses)}" if report.witnesses else ""
        after = (log.last_seq or 0) - through if log is not None else 0
        if after > 0 and report.ok:
            verb = "is" if after == 1 else "are"
            text += f"; {render.count(after, 'record')} after that {verb} only chained"
        render.print_text(text)
    if report.stamped_at is not None:
        text = f"       existed through seq {report.stamped_through_seq:,} at"
        text += f" {report.stamped_at:%Y-%m-%dT%H:%M:%SZ} by the time-stamping authority"
        render.print_text(text)
    for finding in report.findings:
        kind = render.paint(finding.kind, "red")
        render.print_text(f"       {kind}: {render.clean(finding.detail)}")


def verify_proof(proof_path: Path, policy_path: Path, line_path: Path, *, as_json: bool) -> int:
    """Check one record with nothing else.  Raises ConfigError, BadPath, OSError."""
    policy = load_policy(policy_path)
    most = MAX_RECORD_BYTES + 1
    line = sys.stdin.buffer.read(most + 1) if str(line_path) == "-" else read_up_to(line_path, most)
    if len(line) > most:
        raise BadPath("it is longer than a record", path=line_path, hint="Name the line's file.")
    if line.count(b"\n") > 1:
        raise BadPath(
            "it holds more than one line", path=line_path, hint="A proof is of one record's line."
        )
    schema = "auditctl.proof/1"
    try:
        proof = RecordProof.parse(read_up_to(proof_path, MAX_NOTE_BYTES))
        trusted = proof.verify(line, policy)
    except BadEvidence as error:
        if as_json:
            render.print_json({"schema": schema, "ok": False, "detail": error.reason}, indent=True)
        else:
            render.print_text(f"{render.paint('FAILED', 'red')} {render.clean(error.reason)}")
        return ExitCode.FAILED
    at, origin = trusted.witnessed_at, trusted.checkpoint.origin
    seen = None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
    if as_json:
        found = {"origin": origin, "seq": proof.index + 1, "size": trusted.checkpoint.size}
        found |= {"witnessed_at": seen, "witnesses": sorted(trusted.seen)}
        render.print_json({"schema": schema, "ok": True, **found}, indent=True)
    else:
        text = f"{render.paint('ok    ', 'green')} record {proof.index + 1} of {origin}"
        if seen is not None:
            text += f"; witnessed at {seen} by {', '.join(sorted(trusted.seen))}"
        render.print_text(text)
    return ExitCode.OK
