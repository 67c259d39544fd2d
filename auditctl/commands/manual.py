"""``auditctl manual``: print or write the man pages; see auditctl.manual."""

from __future__ import annotations

from pathlib import Path

import click

from auditctl import manual as made
from auditctl.options import DIRECTORY, TEXT
from auditctl.output import render


@click.command
@click.argument("command", type=TEXT, nargs=-1)
@click.option(
    "--to",
    "directory",
    metavar="DIR",
    type=DIRECTORY,
    help="Write all pages to this directory instead.",
)
def manual(command: tuple[str, ...], directory: Path | None) -> None:
    """Print a command's man page, or write all of them.

    \b
    Examples:
      auditctl manual search | man -l -
      auditctl manual --to /usr/local/share/man/man1
    """
    pages = made.pages()
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        for page in pages:
            text = made.roff(page, pages)
            (directory / f"{page.name.replace(' ', '-')}.1").write_text(text, "utf-8")
        return
    name = " ".join(("auditctl", *command))
    for page in pages:
        if page.name == name:
            render.print_line(made.roff(page, pages).rstrip("\n"))
            return
    raise click.UsageError(f"there is no command {name!r}")
