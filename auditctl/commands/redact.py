"""``auditctl redact``: test a redaction policy on text or NDJSON before using it."""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click
import orjson

from auditctl.commands.prune import user
from auditctl.errors import CommandFailed
from auditctl.options import DIRECTORY, TEXT, chosen, config_option
from auditctl.output import render
from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.reading.inventory import STATE_DIRECTORY
from auditlog.redaction.installation_key import InstallationKey
from auditlog.redaction.number_spelling import with_numbers_of
from auditlog.redaction.policy import Policy
from auditlog.redaction.redactor import Redactor
from auditlog.redaction.rules import CLASSES, table
from retention.tombstone_log import KEY_ROTATED, TombstoneLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditctl.config.model import Config

_PATIENCE: Final = dt.timedelta(seconds=10)
_RULE: Final = re.compile(r"\[redacted:([a-z0-9_]+)\]")
_CLASS = click.Choice(sorted(CLASSES))


@click.command
@click.argument("file", metavar="FILE|-", type=click.File("rb"), required=False)
@click.option("--explain", is_flag=True, help="Name the rule and the place of every replacement.")
@click.option(
    "--rotate-key",
    "rotate",
    is_flag=True,
    help="Replace the fingerprint key, and record the rotation; needs --reason.",
)
@click.option("--reason", type=TEXT, help="Reason for the rotation.")
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    type=DIRECTORY,
    help="Directory whose key to rotate, instead of the configured directories.",
)
@config_option
@click.option("--rules", is_flag=True, help="Print the table of rules instead.")
@click.option(
    "--secret-key",
    "secret",
    type=TEXT,
    multiple=True,
    metavar="KEY",
    help="Additional key whose value is a secret. Repeatable.",
)
@click.option(
    "--harmless-key",
    "harmless",
    type=TEXT,
    multiple=True,
    metavar="KEY",
    help="Key whose value is not a secret. Repeatable.",
)
@click.option("--on", type=_CLASS, multiple=True, help="Switch a class of rules on. Repeatable.")
@click.option("--off", type=_CLASS, multiple=True, help="Switch a class of rules off. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (auditctl.redact/1).")
def redact(
    file: BinaryIO | None,
    *,
    explain: bool,
    rotate: bool,
    reason: str | None,
    directory: Path | None,
    config_path: Path | None,
    rules: bool,
    secret: tuple[str, ...],
    harmless: tuple[str, ...],
    on: tuple[str, ...],
    off: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show how text or NDJSON would be redacted.

    Prints every line as it would be recorded; a line that is a JSON object or list is also redacted
    by its keys. No fingerprint key is used here: each secret is replaced by the name of its rule.

    With --rotate-key, logs that are opened from now on make fingerprints with a new key. The
    rotation is recorded in the chain of retention's log; the previous key is kept, to compare old
    fingerprints.

    \b
    Examples:
      auditctl redact app.log --explain
      tail -n 1000 app.ndjson | auditctl redact - --secret-key badge --off urls
      auditctl redact --rules
      auditctl redact --rotate-key --reason "the key was copied to a laptop"
    """
    if rotate:
        if reason is None:
            raise click.UsageError("--rotate-key needs --reason: it is recorded.")
        _rotate(*chosen(directory, config_path), reason, as_json=as_json)
        return
    if rules:
        _print_rules(as_json=as_json)
        return
    if file is None:
        raise click.UsageError("Give a FILE, or - for the standard input.")
    policy = Policy.default().with_keys(secret=secret, harmless=harmless)
    redactor = Redactor(policy.on(*on).off(*off))
    found: list[dict[str, Any]] = []
    for number, line in enumerate(file, 1):
        before = Counter(redactor.counts)
        shown, places = _redacted(redactor, line, number)
        fired = sorted((Counter(redactor.counts) - before).items())
        found += [
            {"line": number, "rule": rule, "count": count, "at": places.get(rule, [])}
            for rule, count in fired
        ]
        if not as_json:
            render.print_line(shown)
            if explain and fired:
                sys.stdout.flush()
                told = (f"{rule} ({n}){_at(places.get(rule, []))}" for rule, n in fired)
                render.say(f"line {number}: {', '.join(told)}")
    if as_json:
        counts = dict(sorted(redactor.counts.items()))
        render.print_json({"schema": "auditctl.redact/1", "redactions": counts, "lines": found})


_Places = dict[str, list[str]]
"""By rule: columns of a text, from 1, or members of a JSON value."""


def _at(places: Sequence[str]) -> str:
    return f" at {' and '.join(places)}" if places else ""


def _redacted(redactor: Redactor, line: bytes, number: int) -> tuple[str, _Places]:
    text = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        parsed = None
    try:
        if isinstance(parsed, (dict, list)):
            cleaned = redactor.clean(parsed, f"line {number}")
            if cleaned == parsed:
                return text, {}
            written = with_numbers_of(text, cleaned).decode()
            return written, _members(redactor.policy, parsed, cleaned)
        return redactor.text(text, f"line {number}"), _columns(redactor.policy, text)
    except (InvalidEvent, RecordTooLarge) as error:
        render.say(f"auditctl: {error}")
        return f"[line {number} makes no record]", {}


def _columns(policy: Policy, text: str) -> _Places:
    """Where in a text each rule fired."""
    places: _Places = {}
    for start, end, rule, _ in Redactor(policy).explain(text):
        places.setdefault(rule, []).append(f"columns {start + 1}-{end}")
    return places


def _members(policy: Policy, given: Any, cleaned: Any) -> _Places:
    """Which members of a JSON value each rule changed.

    There is no key here, so each replacement names its rule; a text member has columns, too.
    """
    places: _Places = {}
    for path, before, after in _changes("", given, cleaned):
        columns = _columns(policy, before) if isinstance(before, str) else {}
        if isinstance(after, str):
            for rule in dict.fromkeys(_RULE.findall(after)):
                found = columns.get(rule) or [""]
                places.setdefault(rule, []).extend(f"{path} {each}".strip() for each in found)
    return places


def _changes(path: str, given: Any, cleaned: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every member that differs: its path, before and after."""
    if isinstance(given, dict) and isinstance(cleaned, dict) and len(given) == len(cleaned):
        for (key, before), after in zip(given.items(), cleaned.values(), strict=True):
            yield from _changes(f"{path}.{key}" if path else key, before, after)
    elif isinstance(given, list) and isinstance(cleaned, list) and len(given) == len(cleaned):
        for index, (before, after) in enumerate(zip(given, cleaned, strict=True)):
            yield from _changes(f"{path}[{index}]", before, after)
    elif given != cleaned:
        yield path, given, cleaned


def _rotate(config: Config, directories: Sequence[Path], reason: str, *, as_json: bool) -> None:
    """Rotate the key of each directory.  Raises CommandFailed where one has none, OSError."""
    rotated = []
    for directory in directories:
        key = InstallationKey(directory / STATE_DIRECTORY)
        try:
            ids = key.prepare_rotation()
        except ValueError:
            raise CommandFailed(
                "the key cannot be used", hint=f"Remove {key.path}; the next log makes one."
            ) from None
        if ids is None:
            raise CommandFailed(
                f"there is no key in {key.path.parent}",
                hint="It is made with the first fingerprint; there is nothing to rotate.",
            )
        before, after = ids
        instance = config.retention_instance(directory)
        details = {"previous_key": before, "redaction_key": after, "reason": reason}
        with TombstoneLog(directory, config.host, instance, patience=_PATIENCE) as tombstones:
            tombstones.write(KEY_ROTATED, ("key", after), details, actor=user())
        key.rotate()
        rotated.append({"directory": str(directory), **details})
    if as_json:
        render.print_json({"schema": "auditctl.redact_key/1", "rotated": rotated}, indent=True)
        return
    for one in rotated:
        render.print_text(
            f"{one['directory']}: logs that are opened from now on use key {one['redaction_key']};"
            f" key {one['previous_key']} is kept beside it"
        )


def _print_rules(*, as_json: bool) -> None:
    if as_json:
        rows = [rule._asdict() for rule in table()]
        render.print_json({"schema": "auditctl.redact_rules/1", "rules": rows, "classes": CLASSES})
        return
    for line in _table():
        render.print_text(line)


def _table() -> Iterator[str]:
    rows = table()
    wide = max(len(rule.name) for rule in rows)
    for rule in rows:
        yield f"{rule.name:{wide}}  {rule.finds}"
