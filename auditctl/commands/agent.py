"""``auditctl agent``: run the agent on this host; see auditctl.agent.agent."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from auditctl.agent.agent import Agent, exit_code
from auditctl.agent.file_limit import raise_file_limit
from auditctl.agent.signals import run_until_signal
from auditctl.agent.systemd import Notifier
from auditctl.errors import ConfigError
from auditctl.options import chosen, config_option
from auditctl.output.log_lines import log_to_stderr

if TYPE_CHECKING:
    from auditctl.config.model import Config

_GC_THRESHOLDS: Final = (20_000, 20, 100)


@click.command
@config_option
@click.option("--only", type=click.Choice(["ship", "retain"]), help="Run only this service.")
def agent(config_path: Path | None, *, only: str | None) -> int:
    """Run shippers and retention as one service.

    Ships all configured directories to all configured sinks, compresses and deletes by the policy,
    and serves metrics on the configured address, until SIGTERM or Ctrl-C. SIGHUP reloads the
    configuration and the secrets; an invalid configuration is reported, and the current one stays
    in force. Retention needs a configured directory: it does not apply to other sources.

    \b
    Examples:
      auditctl agent
      auditctl agent --config ./config.toml --only ship
    """

    def read() -> Config:
        config, _ = chosen(None, config_path, or_sources=only != "retain")
        if only == "ship" and not config.sinks:
            raise ConfigError(
                "there is no sink to ship to",
                path=config_path,
                hint="Add [sinks.main] to the configuration.",
            )
        return config

    log_to_stderr()
    raise_file_limit()
    service = Agent(read, ship=only != "retain", retain=only != "ship", notifier=Notifier())
    _spare_collections()
    _, number = run_until_signal(service.run, service.reload)
    return exit_code(number)


def _spare_collections() -> None:
    """Exclude loaded modules from the cyclic garbage collector, and run it less often.

    Records are freed by their reference counts.  With the defaults, which count every container
    that a batch makes, a sixth of the CPU time of a backlog went into walking over the libraries.
    """
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
