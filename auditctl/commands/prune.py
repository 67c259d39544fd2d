"""``auditctl prune``: run retention once by hand; see retention.rules."""

from __future__ import annotations

import datetime as dt
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from auditctl.composition.archived import archived_segments
from auditctl.composition.index_count import SinkCounts
from auditctl.composition.witnessed import witnessed_seqs
from auditctl.errors import BadPath
from auditctl.exit_codes import ExitCode
from auditctl.options import (
    DIRECTORY,
    DURATION,
    FUTURE,
    TEXT,
    chosen,
    complete_sinks,
    config_option,
    json_option,
)
from auditctl.output import render
from auditlog.cursors import CursorStore
from auditlog.format.record import format_timestamp
from auditlog.reading.deleted_indices import DeletedIndices
from retention.plan import Refused
from retention.policy import format_duration
from retention.service import explain_subject, run_retention
from retention.subjects import Index
from retention.timeline import timeline

if TYPE_CHECKING:
    from auditctl.config.model import Config
    from auditctl.config.origins import SettingKey
    from retention.plan import Action, DirectoryPlan, Plan
    from retention.service import Explanation, RunResult
    from retention.timeline import Due


_DAYS_SHOWN: Final = 7
_COLOURS: Final[dict[str, render.Colour]] = {
    "delete": "red",
    "failed": "red",
    "compress": "cyan",
    "keep": "dim",
}


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan; change nothing.")
@click.option(
    "--at",
    type=FUTURE,
    help="Plan as of this instant, like 2026-12-24T00:00:00Z; 90d means in 90 days.",
)
@click.option("--compress-after", type=DURATION, help="Age of the last record; default 30d.")
@click.option("--delete-after", type=DURATION, help="Age of the last record; default 90d.")
@click.option(
    "--sink",
    "sinks",
    type=TEXT,
    shell_complete=complete_sinks,
    multiple=True,
    help="Sink that must have acknowledged a segment. Repeatable.",
)
@click.option(
    "--explain",
    "segment",
    type=TEXT,
    metavar="SEGMENT",
    help="Show the result of each rule for a segment; change nothing.",
)
@click.option("--confirm", is_flag=True, help="Proceed although the circuit breaker refuses.")
@click.option(
    "--indices", is_flag=True, help="Delete old daily indices of the sinks instead of segments."
)
@json_option("auditctl.prune/1, one object a directory; auditctl.prune_indices/1, one a sink")
def prune(
    directory: Path | None,
    *,
    config_path: Path | None,
    dry_run: bool,
    at: dt.datetime | None,
    compress_after: dt.timedelta | None,
    delete_after: dt.timedelta | None,
    sinks: tuple[str, ...],
    segment: str | None,
    confirm: bool,
    indices: bool,
    as_json: bool,
) -> int:
    """Compress and delete old segments that every sink has acknowledged.

    Works on DIR, or on all configured directories. Segments that are active, held, damaged or not
    yet shipped to every sink are left alone. Every sink means the configured sinks, else those
    given by --sink, else all that ever received records from DIR.

    With --indices it deletes daily indices of the sinks that have an index_delete_after. The first
    run only announces which indices the next one will delete.

    \b
    Examples:
      auditctl prune --dry-run /var/log/llama-orch/audit
      auditctl prune --at 2026-12-24T00:00:00Z --dry-run --json | jq .totals
      auditctl prune --explain queen-rbee@hive1.2026-08-01.0001.ndjson
      auditctl prune --indices --dry-run
    """
    flags: dict[SettingKey, str] = {}
    if compress_after is not None:
        flags["retention", "compress_after"] = format_duration(compress_after)
    if delete_after is not None:
        flags["retention", "delete_after"] = format_duration(delete_after)
    config, directories = chosen(directory, config_path, flags)
    if indices:
        if at is not None and not dry_run:
            raise click.UsageError("With --indices, --at needs --dry-run.")
        # Imported here since pruning segments does not need it.
        from auditctl.commands.prune_indices import prune_indices  # noqa: PLC0415  (see above)

        return prune_indices(
            config, at, dry_run=dry_run, confirm=confirm, by=user(), as_json=as_json
        )
    if segment is not None:
        return _explain(config, directories, sinks, at, segment, as_json=as_json)
    there = tuple(place for place in directories if place.is_dir()) or directories
    codes = [ExitCode.PARTLY for place in directories if place not in there]
    for place in directories:
        if place not in there:  # such as one that is not mounted
            render.say(f"auditctl: {place}: there is no such directory; the others are pruned.")
            continue
        state_dir = config.state_directory()
        gate = _gate(config, state_dir, sinks)
        try:
            result = run_retention(
                place,
                config.policy,
                state_dir,
                gate,
                at or dt.datetime.now(dt.UTC),
                dry_run=dry_run,
                confirm=confirm,
                simulated=at is not None,
                host=config.host,
                instance=config.retention_instance(place),
                by=user(),
                holds_in=config.directories,
                counter=SinkCounts(config.sinks, state_dir, DeletedIndices(config.directories)),
                witnessed=witnessed_seqs(config),
                archived=archived_segments(config),
            )
        except Refused as refused:
            _show_plan(refused.plan, as_json=as_json)
            raise
        _show(result, as_json=as_json)
        codes.append(_code(result, confirm=confirm))
    return max(codes)


def _explain(
    config: Config,
    directories: tuple[Path, ...],
    sinks: tuple[str, ...],
    at: dt.datetime | None,
    segment: str,
    *,
    as_json: bool,
) -> ExitCode:
    state_dir = config.state_directory()
    gate = _gate(config, state_dir, sinks)
    name = Path(segment).name
    for place in directories:
        explained = explain_subject(
            place,
            config.policy,
            state_dir,
            gate,
            at or dt.datetime.now(dt.UTC),
            name=name,
            holds_in=config.directories,
            witnessed=witnessed_seqs(config),
            archived=archived_segments(config),
        )
        if explained is not None:
            _print_explanation(explained, as_json=as_json)
            return ExitCode.OK
    raise BadPath(
        "there is no such segment, nor a file that the policy adopts",
        path=directories[0] / name,
        hint="auditctl prune --dry-run lists them.",
    )


def _print_explanation(explained: Explanation, *, as_json: bool) -> None:
    if as_json:
        render.print_json(explained.to_json(), indent=True)
        return
    action = explained.action
    render.print_text(f"{action.action} {action.name} ({action.reason}: {action.detail})")
    rows = [
        (finding.rule, "keeps" if finding.keeps else "lets go", finding.detail)
        for finding in explained.findings
    ]
    for line in render.table(rows, indent="  "):
        render.print_text(line)


def _gate(config: Config, state_dir: Path, named: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sinks to wait for; an additional one only keeps more."""
    configured = {sink.name for sink in config.sinks}
    if configured or named:
        return tuple(sorted(configured | set(named)))
    seen = tuple(CursorStore(state_dir).sinks())
    if seen:
        render.say(f"No sink is configured; waiting for those seen so far: {', '.join(seen)}.")
    else:
        render.say("No sink is configured: nothing waits for being shipped.")
    return seen


def user() -> str:
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # the user of a container may have no name
        return f"uid-{uid}"


def _show(result: RunResult[DirectoryPlan], *, as_json: bool) -> None:
    if as_json:
        render.print_json(result.to_json(), indent=True)
        return
    plan = result.plan
    render.print_text(f"{plan.directory} at {format_timestamp(plan.at)[:19]}Z")
    _print_actions(
        [(step.action, "failed" if step.error else step.action.action) for step in result.steps]
    )
    for step in result.failures:
        render.print_text(f"failed   {step.action.name}: {step.error}")
    for refusal in plan.refusals:
        # A run that was refused shows its plan alone, so this one was confirmed.
        verb = "refused" if result.dry_run else "confirmed"
        line = f"{verb:8} {refusal.kind}: {refusal.detail}"
        render.print_text(render.paint(line, "yellow"))
    _print_timeline(timeline(plan))
    totals = result.totals
    verb = "would be " if result.dry_run else ""
    render.print_text(
        f"{totals['keep']} kept, {totals['compress']} {verb}compressed, {totals['delete']} "
        f"{verb}deleted, {render.bytes_text(totals['freed_bytes'])} {verb}freed in "
        f"{plan.directory}"
    )
    if plan.over_bytes:
        render.say(
            f"auditctl: {render.bytes_text(plan.over_bytes)} above max_total_bytes, since "
            "the rules keep the rest; --explain SEGMENT says why."
        )
    if result.error:
        render.say(f"auditctl: {result.error}")


def _show_plan(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        render.print_json(plan.to_json(dry_run=False), indent=True)
    else:
        _print_actions([(action, action.action) for action in plan.actions])


def _print_actions(actions: list[tuple[Action, str]]) -> None:
    if not actions:
        return
    rows = [("ACTION", "SEGMENT", "SIZE", "RECORDS", "LAST RECORD", "WHY")]
    rows += [
        (
            verb,
            render.clean(action.name),
            render.bytes_text(action.size_bytes),
            *_measures(action),
            f"{action.reason}: {action.detail}",
        )
        for action, verb in actions
    ]
    for line, (verb, *_) in zip(render.table(rows), rows, strict=True):
        render.print_text(render.paint(line, _COLOURS[verb]) if verb in _COLOURS else line)


def _measures(action: Action) -> tuple[str, str]:
    """The columns RECORDS and LAST RECORD."""
    subject = action.subject
    assert not isinstance(subject, Index)  # noqa: S101  (a directory has none)
    last = subject.last_record_at
    return (
        "-" if subject.records is None else f"{subject.records:,}",
        "-" if last is None else format_timestamp(last)[:16].replace("T", " "),
    )


def _print_timeline(dues: tuple[Due, ...]) -> None:
    """Show what becomes due next if nothing else is written."""
    if not dues:
        return
    rows = [("COMES NEXT", "COMPRESS", "DELETE", "FREES")]
    rows += [
        (
            due.day.isoformat(),
            str(due.compress or "-"),
            str(due.delete or "-"),
            render.bytes_text(due.freed_bytes) if due.delete else "-",
        )
        for due in dues[:_DAYS_SHOWN]
    ]
    for line in render.table(rows):
        render.print_text(line)
    if len(dues) > _DAYS_SHOWN:
        rest = dues[_DAYS_SHOWN:]
        render.print_text(
            f"{'and until':10}  {sum(due.compress for due in rest)} more compressed, "
            f"{sum(due.delete for due in rest)} deleted by {rest[-1].day}"
        )


def _code(result: RunResult[DirectoryPlan], *, confirm: bool) -> ExitCode:
    if result.plan.refusals and not confirm:  # a dry run has the exit code of the run
        return ExitCode.REFUSED
    if result.ok:
        return ExitCode.OK
    return ExitCode.PARTLY if any(step.done for step in result.steps) else ExitCode.FAILED
