"""``auditctl completion``: print click's completion script for a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from auditctl.cli import COMPLETE_VARIABLE, root
from auditctl.output import render


@click.command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script with which a shell completes commands and options.

    It also completes the names of logs and sinks of the directory or the configuration.

    \b
    Examples:
      auditctl completion bash > /etc/bash_completion.d/auditctl
      auditctl completion zsh > "${fpath[1]}/_auditctl"
      auditctl completion fish > ~/.config/fish/completions/auditctl.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (the choices are those that click has)
    source = kind(root, {}, "auditctl", COMPLETE_VARIABLE)
    render.print_line(source.source_template % source.source_vars())
