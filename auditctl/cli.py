"""Define the command line; import each command only when it runs.

The summaries stand here so that the list of commands needs none of their modules; a test compares
them with what each command says of itself.
"""

from __future__ import annotations

import difflib
import importlib
import os
from typing import TYPE_CHECKING, Final

import click

from auditctl.exit_codes import ExitCode
from auditctl.output.messages import write_message

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["COMMANDS", "COMPLETE_VARIABLE", "cli", "root"]

COMMANDS: Final = {
    "demo": "See the whole pipeline run, with crashes, in a minute.",
    "emit": "Append one event to a log, and return when it is durable.",
    "tail": "Show the newest records, and follow new ones.",
    "search": "Find records by their content.",
    "export": "Export records for an auditor or another program.",
    "redact": "Show how text or NDJSON would be redacted.",
    "report": "Write an HTML report on a period: activity, refusals, verification.",
    "verify": "Prove that logs are complete and unchanged, or show where they are not.",
    "status": "Show each log's state, problems first.",
    "forget": "Record that a log was retired on purpose.",
    "fleet": "Show the logs of all hosts as shipped to a sink, problems first.",
    "doctor": "Check whether this host is ready for audit logs.",
    "evidence": "Sign checkpoints of logs, and have witnesses cosign them.",
    "archive": "Keep finished segments in a bucket with Object Lock, and read them back.",
    "prove": "Prove that a record is in a log, to somebody who does not trust us.",
    "witness": "Cosign other hosts' checkpoints, so that their logs cannot be rewritten unseen.",
    "ship": "Ship a directory's logs into Elasticsearch or SQLite.",
    "reconcile": "Prove that a sink holds what the files hold; ship what is missing.",
    "quarantine": "Show records that no retry could deliver, and deliver them later.",
    "prune": "Compress and delete old segments that every sink has acknowledged.",
    "erase": "Erase one record, or all of a person; proofs of other records stay valid.",
    "hold": "Exempt segments from retention, with a reason.",
    "agent": "Run shippers and retention as one service.",
    "setup": "Prepare an Elasticsearch cluster for audit logs, and report what is missing.",
    "config": "Create, check and show the configuration.",
    "install": "Install units, users, directories and a configuration on a host.",
    "completion": "Print the script with which a shell completes commands and options.",
    "manual": "Print a command's man page, or write all of them.",
}

COMPLETE_VARIABLE: Final = "_AUDITCTL_COMPLETE"
"""Environment variable that a shell sets to request completions; see `auditctl completion`."""

_EPILOG: Final = (
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 partly, 4 refused by a safety rule, 65 bad config or "
    "data, 75 locked by another process, 130 interrupted, 141 output closed."
)


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"auditctl.commands.{cmd_name}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101  (a mistake of ours, not of input)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"There is no command {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Format the list of commands without importing them, unlike click's own."""
        shell = importlib.import_module("click.shell_completion")
        found: list[CompletionItem] = [
            shell.CompletionItem(name, help=summary)
            for name, summary in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if value and not ctx.resilient_parsing:
        metadata = importlib.import_module("importlib.metadata")  # a fifth of what --help takes
        try:
            version = metadata.version("llama-orch-auditlog")
        except metadata.PackageNotFoundError:
            version = "(run from its source, not installed)"
        click.echo(f"auditctl {version}")
        ctx.exit()


@click.group(
    cls=_LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def root() -> None:
    """Audit logs that survive crashes, reach the index exactly once and prove what was deleted.

    Data goes to stdout, messages to stderr. Every command that prints data has --json.
    """


def cli(arguments: list[str]) -> int:
    """Parse and run; returns the exit code.

    Raises whatever the command raises; usage errors are rendered here, since only click knows the
    command they belong to.
    """
    if asked := os.environ.get(COMPLETE_VARIABLE):
        shell = importlib.import_module("click.shell_completion")
        return int(shell.shell_complete(root, {}, "auditctl", COMPLETE_VARIABLE, asked))
    try:
        with root.make_context("auditctl", arguments) as context:
            code = root.invoke(context)
    except click.exceptions.NoArgsIsHelpError as error:
        write_message(error.format_message())
        return ExitCode.USAGE
    except click.UsageError as error:
        program = error.ctx.command_path if error.ctx else "auditctl"
        message = error.format_message().rstrip(".")
        stop = "" if message.endswith("?") else "."
        write_message(f"auditctl: {message}{stop} See: {program} --help")
        return ExitCode.USAGE
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    return ExitCode.OK if code is None else int(code)
