"""Rules for every option and argument of every command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click
import pytest

from auditctl.cli import root
from auditctl.options import TEXT
from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.auditctl.conftest import Result

EMPTY_MEANS_SOMETHING = {
    "search query",
    "archive search query",
    "tail --query",
    "export --query",
    "emit --reason",
    "emit --correlation-id",
}


def commands(
    group: click.Group = root, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def takes_text(parameter: click.Parameter) -> bool:
    return not (isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count))


def called(parameter: click.Parameter) -> str:
    return parameter.opts[0] if isinstance(parameter, click.Option) else str(parameter.name)


def line(command: click.Command, asked: click.Parameter, given: str = "") -> Iterator[str]:
    """Arguments that give what is required, and this for the one that is asked about.

    An argument that is asked about has those before it given too: arguments have no names.
    """
    arguments = []
    asked_yet = not isinstance(asked, click.Argument)
    for parameter in command.params:
        text = given if parameter is asked else "x"
        if isinstance(parameter, click.Argument):
            if not asked_yet or parameter.required:
                arguments.append(text)
            asked_yet = asked_yet or parameter is asked
        elif parameter is asked or parameter.required:
            yield f"{max(parameter.opts, key=len)}={text}"
    yield from ("--", *arguments)


ASKED = [
    pytest.param(path, command, parameter, id=f"{' '.join(path)} {called(parameter)}")
    for path, command in commands()
    for parameter in command.params
    if takes_text(parameter)
    and f"{' '.join(path)} {called(parameter)}" not in EMPTY_MEANS_SOMETHING
]


@pytest.mark.parametrize(("path", "command", "parameter"), ASKED)
def test_an_empty_value_is_refused(
    *,
    path: tuple[str, ...],
    command: click.Command,
    parameter: click.Parameter,
    run: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes from a variable that is not set: neither this directory nor all logs are meant."""
    monkeypatch.chdir(tmp_path)
    result = run(*path, *line(command, parameter))
    assert (result.code, result.out) == (2, "")
    assert "Invalid value for" in result.err
    assert parameter.get_error_hint(click.Context(command)) in result.err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("path", "command", "parameter"), [asked for asked in ASKED if asked.values[2].type is TEXT]
)
def test_a_text_that_is_not_utf8_is_refused(
    *,
    path: tuple[str, ...],
    command: click.Command,
    parameter: click.Parameter,
    run: Callable[..., Result],
) -> None:
    result = run(*path, *line(command, parameter, "\udcff"))
    assert (result.code, result.out) == (2, "")
    assert parameter.get_error_hint(click.Context(command)) in result.err
    assert "it is not valid UTF-8." in result.err


def test_an_empty_query_is_every_record(run: Callable[..., Result], tmp_path: Path) -> None:
    directory = write_log(tmp_path / "audit", records=3).directory
    assert len(run("search", "", directory).out.splitlines()) == 3
    assert len(run("tail", directory, "--query", "").out.splitlines()) == 3
    exported = run("export", directory, "--query", "", "--format", "ndjson", "-o", "-")
    assert len(exported.out.splitlines()) == 3


def test_an_empty_reason_or_correlation_id_of_an_event_is_none(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    directory = tmp_path / "audit"
    emitted = run("emit", directory, "--service=s", "a.b", "--reason", "", "--correlation-id", "")
    assert emitted.code == 0
    record = run("search", "event_type=a.b", directory, "--json").json
    assert {"reason", "correlation_id"}.isdisjoint(record)


OF_A_DIRECTORY = [
    "tail {}",
    "search '' {}",
    "export {} -o made.csv",
    "report {} -o made.html",
    "verify {}",
    "status {}",
    "doctor {}",
    "ship {} --to made.sqlite --once",
    "reconcile {} --to made.sqlite",
    "quarantine list -d {}",
    "prune {}",
    "hold list --dir {}",
]


@pytest.mark.parametrize("command", OF_A_DIRECTORY)
def test_a_wrong_path_is_named_as_it_was_typed(
    command: str, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for path, wrong in (("none/here", "none"), ("file", "file")):
        result = run(*shlex.split(command.format(path)))
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(f"auditctl: {wrong}")
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


@pytest.mark.parametrize("command", ["tail", "verify", "status"])
def test_a_configuration_that_is_named_is_read_although_a_directory_is_given(
    command: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    write_log(tmp_path / "audit")
    result = run(command, tmp_path / "audit", "--config", tmp_path / "none.toml")
    assert (result.code, result.out) == (65, "")
