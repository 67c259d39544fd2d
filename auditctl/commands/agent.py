"""``auditctl agent``: the service that runs on each host; see auditctl.agent."""

from __future__ import annotations

from pathlib import Path

import click

from auditctl.agent import Agent, exit_code
from auditctl.errors import ConfigError
from auditctl.logs import log_to_stderr
from auditctl.options import chosen, config_option
from auditctl.signals import run_until_signal


@click.command
@config_option
@click.option("--only", type=click.Choice(["ship", "retain"]), help="Run just this part.")
def agent(config_path: Path | None, *, only: str | None) -> int:
    """Run shippers and retention as one service.

    Ships all configured directories to all configured sinks, compresses and deletes by the policy,
    and serves metrics on the configured address, until SIGTERM or Ctrl-C.

    \b
    Examples:
      auditctl agent
      auditctl agent --config ./config.toml --only ship
    """
    config, _ = chosen(None, config_path)
    if only == "ship" and not config.sinks:
        raise ConfigError(
            "there is no sink to ship to",
            path=config_path,
            hint="Add [sinks.main] to the configuration.",
        )
    log_to_stderr()
    service = Agent(config, ship=only != "retain", retain=only != "ship")
    _, number = run_until_signal(service.run)
    return exit_code(number)
