"""Generate the manual from the commands' own help: man pages, and docs/cli.md.

Invariants (tests of the same name in tests/auditctl/test_manual.py):
  complete   every command and every option is in it
  literal    no text of a help is taken for a roff request or for Markdown
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from auditctl.cli import root

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Page", "markdown", "pages", "roff"]

_EXAMPLES: Final = "Examples:"


@dataclass(frozen=True, slots=True)
class Page:
    """One command: ``name`` as it is typed, ``options`` as (what is typed, what it does)."""

    name: str
    summary: str
    synopsis: str
    paragraphs: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    examples: tuple[str, ...]


def pages() -> list[Page]:
    """Of auditctl itself and of every command, groups before what is in them."""
    return [*_pages("auditctl", root)]


def _pages(name: str, command: click.Command, above: click.Context | None = None) -> Iterator[Page]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=above)
    blocks = [block for block in inspect.cleandoc(command.help or "").split("\n\n") if block]
    examples = [block for block in blocks if _EXAMPLES in block.splitlines()[:2]]
    blocks = [block for block in blocks if block not in examples]
    records = (param.get_help_record(context) for param in command.get_params(context))
    yield Page(
        name=name,
        summary=_joined(blocks[0]).rstrip("."),
        synopsis=" ".join(command.collect_usage_pieces(context)),
        paragraphs=tuple(map(_joined, blocks[1:])),
        options=tuple(record for record in records if record is not None),
        examples=tuple(
            line.strip()
            for block in examples
            for line in block.splitlines()
            if line.strip() not in ("\b", _EXAMPLES)
        ),
    )
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            if inner is not None and not inner.hidden:
                yield from _pages(f"{name} {each}", inner, context)


def _joined(block: str) -> str:
    return " ".join(block.replace("\b", "").split())


def roff(page: Page, others: list[Page]) -> str:
    """A man page (man(7)) of section 1."""
    title = page.name.replace(" ", "-")
    lines = [
        f'.TH "{title.upper()}" "1" "" "auditlog" "User Commands"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(page.summary)}",
        ".SH SYNOPSIS",
        f".B {_roff(page.name)}",
        _roff(page.synopsis),
    ]
    if page.paragraphs:
        lines.append(".SH DESCRIPTION")
        for paragraph in page.paragraphs:
            lines += [".PP", _roff(paragraph)]
    lines.append(".SH OPTIONS")
    for typed, meaning in page.options:
        lines += [".TP", f"\\fB{_roff(typed)}\\fR", _roff(meaning)]
    if page.examples:
        lines += [".SH EXAMPLES", ".nf", *map(_roff, page.examples), ".fi"]
    lines += [".SH EXIT STATUS", _roff(_exit_codes())]
    related = [other for other in others if other is not page and _related(page.name, other.name)]
    if related:
        names = (f"\\fB{_roff(other.name.replace(' ', '-'))}\\fR(1)" for other in related)
        lines += [".SH SEE ALSO", ", ".join(names)]
    return "\n".join(lines) + "\n"


def _related(name: str, other: str) -> bool:
    return other.startswith(f"{name} ") or name.startswith(f"{other} ")


def _exit_codes() -> str:
    return (root.epilog or "").removeprefix("Exit codes: ")


def _roff(text: str) -> str:
    """As text: a backslash, a minus and a dot or quote at a line's start mean something to roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{text}" if text.startswith((".", "\\(aq")) else text


def markdown(all_pages: list[Page]) -> str:
    """Return all commands as the body of docs/cli.md."""
    lines: list[str] = []
    for page in all_pages:
        lines += [f"## {page.name}", "", f"{_escaped(page.summary)}.", ""]
        lines += ["```text", f"{page.name} {page.synopsis}", "```", ""]
        for paragraph in page.paragraphs:
            lines += [_escaped(paragraph), ""]
        lines += ["| option | |", "|---|---|"]
        lines += [f"| {_code(typed)} | {_escaped(meaning)} |" for typed, meaning in page.options]
        lines.append("")
        if page.examples:
            lines += ["```text", *page.examples, "```", ""]
    return "\n".join(lines)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", text)
