"""``auditctl status``: show the state of all logs; see auditctl.survey."""

from __future__ import annotations

import datetime as dt
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from auditctl.exit_codes import ExitCode
from auditctl.options import DIRECTORY, chosen, config_option, json_option
from auditctl.output import render
from auditctl.survey.survey import survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditctl.survey.source_state import SourceState
    from auditctl.survey.survey import LogState, SinkState, Survey

_WATCH_SECONDS: Final = 2.0
_HOME: Final = "\x1b[H\x1b[J"


@click.command
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@click.option("--watch", is_flag=True, help="Refresh every two seconds, until Ctrl-C.")
@json_option("auditctl.status/1")
def status(directory: Path | None, *, config_path: Path | None, watch: bool, as_json: bool) -> int:
    """Show each log's state, problems first.

    Covers DIR, or all configured directories and other sources. Exits with 1 when something needs
    attention. Reads file names, the ends of segments and cursors, never a whole log.

    \b
    Examples:
      auditctl status /var/log/llama-orch/audit
      auditctl status --watch
      auditctl status --json | jq -r '.problems[]'
    """
    config, directories = chosen(directory, config_path, or_sources=True)
    never = threading.Event()
    while True:
        now = dt.datetime.now(dt.UTC)
        found = survey(config, directories, config.state_directory(), now)
        if as_json:
            render.print_json(found.to_json(), indent=not watch)
        else:
            if watch and sys.stdout.isatty():
                sys.stdout.write(_HOME)
            for line in _screen(found):
                render.print_line(line)
        if not watch:
            return ExitCode.FAILED if found.all_problems else ExitCode.OK
        sys.stdout.flush()
        never.wait(_WATCH_SECONDS)


def _screen(found: Survey) -> Iterator[str]:
    room = render.width()
    for problem in found.all_problems:
        first, *rest = render.wrapped(f"problem {render.clean(problem)}", room)
        yield render.paint("problem", "red") + first.removeprefix("problem")
        yield from rest
    counted = [
        render.count(len(some), noun)
        for some, noun in ((found.logs, "log"), (found.sources, "other source"))
        if some
    ]
    if not counted or (found.retention and not found.logs):
        yield "There is no log yet."
    if counted and not found.all_problems:
        yield f"{render.paint('ok', 'green')} {', '.join(counted)}, nothing needs attention"
    yield from _logs(found, room)
    for source in found.sources:
        yield from render.wrapped(f"source {source.source}: {_moved(source, found.at)}", room)
    for directory, at in found.retention:
        when = "never run" if at is None else f"last success {render.since(found.at - at)}"
        due = found.next_retention(at)
        if due is not None and due > found.at:
            when += f", next in {render.duration_text(due - found.at)}"
        yield from render.wrapped(f"retention of {directory}: {when}", room)


def _logs(found: Survey, room: int | None) -> Iterator[str]:
    """Format a table, or two lines for each log where it is too wide."""
    head = ("LOG", "RECORDS", "SEGMENTS", "SIZE", "LAST RECORD", "A MINUTE", "SINKS")
    lines = render.table([head, *(_row(log, found.at) for log in found.logs)])
    if found.logs and (room is None or max(map(len, lines)) <= room):
        yield from lines
        return
    for log in found.logs:
        yield from _two_lines(log, found.at, room)


def _row(log: LogState, now: dt.datetime) -> tuple[str, ...]:
    return (
        log.log,
        _numbers(log),
        _held(log),
        render.bytes_text(log.size_bytes),
        "-" if log.last_record_at is None else render.since(now - log.last_record_at),
        _rate(log),
        ", ".join(map(_sink, log.sinks)) or "none",
    )


def _two_lines(log: LogState, now: dt.datetime, room: int | None) -> Iterator[str]:
    last = "-" if log.last_record_at is None else render.since(now - log.last_record_at)
    yield render.cut(f"{log.log}  {_numbers(log)}  {last}  {_rate(log)}/min", room)
    noun = "segment" if log.segments == 1 else "segments"
    held = f"{_held(log, noun)}, {render.bytes_text(log.size_bytes)}; "
    yield from render.wrapped("    " + held + (", ".join(map(_sink, log.sinks)) or "no sink"), room)


def _numbers(log: LogState) -> str:
    return "-" if log.last_seq is None else f"{log.first_seq or '?'}-{log.last_seq}"


def _held(log: LogState, noun: str = "") -> str:
    """Return the number of segments, and the numbers of those in a notable state."""
    words = {"compressed": "compressed", "not_shipped": "not shipped", "held": "held"}
    listed = ", ".join(
        f"{log.states[name]} {word}" for name, word in words.items() if log.states[name]
    )
    return " ".join(filter(None, (str(log.segments), noun, listed and f"({listed})")))


def _rate(log: LogState) -> str:
    return f"{log.per_minute:,.0f}" if log.per_minute >= 10 else f"{log.per_minute:.1f}"


def _moved(source: SourceState, now: dt.datetime) -> str:
    """Return when each sink last acknowledged records of the log."""
    words = [
        f"{sink} " + ("nothing yet" if at is None else f"last moved {render.since(now - at)}")
        for sink, at in source.moved
    ]
    return ", ".join(words) or "no sink"


def _sink(sink: SinkState) -> str:
    if not sink.lag_records:
        return f"{sink.sink} up to date"
    return f"{sink.sink} {sink.lag_records:,} behind"
