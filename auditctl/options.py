"""Define options shared by commands: directory, configuration, durations, times, --json."""

from __future__ import annotations

import datetime as dt
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditctl.config.model import Config, load
from auditctl.errors import BadPath, ConfigError
from auditlog.errors import AuditLogError
from auditlog.reading.inventory import scan
from retention.errors import PolicyError
from retention.policy import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from click.shell_completion import CompletionItem

    from auditctl.config.origins import SettingKey

__all__ = [
    "DIRECTORY",
    "DURATION",
    "FUTURE",
    "PAST",
    "PATH",
    "TEXT",
    "chosen",
    "complete_logs",
    "complete_sinks",
    "config_option",
    "directory_option",
    "existing_directory",
    "json_option",
    "log_events_option",
    "record_format_option",
    "scope_options",
]


class _Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.timedelta:
        if isinstance(value, dt.timedelta):
            return value
        try:
            return parse_duration(value)
        except PolicyError as error:
            self.fail(f"{error.reason}. {error.hint}", param, ctx)


class _Instant(click.ParamType):  # type: ignore[type-arg]  # as above
    """A timestamp, or a duration before or after now, as everywhere: 200d."""

    name = "instant"

    def __init__(self, *, ahead: bool) -> None:
        self._sign = 1 if ahead else -1

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime:
        if isinstance(value, dt.datetime):
            return value
        with suppress(PolicyError, OverflowError):
            return dt.datetime.now(dt.UTC) + self._sign * parse_duration(value)
        try:
            instant = dt.datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is not a timestamp; write it like 2026-12-24T00:00:00Z or 200d.",
                param,
                ctx,
            )
        if instant.tzinfo is None:
            self.fail(f"{value!r} has no time zone; add Z for UTC.", param, ctx)
        return instant.astimezone(dt.UTC)


class _NotEmpty(click.ParamType):  # type: ignore[type-arg]  # as above
    """Refuses an empty value, as given by a script whose variable is unset."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty.", param, ctx)
        return super().convert(value, param, ctx)


class _Text(_NotEmpty, click.types.StringParamType):
    """A non-empty text; options for which an empty text has a meaning have no type."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("it is not valid UTF-8.", param, ctx)
        return text


class _Path(_NotEmpty, click.Path):
    """A path; the command itself reports one that it cannot read."""


class _Directory(_Path):
    """Completes to directories; the command itself checks what it is given."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415  (no command needs it)

        del ctx, param
        return [CompletionItem(incomplete, type="dir")]


DIRECTORY = _Directory(path_type=Path, readable=False)
DURATION = _Duration()
FUTURE = _Instant(ahead=True)
PAST = _Instant(ahead=False)
PATH = _Path(path_type=Path, readable=False)
TEXT = _Text()

config_option = click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=PATH,
    help="Configuration file instead of /etc/auditlog/config.toml.",
)


directory_option = click.option(
    "--dir",
    "directory",
    metavar="DIR",
    type=DIRECTORY,
    help="Directory to use instead of the configured ones.",
)


def scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--since``, ``--until`` and ``--log``, for SearchScope.asked_for."""
    for option in (
        click.option(
            "--log",
            "logs",
            type=TEXT,
            shell_complete=complete_logs,
            default="*",
            metavar="GLOB",
            help="Logs to include, such as rbee-hive@*.",
        ),
        click.option(
            "--until",
            type=TEXT,
            metavar="TIME",
            help="End of the period; a date includes that whole day.",
        ),
        click.option(
            "--since",
            type=TEXT,
            metavar="TIME",
            help="Start of the period: 2026-11-23, 10:30, yesterday, 2h.",
        ),
    ):
        command = option(command)
    return command


def log_events_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--log-events``, as auditlog.search has it."""
    return click.option(
        "--log-events", is_flag=True, help="Include heartbeats, also where the query names none."
    )(command)


def record_format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--output``: how records are printed; the parameter is called output."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["short", "verbose", "json"]),
        default="short",
        show_default=True,
        help="Format: one line per record, one line per value, or the record as it is in the file.",
    )(command)


def json_option(schema: str) -> Callable[[Any], Any]:
    """``--json``; the schema is named in the help, since scripts rely on it."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print JSON ({schema}).")


def complete_logs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete logs of the typed directory, or of the configured ones."""
    del param
    try:
        _, directories = chosen(_typed_directory(ctx), ctx.params.get("config_path"))
        found = {str(log) for directory in directories for log in scan(directory).logs}
    except (AuditLogError, OSError):
        return []  # the command itself reports the error when it runs
    return sorted(log for log in found if log.startswith(incomplete))


def _typed_directory(ctx: click.Context) -> Path | None:
    """click leaves what is no option in ``args`` when the line ends with an option's name."""
    if ctx.params.get("directory") is not None:
        return Path(ctx.params["directory"])
    names = [found.name for found in ctx.command.params if isinstance(found, click.Argument)]
    typed = dict(zip(names, ctx.args, strict=False)).get("directory")
    return None if typed is None else Path(typed)


def complete_sinks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the names of the configured sinks."""
    del param
    try:
        names = [sink.name for sink in load(ctx.params.get("config_path")).sinks]
    except (AuditLogError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


def existing_directory(path: Path) -> Path:
    """The directory.  Raises BadPath when it is missing or no directory, OSError else."""
    try:
        with os.scandir(path):
            return path
    except FileNotFoundError:
        raise BadPath(
            "there is no such directory", path=path, hint="Check the path; nothing was created."
        ) from None
    except NotADirectoryError:
        raise BadPath(
            "it is not a directory",
            path=path,
            hint="Name the directory that holds the *.ndjson segments.",
        ) from None


def chosen(
    directory: Path | None,
    config_path: Path | None,
    flags: Mapping[SettingKey, Any] | None = None,
    *,
    or_sources: bool = False,
) -> tuple[Config, tuple[Path, ...]]:
    """The configuration, and the directories of it that the command is about.

    A directory given by hand that is configured keeps its configuration: its sinks and their
    cursors guard it.  Another one stands alone, with its state inside it.  Other sources are not
    meant then.  With ``or_sources`` no directory is needed where other sources are configured.
    Raises ConfigError, BadPath.
    """
    config = load(config_path, flags=flags)
    if directory is None:
        if not config.directories and not (or_sources and config.sources):
            raise ConfigError(
                "no directory is configured",
                path=config_path,
                hint='Give a directory, or write directories = ["…"] into the configuration.',
            )
        return config, config.directories
    given = existing_directory(directory).absolute()
    for known in config.directories:
        if known.resolve() == given.resolve():
            return replace(config, sources=()), (known,)
    if config.directories:
        config = replace(config, state_dir=None, sinks=(), archive=None)
    return replace(config, directories=(given,), sources=()), (given,)
