"""``auditctl demo``: run the whole pipeline, crashes included, in a minute; see auditctl.demo."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from auditctl.exit_codes import ExitCode
from auditctl.options import DIRECTORY, TEXT, json_option
from auditctl.output import render

_NEEDED_BYTES = 300 << 20


@click.command
@click.option(
    "--sink",
    type=TEXT,
    metavar="URL",
    help="Ship into this Elasticsearch instead of a SQLite file.",
)
@click.option(
    "--keep",
    metavar="DIR",
    type=DIRECTORY,
    help="Work in this new or empty directory and leave the files there.",
)
@click.option(
    "--archive",
    is_flag=True,
    help="Archive into a bucket of a local SeaweedFS, and prove the records from it alone.",
)
@json_option("one object with every promise and whether it was kept")
def demo(sink: str | None, keep: Path | None, *, archive: bool, as_json: bool) -> int:
    """See the whole pipeline run, with crashes, in a minute.

    Three services write, one of them and the shipper are killed, a copy is tampered with, and
    retention runs over 91 days. Finally a log is rewritten with every key of its host, and a
    checkpoint that a witness cosigned exposes it. Exits with 0 only when every promise held.

    \b
    Examples:
      auditctl demo
      auditctl demo --keep /tmp/audit-demo
      auditctl demo --sink http://127.0.0.1:9200
      auditctl demo --archive
    """
    if sink is not None and not sink.startswith(("http://", "https://")):
        raise click.BadParameter(f"{sink!r} is not a URL", param_hint="--sink")
    from auditctl.demo.screen import screen  # noqa: PLC0415  (as above; it imports rich)
    from auditctl.demo.script import tell  # noqa: PLC0415  (--help needs none of it)

    with ExitStack() as stack:
        directory = _workplace(keep, stack)
        show = stack.enter_context(screen(sys.stderr))
        promises = tell(
            directory,
            sink or str(directory / "sink.sqlite"),
            secrets.token_hex(3),
            show,
            archive=archive,
        )
    kept = all(promise.kept for promise in promises)
    if as_json:
        render.print_json(
            {
                "schema": "auditctl.demo/1",
                "ok": kept,
                "promises": [
                    {"name": promise.name, "value": promise.value, "kept": promise.kept}
                    for promise in promises
                ],
            }
        )
    else:
        rows = [
            (promise.name, promise.value, "ok" if promise.kept else "BROKEN")
            for promise in promises
        ]
        for line, promise in zip(render.table(rows), promises, strict=True):
            render.print_line(line if promise.kept else render.paint(line, "red"))
        render.print_line("every promise held" if kept else "a promise was broken")
    if keep is not None:
        render.say(f"The files are in {keep}; config.toml there works with --config.")
    return ExitCode.OK if kept else ExitCode.FAILED


def _workplace(keep: Path | None, stack: ExitStack) -> Path:
    """The directory to work in.  Raises click.BadParameter for one that has something in it."""
    if keep is None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="auditlog-demo-")))
    else:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise click.BadParameter(f"{keep} is not empty", param_hint="--keep")
        directory = keep.absolute()
    if (free := shutil.disk_usage(directory).free) < _NEEDED_BYTES:
        raise click.ClickException(
            f"{directory}: {free >> 20} MiB are free, the demo needs {_NEEDED_BYTES >> 20} MiB"
        )
    return directory
