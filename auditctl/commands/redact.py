"""``auditctl redact``: try a redaction policy on a text or on NDJSON before it is in force."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import orjson

from auditctl.options import TEXT
from auditctl.output import render
from auditlog.errors import InvalidEvent, RecordTooLarge
from auditlog.redaction.policy import Policy
from auditlog.redaction.redactor import Redactor
from auditlog.redaction.rules import CLASSES, table

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLASS = click.Choice(sorted(CLASSES))


@click.command
@click.argument("file", metavar="FILE|-", type=click.File("rb"), required=False)
@click.option("--explain", is_flag=True, help="Name the rule behind every replacement.")
@click.option("--rules", is_flag=True, help="Print the table of rules instead.")
@click.option(
    "--secret-key",
    "secret",
    type=TEXT,
    multiple=True,
    metavar="KEY",
    help="A key that is a secret's, too. Repeatable.",
)
@click.option(
    "--harmless-key",
    "harmless",
    type=TEXT,
    multiple=True,
    metavar="KEY",
    help="A key that is not. Repeatable.",
)
@click.option("--on", type=_CLASS, multiple=True, help="Switch a class of rules on. Repeatable.")
@click.option("--off", type=_CLASS, multiple=True, help="Switch a class of rules off. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (auditctl.redact/1).")
def redact(
    file: BinaryIO | None,
    *,
    explain: bool,
    rules: bool,
    secret: tuple[str, ...],
    harmless: tuple[str, ...],
    on: tuple[str, ...],
    off: tuple[str, ...],
    as_json: bool,
) -> None:
    """Try the redaction of events on a text or NDJSON.

    Prints every line as it would be recorded; a line that is a JSON object or list is redacted by
    its keys, too. There is no key for fingerprints here: each secret becomes the name of its rule.

    \b
    Examples:
      auditctl redact app.log --explain
      tail -n 1000 app.ndjson | auditctl redact - --secret-key badge --off urls
      auditctl redact --rules
    """
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
        shown = _redacted(redactor, line, number)
        fired = sorted((Counter(redactor.counts) - before).items())
        found += [{"line": number, "rule": rule, "count": count} for rule, count in fired]
        if not as_json:
            render.print_line(shown)
            if explain and fired:
                sys.stdout.flush()
                render.say(f"line {number}: {', '.join(f'{rule} ({n})' for rule, n in fired)}")
    if as_json:
        counts = dict(sorted(redactor.counts.items()))
        render.print_json({"schema": "auditctl.redact/1", "redactions": counts, "lines": found})


def _redacted(redactor: Redactor, line: bytes, number: int) -> str:
    text = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        parsed = None
    try:
        if isinstance(parsed, (dict, list)):
            cleaned = redactor.clean(parsed, f"line {number}")
            return text if cleaned == parsed else orjson.dumps(cleaned).decode()
        return redactor.text(text, f"line {number}")
    except (InvalidEvent, RecordTooLarge) as error:
        render.say(f"auditctl: {error}")
        return f"[line {number} makes no record]"


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
