"""``auditctl prune --indices``: delete old daily indices of sinks; see retention.rules."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from auditctl.composition.index_retention import IndexRetention
from auditctl.errors import ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.output import render
from auditlog.format.record import format_timestamp
from retention.act import Step
from retention.plan import IndexPlan, Refused
from retention.service import RunResult

if TYPE_CHECKING:
    from auditctl.config.model import Config

__all__ = ["prune_indices"]

_COLOURS: Final[dict[str, render.Colour]] = {"delete": "red", "failed": "red", "keep": "dim"}


def prune_indices(
    config: Config,
    at: dt.datetime | None,
    *,
    dry_run: bool,
    confirm: bool,
    by: str,
    as_json: bool,
) -> ExitCode:
    """Run for each sink that has an index_delete_after.  Raises ConfigError, Refused."""
    retention = IndexRetention(config)
    if not dry_run:
        retention.forget_others()
    if not retention.sinks:
        raise ConfigError(
            "no sink has an index_delete_after",
            hint='Add index_delete_after = "365d" to a sink of kind elasticsearch.',
        )
    codes = []
    for sink in retention.sinks:
        try:
            result = retention.run(
                sink,
                at or dt.datetime.now(dt.UTC),
                dry_run=dry_run,
                confirm=confirm,
                simulated=at is not None,
                by=by,
            )
        except Refused as refused:
            if isinstance(refused.plan, IndexPlan):
                steps = tuple(map(Step, refused.plan.actions))
                _show(RunResult(refused.plan, steps, dry_run=False), confirm=False, as_json=as_json)
            raise
        _show(result, confirm=confirm and not dry_run, as_json=as_json)
        codes.append(_code(result, confirm=confirm))
    return max(codes)


def _show(result: RunResult[IndexPlan], *, confirm: bool, as_json: bool) -> None:
    if as_json:
        render.print_json(result.to_json(), indent=True)
        return
    plan = result.plan
    render.print_line(f"indices of sink {plan.policy.sink} at {format_timestamp(plan.at)[:19]}Z")
    rows = [("ACTION", "INDEX", "DOCUMENTS", "SIZE", "WHY")]
    verbs = ["failed" if step.error else step.action.action for step in result.steps]
    rows += [
        (
            verb,
            render.clean(step.action.name),
            f"{getattr(step.action.subject, 'documents', 0):,}",
            render.bytes_text(step.action.size_bytes),
            f"{step.action.reason}: {step.action.detail}",
        )
        for verb, step in zip(verbs, result.steps, strict=True)
    ]
    for line, verb in zip(render.table(rows), ["", *verbs], strict=True):
        render.print_text(render.paint(line, _COLOURS[verb]) if verb in _COLOURS else line)
    for error in result.errors:
        render.print_line(f"failed   {error}")
    for refusal in plan.refusals:
        line = f"{'confirmed' if confirm else 'refused':8} {refusal.kind}: {refusal.detail}"
        render.print_line(render.paint(line, "yellow"))
    done = sum(step.done for step in result.steps)
    planned = len(plan.only("delete"))
    if plan.announces and (result.dry_run or result.announced):
        verb = "a run would delete nothing yet" if result.dry_run else "nothing was deleted"
        render.print_line(
            f"{verb}, since {plan.announces}; the one after it deletes {planned} of "
            f"{len(result.steps)} indices"
        )
    elif result.dry_run:
        render.print_line(f"{planned} of {len(result.steps)} indices would be deleted")
    else:
        render.print_line(f"{done} of {len(result.steps)} indices deleted")


def _code(result: RunResult[IndexPlan], *, confirm: bool) -> ExitCode:
    refused = result.plan.refusals and not (confirm or result.announced)
    if refused and not result.plan.announces:  # a dry run has the exit code of the run
        return ExitCode.REFUSED
    if not result.errors:
        return ExitCode.OK
    return ExitCode.PARTLY if any(step.done for step in result.steps) else ExitCode.FAILED
