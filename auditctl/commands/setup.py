"""``auditctl setup``: prepare a cluster; see shippers.sinks.elasticsearch.setup_plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from auditctl.composition.sinks import elasticsearch_credentials
from auditctl.config.model import load
from auditctl.config.sinks import ElasticsearchConfig, sink_for_target
from auditctl.credentials import as_user, credential_options
from auditctl.errors import ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.options import TEXT, complete_sinks, config_option, json_option
from auditctl.output import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditctl.config.model import Config
    from shippers.sinks.elasticsearch.setup_plan import SetupPlan, State

_COLOURS: Final[dict[State, render.Colour]] = {
    "ok": "green",
    "change": "cyan",
    "warning": "yellow",
    "missing": "red",
}


@click.group
def setup() -> None:
    """Prepare an Elasticsearch cluster for audit logs, and report what is missing."""


@setup.command
@config_option
@click.option(
    "--sink",
    "name",
    type=TEXT,
    shell_complete=complete_sinks,
    metavar="NAME",
    help="Configured sink, where there are several.",
)
@click.option(
    "--to",
    "target",
    type=TEXT,
    metavar="URL",
    help="URL of a cluster that is not in the configuration.",
)
@credential_options
@click.option(
    "--shards", type=click.IntRange(1), help="Number of shards of each daily index; default 1."
)
@click.option(
    "--replicas", type=click.IntRange(0), help="Number of replicas of each shard; default 1."
)
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be changed; change nothing.")
@json_option("auditctl.setup/1")
def elasticsearch(
    config_path: Path | None,
    *,
    name: str | None,
    target: str | None,
    username: str | None,
    password_file: Path | None,
    api_key_file: Path | None,
    ca_file: Path | None,
    shards: int | None,
    replicas: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Install the index templates, and check the requirements of shipping.

    Installs one template for the audit logs, and one for each configured source of other documents.

    Needs a user who may manage index templates (deploy/elasticsearch/role-auditlog_setup.json),
    which the shipper's own may not; its password comes from --password-file or AUDITLOG_PASSWORD,
    an API key from --api-key-file or AUDITLOG_API_KEY. It can be run repeatedly: templates that are
    up to date are left alone. Exits with 1 when something is missing.

    \b
    Examples:
      auditctl setup elasticsearch --dry-run --to http://127.0.0.1:9200
      auditctl setup elasticsearch --username admin --password-file /root/es.password
    """
    config = load(config_path)
    sink = _sink(config, config_path, name, target)
    if shards is not None:
        sink = replace(sink, shards=shards)
    if replicas is not None:
        sink = replace(sink, replicas=replicas)
    chosen = as_user(
        sink,
        username=username,
        password_file=password_file,
        api_key_file=api_key_file,
        ca_file=ca_file,
    )
    assert isinstance(chosen, ElasticsearchConfig)  # noqa: S101  (it is the sink, as another user)
    shipper = sink if target is None else None
    plan = _set_up(chosen, shipper, [source.name for source in config.sources], dry_run=dry_run)
    if as_json:
        render.print_json(_to_json(plan, chosen, dry_run=dry_run), indent=True)
    else:
        _print(plan, dry_run=dry_run)
    return ExitCode.OK if plan.ok else ExitCode.FAILED


def _sink(
    config: Config, config_path: Path | None, name: str | None, target: str | None
) -> ElasticsearchConfig:
    if target is not None:
        sink = sink_for_target(target)
        if sink.kind != "elasticsearch":
            raise ConfigError("--to has to be a URL", hint="A SQLite file needs no set-up.")
        return sink
    sinks = [s for s in config.sinks if isinstance(s, ElasticsearchConfig)]
    found = [s for s in sinks if name in (None, s.name)]
    if len(found) == 1:
        return found[0]
    if not found:
        what = f"no sink {name}" if name else "no sink"
        raise ConfigError(
            f"{what} of kind elasticsearch is configured",
            path=config_path,
            hint="Give --to URL, or add [sinks.main] to the configuration.",
        )
    names = ", ".join(s.name for s in sinks)
    raise ConfigError(f"there are several sinks: {names}", hint="Name one with --sink.")


def _set_up(
    chosen: ElasticsearchConfig,
    shipper: ElasticsearchConfig | None,
    sources: Sequence[str],
    *,
    dry_run: bool,
) -> SetupPlan:
    # Imported here since config errors should not wait for the client.
    from shippers.sinks.elasticsearch.cluster import Setup  # noqa: PLC0415  (see above)
    from shippers.sinks.elasticsearch.connection import Connection  # noqa: PLC0415  (see above)

    connection = Connection(chosen, elasticsearch_credentials(chosen))
    own = None
    try:
        if shipper is not None:
            own = Connection(shipper, elasticsearch_credentials(shipper))
        made = Setup(connection, own, sources)
        plan = made.plan()
        if not dry_run and plan.ok:
            made.apply(plan)
        return plan
    finally:
        connection.close()
        if own is not None:
            own.close()


def _print(plan: SetupPlan, *, dry_run: bool) -> None:
    for finding in plan.checks:
        mark = render.paint(finding.state.ljust(7), _COLOURS[finding.state])
        hint = f". {finding.hint}" if finding.hint else ""
        render.print_line(f"{mark} {finding.check}: {render.clean(finding.detail)}{hint}")
    for template in plan.changes if dry_run else ():
        render.print_line(f"  {template.name}:")
        for line in template.diff:
            colour: render.Colour = "red" if line.startswith("-") else "green"
            render.print_line(render.paint(f"  {render.clean(line)}", colour))
    if plan.changes and not plan.ok:
        render.say("auditctl: nothing was changed; mend what is missing first.")
    elif plan.changes and dry_run:
        render.say("auditctl: nothing was changed; run it without --dry-run.")
    else:
        for template in plan.changes:
            render.say(f"auditctl: the index template {template.name} was {template.action}d.")


def _to_json(plan: SetupPlan, sink: ElasticsearchConfig, *, dry_run: bool) -> dict[str, Any]:
    return {
        "schema": "auditctl.setup/1",
        "ok": plan.ok,
        "dry_run": dry_run,
        "address": sink.address,
        "templates": [
            {
                "name": template.name,
                "action": template.action,
                "done": plan.ok and not dry_run and template.changes,
                "diff": list(template.diff),
            }
            for template in plan.templates
        ],
        "checks": [
            {
                "check": finding.check,
                "state": finding.state,
                "detail": finding.detail,
                "hint": finding.hint,
            }
            for finding in plan.checks
        ],
    }
