"""``auditctl witness``: cosign other hosts' checkpoints; see auditlog.evidence.witness."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditctl.errors import BadPath, CommandFailed
from auditctl.options import PATH, TEXT
from auditctl.output import render
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.witness import Witness, WitnessedLogs, open_state
from auditlog.evidence.witness_server import WitnessServer
from auditlog.writer.opening import ReservedService, open_log

if TYPE_CHECKING:
    from types import FrameType


@click.group
def witness() -> None:
    """Cosign other hosts' checkpoints, so that their logs cannot be rewritten unseen."""


@witness.command
@click.option(
    "--listen",
    type=TEXT,
    default="127.0.0.1:7380",
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Address to listen on; put a TLS proxy in front of it.",
)
@click.option(
    "--state",
    "state_dir",
    type=PATH,
    required=True,
    metavar="DIR",
    help="Directory for its key and state; created when missing.",
)
@click.option(
    "--logs",
    "logs_path",
    type=PATH,
    required=True,
    metavar="FILE",
    help="List of the logs' vkeys, one per line; read again when it changes.",
)
@click.option("--name", type=TEXT, help="Name of a new key (default: witness/HOST).")
def serve(listen: str, *, state_dir: Path, logs_path: Path, name: str | None) -> None:
    """Cosign the checkpoints of the logs in FILE, provided each extends the previous one.

    Prints the witness line for a trust policy, then serves until it is stopped. Run it on a host
    that none of the witnessed hosts' administrators controls. Back up its key and state together,
    and never restore an older copy.

    \b
    Examples:
      auditctl witness serve --state /var/lib/auditlog-witness --logs /etc/auditlog/witnessed
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit():
        raise click.UsageError("--listen has to be like 127.0.0.1:7380.")
    try:
        logs = WitnessedLogs(logs_path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadPath("there is no such list of logs", path=logs_path) from None
    except BadEvidence as error:
        raise BadPath(error.reason, path=logs_path, hint=error.hint) from None
    own = os.uname().nodename
    signer, state = open_state(state_dir, name or f"witness/{own}")
    with ExitStack() as stack:
        stack.callback(state.close)
        record = stack.enter_context(
            open_log(state_dir / "audit", service=ReservedService("witness"), flush="batched")
        )
        try:
            server = WitnessServer(
                (host.strip("[]"), int(port)), Witness(signer, state, logs), logs_path, record
            )
        except OSError as error:
            raise CommandFailed(
                f"{listen} cannot be served", errno=error.errno, hint="Choose another --listen."
            ) from error
        address = f"{host}:{server.port}"
        render.print_line(f"witness {own} {signer.cosigner} http://{address}")
        render.say(f"Serving on http://{address}; Ctrl-C ends it.")
        stopping = threading.Event()

        def stop(number: int, frame: FrameType | None) -> None:
            del number, frame
            stopping.set()

        before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
        thread = threading.Thread(target=server.serve, name="witness", daemon=True)
        thread.start()
        stopping.wait()
        server.close()
        thread.join()
        for number, handler in before.items():
            signal.signal(number, handler)
