"""``auditctl erase``: erase records and keep every proof; see retention.erasure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditctl.commands.prune import user
from auditctl.composition.erasure import erase_everywhere
from auditctl.credentials import as_user, credential_options
from auditctl.errors import CommandFailed
from auditctl.exit_codes import ExitCode
from auditctl.options import (
    TEXT,
    chosen,
    complete_logs,
    config_option,
    directory_option,
    json_option,
    scope_options,
)
from auditctl.output import render
from auditlog.cursors import CursorStore
from auditlog.format.segment_names import LogId
from auditlog.query.files import FileSearch
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import And, Query, Test, parse
from auditlog.reading.inventory import STATE_DIRECTORY, scan
from retention.erasure import (
    Order,
    Target,
    carry_out,
    find_record,
    find_records,
    refusals,
    unfinished,
)
from retention.holds import HoldStore
from retention.service import exclusive
from retention.tombstone_log import TombstoneLog, recorded_holds
from shippers.sinks.erasure import ErasedRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditctl.config.model import Config
    from auditctl.config.sinks import SinkConfig

_PATIENCE = dt.timedelta(seconds=10)


@click.command
@click.argument("log", metavar="[LOG]", type=TEXT, required=False, shell_complete=complete_logs)
@click.argument("seq", metavar="[SEQ]", type=click.IntRange(min=1), required=False)
@config_option
@directory_option
@click.option("--actor", type=TEXT, metavar="USER", help="Erase all records of this user_id.")
@click.option(
    "--query",
    type=TEXT,
    metavar="QUERY",
    help="Erase all records that match this query; see search.",
)
@scope_options
@click.option(
    "--reason", type=TEXT, help="Reason; recorded permanently, so do not name the data subject."
)
@click.option("--by", type=TEXT, metavar="WHO", help="Person who decided it; recorded permanently.")
@click.option("--legal-basis", type=TEXT, help="Legal basis, such as GDPR art. 17(1)(b).")
@click.option(
    "--finish", is_flag=True, help="Carry out the recorded erasures again, to complete them."
)
@click.option(
    "--confirm", is_flag=True, help="Erase the records; without it, only the plan is printed."
)
@credential_options
@json_option("auditctl.erase/1")
def erase(log: str | None, seq: int | None, **options: Any) -> int:
    """Erase one record, or all of a person; proofs of other records stay valid.

    Selects the record LOG SEQ, or all records that --actor or --query find, and prints the plan.
    With --confirm, the erasure, its reason and the person are recorded in the chain of retention's
    log, each line is replaced by a stub with its hashes, and the documents are deleted from
    quarantines and sinks, as the user of index_delete_username or --username. This cannot be
    undone.

    Records under a legal hold, records that a sink has not acknowledged, records in a segment that
    is being written, and a log's records about itself are refused with exit code 4. Exits with 3
    when a part was refused, or a sink failed: --finish does the rest.

    \b
    Examples:
      auditctl erase queen-rbee@hive1 42 --reason "request 17" --by dpo@example.org
      auditctl erase --actor alice --reason "request 17" --by dpo@example.org --confirm
      auditctl erase --finish --confirm
    """
    return _ErasureRequest(log, seq, **options).answer()


@dataclass
class _ErasureRequest:
    """The command's arguments, and what came of them."""

    log: str | None
    seq: int | None
    config_path: Path | None
    directory: Path | None
    actor: str | None
    query: str | None
    since: str | None
    until: str | None
    logs: str
    reason: str | None
    by: str | None
    legal_basis: str | None
    finish: bool
    confirm: bool
    username: str | None
    password_file: Path | None
    api_key_file: Path | None
    ca_file: Path | None
    as_json: bool
    _found: int = 0
    _damaged: list[str] = field(default_factory=list)

    def answer(self) -> int:
        self._check_combination()
        config, directories = chosen(self.directory, self.config_path)
        sinks = [self._as_user(sink) for sink in config.sinks]
        code = ExitCode.OK
        for directory in directories:
            code = max(code, self._erase_in(config, directories, directory, sinks))
        if not self._found and not self.finish:
            raise CommandFailed(
                "there is no such record in the files",
                hint="Records that retention deleted leave a sink with their index"
                " (auditctl prune --indices).",
            )
        return code

    def _check_combination(self) -> None:
        chosen_by = (self.log is not None, self.actor is not None or self.query is not None)
        if sum((*chosen_by, self.finish)) != 1 or (self.log is not None and self.seq is None):
            raise click.UsageError("Give LOG and SEQ, or --actor and --query, or --finish.")
        if not self.finish and (self.reason is None or self.by is None):
            raise click.UsageError("--reason and --by are needed: they are what is recorded.")

    def _as_user(self, sink: SinkConfig) -> SinkConfig:
        if sink.kind == "sqlite":
            return sink
        return as_user(
            sink,
            username=self.username,
            password_file=self.password_file,
            api_key_file=self.api_key_file,
            ca_file=self.ca_file,
        )

    def _erase_in(
        self,
        config: Config,
        directories: Sequence[Path],
        directory: Path,
        sinks: Sequence[SinkConfig],
    ) -> ExitCode:
        if not self.confirm:
            plan = self._plan(config, directories, directory)
            self._print(plan, directory, sinks, [])
            return ExitCode.REFUSED if plan.refused else ExitCode.OK
        state_dir = config.state_directory()
        instance = config.retention_instance(directory)
        with exclusive(directory, state_dir):
            plan = self._plan(config, directories, directory)
            order = None if self.finish else self._order()
            with TombstoneLog(directory, config.host, instance, patience=_PATIENCE) as tombstones:
                carry_out(
                    directory, plan.accepted, order, tombstones=tombstones, policy=config.policy
                )
        records = [
            ErasedRecord(each.header.log, each.header.seq, each.header.day, each.header.hash)
            for each in plan.accepted
        ]
        given = self.username is not None or self.api_key_file is not None
        problems = erase_everywhere(config, sinks, records, as_given=given) if records else []
        self._print(plan, directory, sinks, problems)
        if problems or (plan.refused and plan.accepted):
            return ExitCode.PARTLY
        return ExitCode.REFUSED if plan.refused else ExitCode.OK

    def _order(self) -> Order:
        assert self.reason is not None  # noqa: S101  (_check_combination)
        assert self.by is not None  # noqa: S101  (as above)
        return Order(self.reason, self.by, self.legal_basis or "", user())

    def _plan(self, config: Config, directories: Sequence[Path], directory: Path) -> _ErasurePlan:
        targets = list(self._targets(directory))
        self._found += len(targets)
        state_dir = config.state_directory()
        names = [sink.name for sink in config.sinks] or CursorStore(state_dir).sinks()
        found = refusals(
            targets,
            sinks=names,
            state_dir=state_dir,
            holds=HoldStore(state_dir, recorded_holds(directories)).load(),
            now=dt.datetime.now(dt.UTC),
        )
        torn = len(list((directory / STATE_DIRECTORY).glob("*.torn")))
        unreached = sorted(set(CursorStore(state_dir).sinks()) - {s.name for s in config.sinks})
        return _ErasurePlan(targets, dict(found), torn, unreached)

    def _targets(self, directory: Path) -> list[Target]:
        if self.finish:
            return [target for target, _ in unfinished(directory)]
        if self.log is not None and self.seq is not None:
            found = find_record(directory, LogId.parse(self.log), self.seq)
            return [] if found is None else [found]
        return self._matches(directory)

    def _matches(self, directory: Path) -> list[Target]:
        query: Query = parse(self.query or "")
        scope = SearchScope.asked_for(self.logs, self.since, self.until, dt.datetime.now(dt.UTC))
        if self.actor is not None:
            query = And((Test("actor.user_id", "=", self.actor, quoted=True), query))
        wanted: dict[str, dict[int, str]] = {}
        for record in FileSearch([directory], self._tell).records(query, scope):
            wanted.setdefault(record.log, {})[record.seq] = record.header.day
        found = []
        for log, segments in scan(directory).logs.items():
            seqs = wanted.get(str(log), {})
            days = set(seqs.values())
            of_days = [each for each in segments if each.name.day.isoformat() in days]
            found += [one for one in find_records(of_days, seqs) if not one.erased]
        if self._damaged:
            raise CommandFailed(
                f"not every record could be read: {self._damaged[0]}",
                hint="Nothing was erased. Run auditctl verify on the directory.",
            )
        return found

    def _tell(self, place: str, offset: int, reason: str) -> None:
        self._damaged.append(f"{place}: {reason} (byte {offset})")

    def _print(
        self,
        plan: _ErasurePlan,
        directory: Path,
        sinks: Sequence[SinkConfig],
        problems: Sequence[str],
    ) -> None:
        if self.as_json:
            found = {
                "schema": "auditctl.erase/1",
                "directory": str(directory),
                "confirmed": self.confirm,
                "sinks": [sink.name for sink in sinks],
                "records": plan.to_json(done=self.confirm),
                "problems": list(problems),
            }
            render.print_json(found, indent=True)
            return
        rows = [("ACTION", "LOG", "SEQ", "EVENT TYPE", "TIME", "SEGMENT", "WHY NOT")]
        for target in plan.targets:
            header = target.header
            refused = plan.refused.get(target.name, "")
            gone = self.confirm or target.erased
            verb = "refused" if refused else "erased" if gone else "erase"
            at = header.timestamp[:16].replace("T", " ")
            name = target.segment.path.name
            rows.append((verb, header.log, str(header.seq), header.event_type, at, name, refused))
        if not plan.targets:
            return
        for line in render.table(rows):
            render.print_text(line)
        where = ", ".join(f"{sink.name} ({sink.kind})" for sink in sinks) or "none"
        number = render.count(len(plan.accepted), "record")
        done = "erased" if self.confirm else "would be erased"
        render.print_text(f"{number} {done} in {directory}; sinks: {where}")
        for line in (*plan.warnings(), *problems):
            render.say(f"auditctl: {render.clean(line)}")
        if not self.confirm and plan.accepted:
            render.say("auditctl: nothing was erased; run it again with --confirm.")
        elif problems:
            render.say("auditctl: run auditctl erase --finish --confirm when that is mended.")


@dataclass(frozen=True)
class _ErasurePlan:
    targets: Sequence[Target]
    refused: dict[str, str]
    torn: int
    unreached: Sequence[str]

    @property
    def accepted(self) -> list[Target]:
        return [target for target in self.targets if target.name not in self.refused]

    def warnings(self) -> list[str]:
        told = []
        if unsalted := sum(not target.salted for target in self.accepted):
            told.append(
                f"{render.count(unsalted, 'record')} without a salt, of an earlier version: whoever"
                " can list what it may have said can find it from its hash."
            )
        if self.torn:
            told.append(
                f"{render.count(self.torn, 'torn tail')} of crashes in {STATE_DIRECTORY}/*.torn:"
                " look at them, and remove what has to go."
            )
        if self.unreached:
            told.append(
                f"shipped to before and not configured here: {', '.join(self.unreached)};"
                " delete the documents there by hand."
            )
        return told

    def to_json(self, *, done: bool) -> list[dict[str, Any]]:
        return [
            {
                "log": target.header.log,
                "seq": target.header.seq,
                "event_type": target.header.event_type,
                "timestamp": target.header.timestamp,
                "segment": target.segment.name.logical,
                "forms": list(target.segment.forms),
                "salted": target.salted,
                "refused": self.refused.get(target.name) or None,
                "done": done and target.name not in self.refused,
            }
            for target in self.targets
        ]
