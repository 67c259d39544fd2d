"""``auditctl search``: find records; see auditctl.search for parsing and lookup."""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from auditctl.config.sinks import sink_for_target
from auditctl.errors import ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.options import (
    DIRECTORY,
    TEXT,
    chosen,
    complete_sinks,
    config_option,
    log_events_option,
    record_format_option,
    scope_options,
)
from auditctl.output import render
from auditctl.search.grouping import Grouping
from auditlog.errors import LogDamaged
from auditlog.query.files import FileSearch
from auditlog.query.heartbeats import without_heartbeats
from auditlog.query.predicate import predicate
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import And, Query, Test, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditctl.config.model import Config
    from auditctl.config.sinks import SinkConfig
    from auditlog.format.record import Record
    from auditlog.query.files import Trouble
    from auditlog.reading.follow import Follower

_LOOK_SECONDS: Final = 0.25
_FLUSH_SECONDS: Final = 0.1
_AT_ONCE: Final = 100  # number of records that are shown as soon as they are found
_ROWS: Final = 20


@click.command(short_help="Find records by their content.")
@click.argument("query", metavar="QUERY")
@click.argument("directory", metavar="[DIR]", required=False, type=DIRECTORY)
@config_option
@scope_options
@click.option(
    "--correlation-id",
    "--correlation",
    type=TEXT,
    metavar="ID",
    help="Correlation ID that records must have, such as a request's.",
)
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), help="Stop after this number of records."
)
@click.option("-r", "--reverse", is_flag=True, help="Print the newest records first.")
@click.option(
    "-f", "--follow", is_flag=True, help="Print new records as they are written, until Ctrl-C."
)
@click.option("-c", "--count", "only_count", is_flag=True, help="Print only the number of records.")
@click.option(
    "--by",
    type=TEXT,
    metavar="FIELD",
    help="Count records by event_type, actor, hour, day or any field.",
)
@record_format_option
@click.option("--json", "as_json", is_flag=True, help="-o json; of counts, auditctl.search/1.")
@click.option(
    "--source",
    type=TEXT,
    shell_complete=complete_sinks,
    default="files",
    metavar="WHERE",
    show_default=True,
    help="Place to search: files, sink (the configured one), a sink's name, a URL, or FILE.sqlite.",
)
@click.option(
    "--verified",
    is_flag=True,
    help="Print only records that the hash chain proves; report the others.",
)
@log_events_option
def search(query: str, directory: Path | None, **options: Any) -> int:
    """Find records by their content.

    QUERY combines conditions like actor.user_id=alice, event_type~^auth_, details.tries>3,
    outcome!=success with and, or, not and parentheses; a word alone matches any value; '' matches
    every record. Heartbeats (log.heartbeat) are left out unless the query or --log-events asks for
    them. Searches DIR, or all configured directories, in the order of time. Times are UTC.

    \b
    Examples:
      auditctl search 'actor=alice event_type=auth_failure' --since yesterday --until 10:30
      auditctl search req-12345 /var/log/llama-orch/audit --json | jq .details
      auditctl search 'severity=critical or outcome=failure' --reverse --limit 20
      auditctl search event_type~^auth_ --since '7d ago' --by hour
      auditctl search '' audit --source audit.sqlite --count
    """
    asked = _Asked(query, directory, **options)
    return asked.answer()


@dataclass
class _Asked:
    """The command's arguments, and the counts of its answers."""

    query: str
    directory: Path | None
    config_path: Path | None
    since: str | None
    until: str | None
    logs: str
    correlation_id: str | None
    limit: int | None
    reverse: bool
    follow: bool
    only_count: bool
    by: str | None
    output: str
    as_json: bool
    source: str
    verified: bool
    log_events: bool
    damaged: int = 0
    unproven: bool = False
    _shown: int = 0
    _flushed: float = field(default_factory=time.monotonic)

    def answer(self) -> int:
        self._check_combination()
        query, scope = self._question()
        grouping = None if self.by is None else Grouping(self.by)
        config, directories = self._places()
        if self.source == "files":
            records = self._in_files(directories, query, scope)
        else:
            records = _sink_source(self._sink(config), self._tell).records(
                query, scope, reverse=self.reverse
            )
        if grouping is not None:
            self._print_tally(_counted(grouping, records))
        elif self.only_count:
            self._print_count(sum(1 for _ in records))
        else:
            self._show_all(records)
            if not self._shown and not self.as_json:
                render.say("auditctl: no record matches.")
        if self.unproven:
            return ExitCode.PARTLY
        return ExitCode.DATA if self.damaged else ExitCode.OK

    def _check_combination(self) -> None:
        counting = self.only_count or self.by is not None
        for wrong, reason in (
            (self.only_count and self.by is not None, "--count and --by are two answers; give one"),
            (self.follow and counting, "--follow shows records; it cannot count them"),
            (self.follow and (self.reverse or self.limit is not None), "--follow has no end"),
            (self.follow and self.until is not None, "--follow has no end, --until has"),
            (self.follow and self.verified, "--verified proves what is there; it cannot follow"),
            (self.source != "files" and self.follow, "--follow reads files"),
            (self.source != "files" and self.verified, "--verified reads files, with their chain"),
            (
                self.directory is None and "/" in self.query and Path(self.query).is_dir(),
                f"{self.query} is a directory; the query comes first: search '' {self.query}",
            ),
        ):
            if wrong:
                raise click.UsageError(reason)

    def _question(self) -> tuple[Query, SearchScope]:
        """Raises QueryError."""
        query = parse(self.query)
        if not self.log_events:
            query = without_heartbeats(query)
        if self.correlation_id is not None:
            query = And((Test("correlation_id", "=", self.correlation_id, quoted=True), query))
        now = dt.datetime.now(dt.UTC)
        return query, SearchScope.asked_for(self.logs, self.since, self.until, now)

    def _places(self) -> tuple[Config | None, Sequence[Path]]:
        if self.source not in ("files", "sink") and _is_target(self.source):
            return None, ()
        return chosen(self.directory, self.config_path)

    def _sink(self, config: Config | None) -> SinkConfig:
        """Raises ConfigError when it is not clear which one is meant."""
        if config is None:
            return sink_for_target(self.source)
        names = [sink.name for sink in config.sinks]
        wanted = names[0] if self.source == "sink" and len(names) == 1 else self.source
        for sink in config.sinks:
            if sink.name == wanted:
                return sink
        listed = ", ".join(names) or "none"
        raise ConfigError(
            f"--source {self.source} names no sink; configured: {listed}",
            hint="Give a sink's name, its URL, or the file that ends with .sqlite.",
        )

    def _in_files(
        self, directories: Sequence[Path], query: Query, scope: SearchScope
    ) -> Iterator[Record]:
        if self.verified:
            from auditctl.search.proof import proven  # noqa: PLC0415  (only where it is asked for)

            proof = proven(directories, scope)
            for line in proof.unproven:
                render.say(f"auditctl: {line}")
            self.unproven = bool(proof.unproven)
            source = FileSearch(directories, self._tell, proof.ends)
            return filter(proof.covers, source.records(query, scope, reverse=self.reverse))
        if not self.follow:
            source = FileSearch(directories, self._tell)
            return source.records(query, scope, reverse=self.reverse)
        from auditlog.reading.follow import Follower  # noqa: PLC0415  (only where it is asked for)

        follower = Follower(
            directories, lambda segment, at: self._tell(segment, at, _NO_RECORD), scope.has_log
        )
        follower.newest(0)
        return self._following(follower, FileSearch(directories, self._tell, follower.positions),
                               query, scope)  # fmt: skip

    def _following(
        self, follower: Follower, source: FileSearch, query: Query, scope: SearchScope
    ) -> Iterator[Record]:
        yield from source.records(query, scope)
        holds = predicate(query)
        never = threading.Event()
        while True:
            sys.stdout.flush()
            never.wait(_LOOK_SECONDS)
            for record in follower.poll():
                try:
                    if record.header.timestamp >= scope.since and holds(record):
                        yield record
                except LogDamaged:
                    self._tell(record.log, 0, f"record {record.seq} is not JSON")

    def _tell(self, place: str, offset: int, reason: str) -> None:
        self.damaged += 1
        render.say(f"auditctl: {place}: {reason} (byte {offset}).")

    # Output ----------------------------------------------------------------------------------

    def _show_all(self, records: Iterator[Record]) -> None:
        room = render.width()
        raw = self.as_json or self.output == "json"
        for record in records:
            if raw:
                render.print_raw(record.line)
            elif self.output == "verbose":
                for line in render.record_block(record):
                    render.print_line(line)
            else:
                render.print_line(render.record_line(record, room))
            self._shown += 1
            self._flush()
            if self._shown == self.limit:
                break

    def _flush(self) -> None:
        """Print the first matches at once, later ones in blocks of a tenth of a second."""
        now = time.monotonic()
        if self._shown <= _AT_ONCE or now - self._flushed > _FLUSH_SECONDS:
            sys.stdout.flush()
            self._flushed = now

    def _print_count(self, number: int) -> None:
        if self.as_json:
            render.print_json({"schema": "auditctl.search/1", "count": number})
        else:
            render.print_line(str(number))

    def _print_tally(self, grouping: Grouping) -> None:
        groups = grouping.groups()
        if self.as_json:
            listed = [{"key": key, "count": count} for key, count in groups]
            found = {"by": grouping.by, "count": grouping.total, "groups": listed}
            render.print_json({"schema": "auditctl.search/1", **found}, indent=True)
            return
        limit = self.limit or (None if grouping.in_time else _ROWS)
        for line in _histogram(grouping.by, groups[:limit]):
            render.print_line(line)
        if limit is not None and len(groups) > limit:
            rest = sum(count for _, count in groups[limit:])
            more = f"and {len(groups) - limit:,} more, with {render.count(rest, 'record')}"
            render.print_line(more)
        render.print_line(f"{render.count(grouping.total, 'record')} in all")


_NO_RECORD: Final = "the line is not a record"


def _is_target(source: str) -> bool:
    return "://" in source or source.endswith((".sqlite", ".db")) or "/" in source


def _sink_source(sink: SinkConfig, tell: Trouble) -> Any:
    if sink.kind == "sqlite":
        from auditctl.search.sqlite import SqliteSearch  # noqa: PLC0415  (only what is used)

        return SqliteSearch(sink.path, tell)
    from auditctl.search.index import IndexSearch  # noqa: PLC0415  (it takes a third of a second)

    return IndexSearch(sink, tell)


def _counted(grouping: Grouping, records: Iterable[Record]) -> Grouping:
    for record in records:
        grouping.add(record)
    return grouping


def _histogram(title: str, groups: Sequence[tuple[str, int]]) -> Iterator[str]:
    room = render.width() or 80
    top = max((count for _, count in groups), default=0)
    numbers = max(len("RECORDS"), len(f"{top:,}"))
    names = min(max(len(title), *(len(key) for key, _ in groups), 4), room - numbers - 14)
    yield f"{render.cut(title.upper(), names).ljust(names)}  {'RECORDS'.rjust(numbers)}"
    for key, count in groups:
        name = render.cut(render.clean(key), names).ljust(names)
        drawn = render.bar(count, top, room - names - numbers - 4)
        yield f"{name}  {f'{count:,}'.rjust(numbers)}  {render.paint(drawn, 'cyan')}".rstrip()
