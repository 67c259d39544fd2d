"""Run the demo step by step: write, crash, ship, verify, tamper, retain, count, rewrite.

Nothing here is taken on trust: what was acknowledged comes from the services' own output, what is
on disk from reading the files, what is in the sink from querying it.
"""

from __future__ import annotations

import datetime as dt
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import auditlog
from auditctl.demo.archiving import BUCKET, RecordId, archive_table, prove_from_bucket
from auditctl.demo.object_store import ObjectStoreProcess
from auditctl.demo.rewrite import rewrite
from auditctl.demo.sink import INDEX_PREFIX, SinkView, view
from auditctl.demo.stage import AgentProcess, Auditctl, DemoFailed, Show, Writer

__all__ = ["Promise", "Story", "tell"]

EVENTS = 20_000
RATE = 2_500.0
SERVICES = ("queen-rbee@queen", "rbee-hive@gpu-1", "rbee-hive@gpu-2")
_UNSHIPPED_EVENTS = 5_000
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Promise:
    """One line of the table: a count, and whether it equals the promised one."""

    name: str
    value: str
    kept: bool


@dataclass(slots=True)
class Story:
    """The demo's directory and the results so far."""

    directory: Path
    target: str
    run: str
    show: Show
    store: ObjectStoreProcess | None = None
    promises: list[Promise] = field(default_factory=list)

    @property
    def audit(self) -> Path:
        return self.directory / "audit"

    @property
    def logs(self) -> tuple[str, ...]:
        """A new name in each run, so that an index may hold several demos."""
        return tuple(f"{service}-{self.run}" for service in SERVICES)

    @property
    def program(self) -> Auditctl:
        return Auditctl(f"--config={self.directory / 'config.toml'}")

    def configure(self) -> None:
        """Write the configuration that every command of the demo uses."""
        kind, place = "sqlite", f'path = "{self.target}"'
        if self.target.startswith("http"):
            place = f'urls = ["{self.target}"]\nindex_prefix = "{INDEX_PREFIX}"'
            kind = "elasticsearch"
        (self.directory / "config.toml").write_text(
            f'''host = "demo-{self.run}"
directories = ["{self.audit}"]
state_dir = "{self.directory / "state"}"
metrics = ""

[sinks.main]
kind = "{kind}"
{place}
{"" if self.store is None else archive_table(self.directory, self.store.url, "writer")}''',
            "utf-8",
        )

    def promise(self, name: str, value: str, kept: bool) -> None:
        self.promises.append(Promise(name, value, kept))


def tell(
    directory: Path, target: str, run: str, show: Show, *, archive: bool = False
) -> list[Promise]:
    """Run the whole demo.  Raises DemoFailed when a part does not even run.

    ``target`` is a URL or the path of a SQLite file; ``run`` a word that names this run's logs.
    With ``archive`` it ends by proving all of it from a bucket alone.
    """
    with ExitStack() as stack:
        story = Story(directory, target, run, show)
        if archive:
            show.step("Start an S3 server with Object Lock, and make a bucket")
            story.store = stack.enter_context(ObjectStoreProcess(directory / "store"))
            story.store.make_bucket(BUCKET)
        _tell(story)
    return story.promises


def _tell(story: Story) -> None:
    directory, target, show = story.directory, story.target, story.show
    story.audit.mkdir(mode=0o700)
    story.configure()
    sink = view(target)
    sink.count()  # an unreachable server ends the demo before it begins
    writers = [Writer(story.audit, log, EVENTS, RATE) for log in story.logs]
    agent = AgentProcess(story.program.command("agent", "--only", "ship"), directory / "agent.log")
    with ExitStack() as stack:  # whatever happens, no process stays behind
        stack.callback(agent.close)
        for writer in writers:
            stack.callback(writer.close)
        _write_and_ship(story, sink, writers, agent)
        acknowledged = {record for writer in writers for record in writer.records()}
        on_disk = _on_disk(story.audit)
        _verify_and_tamper(story)
        show.step("Stop the agent, and write on without it")
        seconds = agent.stop()
        story.promise("agent stopped on SIGTERM", f"{seconds:.1f} s (limit 5 s)", seconds < 5)
    acknowledged |= _write_unshipped(story)
    on_disk |= _on_disk(story.audit)
    if story.store is not None:
        story.program.json("archive", "upload")
    deleted = _retain(story)
    show.step("Ship the rest, and count everything")
    story.program.json("ship", "--once")
    on_disk |= _on_disk(story.audit)
    _count(story, sink, acknowledged, on_disk, deleted)
    _write_anew(story)
    if story.store is not None:
        _archive(story, story.store.url, on_disk)


def _archive(story: Story, url: str, on_disk: set[RecordId]) -> None:
    story.show.step("Archive the rest, delete everything on this host, and ask the bucket alone")
    story.program.json("archive", "upload")
    found = prove_from_bucket(
        story.directory, f"demo-{story.run}", url, on_disk | _on_disk(story.audit), story.show
    )
    whole = found.verified and not found.missing
    promise = story.promise
    promise("bucket refused to delete", _yes(found.refused), found.refused)
    promise("proven from the bucket", f"{found.records:,} ({found.missing:,} missing)", whole)


def _write_and_ship(
    story: Story, sink: SinkView, writers: list[Writer], agent: AgentProcess
) -> None:
    show = story.show
    show.step(
        f"Three services write {EVENTS:,} events each into one directory; the agent ships them live"
    )
    for writer in writers:
        writer.start()
    agent.start()
    while any(writer.running() for writer in writers):
        done = sum(len(writer.acknowledged) for writer in writers)
        show.progress(acknowledged=done, shipped=sink.count())
        if not writers[1].kills and len(writers[1].acknowledged) > EVENTS * 0.4:
            writers[1].kill_and_restart()
            show.note(f"SIGKILL to {writers[1].log} in the middle of its work; restarted")
        if not agent.kills and done > EVENTS * len(SERVICES) * 0.55:
            agent.kill_and_restart()
            show.note("SIGKILL to the agent; restarted")
        time.sleep(0.1)
    for writer in writers:
        writer.join()
        if failure := writer.failure():
            raise DemoFailed(failure)
    kills = sum(writer.kills for writer in writers), agent.kills
    story.promise("killed and restarted", f"{kills[0]} service, {kills[1]} agent", kills == (1, 1))
    _drain(story, sink, agent, sum(len(writer.acknowledged) for writer in writers))


def _drain(story: Story, sink: SinkView, agent: AgentProcess, acknowledged: int) -> None:
    wanted = len(_on_disk(story.audit))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (shipped := sink.count()) < wanted and time.monotonic() < deadline:
        story.show.progress(acknowledged=acknowledged, shipped=shipped)
        if not agent.running():
            raise DemoFailed(f"the agent ended; see {story.directory / 'agent.log'}")
        time.sleep(0.1)
    story.show.progress(acknowledged=acknowledged, shipped=shipped)


def _on_disk(audit: Path) -> set[RecordId]:
    return {
        (record.log, record.seq, record.hash) for record in auditlog.read(audit, log_events=True)
    }


def _verify_and_tamper(story: Story) -> None:
    show = story.show
    show.step("Verify, then change one byte of a copy and verify again")
    _, report = story.program.json("verify", str(story.audit), codes=(0, 1))
    show.note(f"{sum(log['records'] for log in report['logs']):,} records verify")
    story.promise("verified while complete", _yes(report["ok"]), report["ok"])
    copy = story.directory / "tampered"
    copy.mkdir(mode=0o700)
    segment = sorted(story.audit.glob(f"{story.logs[0]}.*.ndjson"))[1]
    content = bytearray(segment.read_bytes())
    line_start = content.index(b"\n", len(content) // 2) + 1
    place = content.index(b'"user_id":"', line_start) + len(b'"user_id":"')
    content[place] ^= 0x01
    tampered = copy / segment.name
    tampered.write_bytes(content)
    code, report = story.program.json("verify", str(tampered), codes=(0, 1))
    findings = report["logs"][0]["findings"]
    line = content.count(b"\n", 0, place) + 1
    named = len(findings) == 1 and (findings[0]["segment"], findings[0]["line"]) == (
        segment.name,
        line,
    )
    for finding in findings[:3]:
        show.note(
            f"{finding['kind']}: {finding['segment']} line {finding['line']}"
            f" seq {finding['seq']}: {finding['detail']}"
        )
    story.promise("one changed byte found", _yes(code == 1 and named), code == 1 and named)


def _write_unshipped(story: Story) -> set[RecordId]:
    log = story.logs[2]
    writer = Writer(story.audit, log, _UNSHIPPED_EVENTS, 1e9, kills=7)
    writer.run_to_end()
    story.show.note(f"{_UNSHIPPED_EVENTS:,} more events of {log} are not shipped yet")
    return set(writer.records())


def _retain(story: Story) -> int:
    """Retention now, in 31 and in 91 days; returns how many segments were deleted."""
    now = dt.datetime.now(dt.UTC)
    plain = compressed = deleted = 0
    unshipped_kept = True
    refused = False
    for days in (0, 31, 91):
        at = (now + dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        story.show.step(f"Retention {f'in {days} days' if days else 'today'} ({at}): the plan")
        arguments = ("prune", "--at", at)
        _, plan = story.program.json(*arguments, "--dry-run", codes=(0, 4))
        for line in _summary(plan):
            story.show.note(line)
        sizes = {path.name: path.stat().st_size for path in story.audit.glob("*.ndjson")}
        code, done = story.program.json(*arguments, codes=(0, 4))
        if code == 4:
            refused = True
            story.show.note("stopped by the circuit breaker: too much at once; now with --confirm")
            _, done = story.program.json(*arguments, "--confirm")
        deleted += sum(a["action"] == "delete" and a["done"] for a in done["actions"])
        for action in done["actions"]:
            if action["action"] == "compress" and action["done"]:
                path = story.audit / (_logical(action["segment"]) + ".zst")
                plain += sizes[_logical(action["segment"])]
                compressed += path.stat().st_size
        if days:
            waiting = [a for a in done["actions"] if a["reason"] == "not_shipped"]
            unshipped_kept &= bool(waiting) and all(
                (story.audit / _logical(a["segment"])).exists() for a in waiting
            )
    ratio = compressed / plain if plain else 0.0
    story.promise("compressed to", f"{ratio:.1%} of {plain / 1e6:.1f} MB", 0 < ratio < 0.85)
    story.promise("unshipped segments kept", _yes(unshipped_kept), unshipped_kept)
    story.promise("breaker asked before deleting", _yes(refused), refused)
    return deleted


def _summary(plan: dict[str, Any]) -> list[str]:
    groups: dict[tuple[str, str], int] = {}
    for action in plan["actions"]:
        key = action["action"], action["reason"]
        groups[key] = groups.get(key, 0) + 1
    return [
        f"{action:8} {count:3} segment{'s' if count > 1 else ' '} {reason}"
        for (action, reason), count in sorted(groups.items())
    ]


def _logical(segment: str) -> str:
    return segment.removesuffix(".zst").removesuffix(".gz")


def _count(
    story: Story,
    sink: SinkView,
    acknowledged: set[RecordId],
    on_disk: set[RecordId],
    deleted: int,
) -> None:
    _, report = story.program.json("verify", str(story.audit), codes=(0, 1))
    gone = sum(log["deleted_records"] for log in report["logs"])
    in_sink = sink.documents()
    logs = {log for log, _, _ in on_disk}
    here = {record: count for record, count in in_sink.items() if record[0] in logs}
    lost = len(acknowledged - on_disk)
    missing = len(on_disk - here.keys())
    duplicates = sum(here.values()) - len({(log, seq) for log, seq, _ in here})
    wanted = EVENTS * len(SERVICES) + _UNSHIPPED_EVENTS
    promise = story.promise
    promise("acknowledged events", f"{len(acknowledged):,}", len(acknowledged) >= wanted)
    promise("records on disk", f"{len(on_disk):,}", len(on_disk) >= len(acknowledged))
    promise("lost", f"{lost:,}", lost == 0)
    promise("in the sink", f"{len(here):,} ({missing:,} missing)", missing == 0)
    promise("duplicates", f"{duplicates:,}", duplicates == 0)
    promise("deleted", f"{deleted} segments, {gone:,} records", deleted > 0 and gone > 0)
    promise("verified across deletions", _yes(report["ok"]), report["ok"])


def _write_anew(story: Story) -> None:
    found = rewrite(story.directory, story.run, story.show)
    whole = found.verified_before and found.chain_verified_after
    story.promise("rewritten log has a whole chain", _yes(whole), whole)
    story.promise("signing of it refused", _yes(found.signing_refused), found.signing_refused)
    told = found.seq == found.kept + 1
    story.promise(
        "found by what the witness remembers",
        f"from record {found.seq:,} on; it remembers {found.witnessed:,}" if told else "no",
        told,
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
