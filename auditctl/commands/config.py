"""``auditctl config``: write, check and show the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from auditctl.composition.sources import make_sources
from auditctl.config.archive import ARCHIVE
from auditctl.config.declared import effective
from auditctl.config.evidence import EVIDENCE
from auditctl.config.model import TOP, load
from auditctl.config.policies import FOREIGN, LOG, RETENTION
from auditctl.config.sinks import KINDS, ElasticsearchConfig
from auditctl.config.sources import SOURCES
from auditctl.config.template import template
from auditctl.config.values import plain
from auditctl.options import PATH, config_option, json_option
from auditctl.output import render
from auditctl.output.new_file import new_file

if TYPE_CHECKING:
    from auditctl.config.model import Config
    from auditctl.config.origins import SettingKey

_HIDDEN: Final = "(hidden)"


@click.group
def config() -> None:
    """Create, check and show the configuration."""


@config.command
@click.option("-o", "--output", "target", type=PATH, metavar="FILE", help="New file to write.")
def init(target: Path | None) -> None:
    """Print a configuration to start from, with every setting explained.

    \b
    Examples:
      auditctl config init -o /etc/auditlog/config.toml
      auditctl config init | less
    """
    if target is None:
        render.print_line(template().rstrip("\n"))
        return
    with new_file(target, mode=0o644) as file:  # it holds no secret; those have own files
        file.write(template().encode())
    render.say(f"auditctl: {target} is written; edit it, then run auditctl config check.")


@config.command
@config_option
@click.option(
    "--only",
    type=click.Choice(["ship", "retain"]),
    help="Check for an agent that runs with this --only.",
)
def check(config_path: Path | None, *, only: str | None) -> None:
    """Check whether the agent could start with this configuration.

    Reads every file that the configuration names; makes no connection.
    """
    loaded = load(config_path)
    loaded.check_logs()
    for sink in loaded.sinks:
        if isinstance(sink, ElasticsearchConfig):
            if only != "retain":
                sink.password()
                sink.api_key()
            for warning in sink.warnings():
                render.say(f"auditctl: warning: {warning}.")
    for directory in loaded.directories:
        if not directory.is_dir():
            render.say(f"auditctl: {directory}: does not exist yet; the agent would wait for it.")
    if loaded.directories or loaded.sources:
        loaded.state_directory()
    else:
        render.say("auditctl: no directory is configured; each command needs one given by hand.")
    directories = render.count(len(loaded.directories), "directory", "directories")
    sources = f", {render.count(len(loaded.sources), 'source')}" if loaded.sources else ""
    sinks = render.count(len(loaded.sinks), "sink")
    make_sources(loaded)
    render.print_line(f"ok: {directories}{sources}, {sinks}")


@config.command
@config_option
@json_option("auditctl.config/1")
def show(config_path: Path | None, *, as_json: bool) -> None:
    """Show the effective value and origin of every setting; secrets are hidden."""
    loaded = load(config_path)
    values = _effective(loaded)
    origins = {key: _origin(loaded, key) for key in values}
    if as_json:
        listed = [
            {"key": ".".join(key), "value": plain(value), "origin": origins[key]}
            for key, value in values.items()
        ]
        render.print_json({"schema": "auditctl.config/1", "settings": listed}, indent=True)
        return
    rows = [
        (".".join(key), f"= {_text(value)}", f"# {origins[key]}") for key, value in values.items()
    ]
    lines, room = render.table(rows), render.width()
    if room is not None and max(map(len, lines)) > room:
        lines = [" ".join(row) for row in rows]
    for line in lines:
        render.print_line(line)


def _origin(loaded: Config, key: SettingKey) -> str:
    setting = loaded.given.get(key) or loaded.given.get(key[:2])  # a table of a list
    return "default" if setting is None else setting.origin


def _effective(loaded: Config) -> dict[SettingKey, Any]:
    values: dict[SettingKey, Any] = {
        ("directories",): loaded.directories,
        ("state_dir",): loaded.state_dir,
        ("metrics",): "",
    }
    values |= {(name,): value for name, value in effective(loaded, TOP)}
    for sink in loaded.sinks:
        for name, value in [("kind", sink.kind), *effective(sink, KINDS[sink.kind][1])]:
            values["sinks", sink.name, name] = value
        if isinstance(sink, ElasticsearchConfig):
            values |= {("sinks", sink.name, name): _HIDDEN for name in sorted(sink.secrets)}
    for source in loaded.sources:
        for name, value in effective(source, SOURCES[source.kind]):
            values["sources", source.kind, source.name, name] = value
    policy = loaded.policy
    for name, setting in RETENTION.items():
        if name == "every":
            values["retention", name] = loaded.schedule.every
        elif name not in ("logs", "foreign"):
            values["retention", name] = getattr(policy, setting.field)
    for name, value in effective(loaded.evidence, EVIDENCE):
        values["evidence", name] = value
    for name, value in () if loaded.archive is None else effective(loaded.archive, ARCHIVE):
        values["archive", name] = value
    for glob, own in policy.overrides:
        values["retention", "logs", glob] = " ".join(
            f"{name}={plain(value)}"
            for name, value in effective(own, LOG)
            if value != getattr(policy, name)
        )
    for foreign in policy.foreign:
        values["retention", "foreign", foreign.pattern] = " ".join(
            f"{name}={','.join(value) if isinstance(value, tuple) else plain(value)}"
            for holder in (foreign, foreign.policy)
            for name, value in effective(holder, FOREIGN)
            if name != "pattern"
        )
    return values


def _text(value: Any) -> str:
    shown = plain(value)
    match shown:
        case None:
            return "(none)"
        case list():
            return "[" + ", ".join(_text(item) for item in shown) + "]"
        case str():
            return shown if shown == _HIDDEN else f'"{shown}"'
        case _:
            return str(shown)
