"""``auditctl evidence``: sign checkpoints and show who cosigned; see auditlog.evidence."""

from __future__ import annotations

import datetime as dt
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditctl.commands.prune import user
from auditctl.composition.evidence import (
    key_path,
    load_key,
    load_policy,
    load_previous_key,
    make_evidence,
    previous_key_path,
)
from auditctl.errors import BadPath, ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.options import (
    DURATION,
    TEXT,
    chosen,
    complete_logs,
    config_option,
    directory_option,
    json_option,
)
from auditctl.output import render
from auditlog import durable_fs
from auditlog.durable_fs import Locked
from auditlog.evidence.checkpoint import origin_of
from auditlog.evidence.checkpoint_file import read_checkpoints
from auditlog.evidence.collection import place_of_record
from auditlog.evidence.errors import SignerBusy
from auditlog.evidence.note import Signer, encode_base64
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.service import EVIDENCE_SERVICE, witnessed
from auditlog.evidence.stamping import newest_stamp
from auditlog.format.record import format_timestamp
from auditlog.reading.inventory import scan
from auditlog.writer.opening import ReservedService, open_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditctl.config.model import Config
    from auditlog.evidence.policy import TrustPolicy


@click.group
def evidence() -> None:
    """Sign checkpoints of logs, and have witnesses cosign them.

    The agent signs a checkpoint of each log about once a minute: its number of records, and a hash
    over all of them. Witnesses of the trust policy cosign it. From then on `auditctl verify
    --policy` reports every signed record that is changed, cut off or rewritten.
    """


@evidence.command
@config_option
@directory_option
@click.option(
    "--origin",
    type=TEXT,
    metavar="PREFIX",
    help="Prefix of every log's name, like audit.example.com/hive1 "
    "(default: [evidence] origin, or else the host).",
)
@click.option(
    "--for-witness",
    is_flag=True,
    help="Print one line for all logs of this host, present and future; only witnesses accept it.",
)
def init(
    config_path: Path | None, *, directory: Path | None, origin: str | None, for_witness: bool
) -> None:
    """Create the signing key, and print the public key of each log.

    Each line printed is a log line of a trust policy, for the auditor and for the administrators of
    the witnesses. The private key stays on this host, readable only by its owner; anybody with a
    copy of it can sign. An existing key is kept, and its lines are printed again.

    \b
    Examples:
      auditctl evidence init --origin audit.example.com/hive1
      auditctl evidence init >> trust.policy
    """
    config, directories = chosen(directory, config_path)
    key = load_key(config)
    path = key_path(config)
    configured = config.evidence.origin
    if origin is not None and configured and origin != configured:
        raise ConfigError(
            f"the configuration has the origin {configured}",
            path=path,
            hint="Give no --origin, or change [evidence] origin.",
        )
    if key is None:
        key = Signer(origin or configured or config.host, secrets.token_bytes(32))
        durable_fs.make_directory(path.parent)
        fd = durable_fs.create_exclusive(path)
        try:
            durable_fs.write_all(fd, key.secret_text().encode())
            durable_fs.fsync(fd)
        finally:
            os.close(fd)
        durable_fs.fsync_directory(path.parent)
        render.say(f"Made the key {path}. A running agent signs with it after its next restart.")
    elif origin is not None and origin != key.name:
        raise ConfigError(
            f"there is a key for {key.name} already",
            path=path,
            hint="Every checkpoint so far is of that origin: move the key away to begin anew.",
        )
    render.say(f"SHA-256 of the public key: {key.key.fingerprint()}")
    keys = [each for each in (key, load_previous_key(config)) if each is not None]
    if for_witness:
        for each in keys:
            render.print_line(f"log {each.renamed(f'{each.name}/*').key}")
        return
    _print_log_lines(config, directories, keys)


def _print_log_lines(config: Config, directories: Sequence[Path], keys: Sequence[Signer]) -> None:
    state = ProofState(config.state_directory())
    for log in _known_logs(config, directories):
        for key in keys:
            name = origin_of(key.name, log, state.epoch(log))
            render.print_line(f"log {key.renamed(name).key}")


@evidence.command
@config_option
@directory_option
@click.option("--finish", is_flag=True, help="End a rotation: the previous key signs no more.")
@click.option("--reason", type=TEXT, required=True, help="Reason, such as the yearly rotation.")
def rotate(config_path: Path | None, *, directory: Path | None, finish: bool, reason: str) -> None:
    """Sign with a new key, on record, and with the previous one until --finish.

    Prints the lines of both keys for the trust policies and the witnesses, which take them beside
    the old ones. When everybody has them, end the rotation with --finish; it prints the lines that
    revoke the previous key for the time to come. The agent must not run meanwhile.

    \b
    Examples:
      auditctl evidence rotate --reason "every year"
      auditctl evidence rotate --finish --reason "all auditors have the new key"
    """
    config, directories = chosen(directory, config_path)
    key, previous = load_key(config), load_previous_key(config)
    if key is None:
        raise _no_key(config)
    path, previous_path = key_path(config), previous_key_path(config)
    if finish == (previous is None):
        found = "no rotation to finish" if finish else "a rotation that is not finished"
        hint = "auditctl evidence rotate --reason … begins one." if finish else "Give --finish."
        raise ConfigError(f"there is {found}", path=previous_path, hint=hint)
    new = key if finish else Signer(key.name, secrets.token_bytes(32))
    old = previous if previous is not None else key
    try:
        with ProofState(config.state_directory()).locked():
            _record_rotation(config, directories, old, new, reason, finished=finish)
            if finish:
                durable_fs.unlink(previous_path)
                durable_fs.fsync_directory(path.parent)
            else:
                _replace_key(path, previous_path, old, new)
    except Locked as error:
        raise _busy(error) from None
    render.say(f"SHA-256 of the public key: {new.key.fingerprint()}")
    _print_log_lines(config, directories, [new, old])
    if finish:
        # Cosignatures have whole seconds: those of the second that is running count as well.
        until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
        render.print_line(f"revoked {old.key} {until:%Y-%m-%dT%H:%M:%SZ}")


def _replace_key(path: Path, previous_path: Path, old: Signer, new: Signer) -> None:
    """Never without a key, nor with one that others may read, wherever it is cut off."""
    next_path = path.with_name(f"{path.name}.next")
    if next_path.exists():
        durable_fs.unlink(next_path)
    durable_fs.create_durably(next_path, new.secret_text().encode())
    durable_fs.create_durably(previous_path, old.secret_text().encode())
    durable_fs.fsync_directory(path.parent)
    durable_fs.rename(next_path, path)
    durable_fs.fsync_directory(path.parent)


def _record_rotation(
    config: Config,
    directories: Sequence[Path],
    old: Signer,
    new: Signer,
    reason: str,
    *,
    finished: bool,
) -> None:
    place = place_of_record(directories, config.host)
    with open_log(place, service=ReservedService(EVIDENCE_SERVICE), host=config.host) as record:
        record.emit(
            "evidence.key_retired" if finished else "evidence.key_rotated",
            actor={"user_id": user(), "auth_method": "internal"},
            resource={"resource_type": "key", "resource_id": old.key.fingerprint()},
            reason=reason,
            details={"old": str(old.key), "new": str(new.key)},
        )


def _known_logs(config: Config, directories: Sequence[Path]) -> list[str]:
    """The logs there are, and the one that checkpoints are recorded in."""
    present = {str(log) for directory in directories for log in scan(directory).logs}
    return sorted({*present, f"{EVIDENCE_SERVICE}@{config.host}"})


@evidence.command
@config_option
@directory_option
@click.option(
    "--wait",
    type=DURATION,
    default="10s",
    show_default=True,
    help="Maximum time to wait for the witnesses.",
)
@json_option("auditctl.evidence/1")
def sign(
    config_path: Path | None, *, directory: Path | None, wait: dt.timedelta, as_json: bool
) -> int:
    """Sign the present state of all logs once, for hosts without an agent.

    Exits with 1 when a log cannot be signed, or no quorum of the witnesses answered in time.
    """
    config, _ = chosen(directory, config_path)
    service = make_evidence(config)
    if service is None:
        raise _no_key(config)
    try:
        service.run_once(wait)
    except Locked as error:
        raise _busy(error) from None
    return _print_status(config, as_json=as_json)


@evidence.command
@config_option
@directory_option
@json_option("auditctl.evidence/1")
def status(config_path: Path | None, *, directory: Path | None, as_json: bool) -> int:
    """Show how far each log is signed and witnessed, when, and by whom.

    Exits with 1 when a log is no longer signed, or none of its checkpoints has a quorum.
    """
    config, _ = chosen(directory, config_path)
    return _print_status(config, as_json=as_json)


def _print_status(config: Config, *, as_json: bool) -> int:
    policy = None if config.evidence.policy is None else load_policy(config.evidence.policy)
    state = ProofState(config.state_directory())
    key = load_key(config)
    if key is None:
        raise _no_key(config)
    rows = [_state_of(state, log, policy) for log in state.logs()]
    ok = bool(rows) and all(row["ok"] for row in rows)
    if as_json:
        found = {"schema": "auditctl.evidence/1", "ok": ok, "origin": key.name, "logs": rows}
        render.print_json(found, indent=True)
    else:
        for row in rows:
            mark = render.paint("ok    ", "green") if row["ok"] else render.paint("FAILED", "red")
            text = f"{mark} {row['log']}: signed through seq {row['signed_seq']:,}"
            text += f" at {row['signed_at']}" if row["signed_at"] else ""
            if policy is not None:
                text += f"; witnessed through seq {row['witnessed_seq']:,}"
                text += f" at {row['witnessed_at']}" if row["witnessed_at"] else ""
                text += f" by {', '.join(row['witnesses'])}" if row["witnesses"] else ""
            if row["stamped_seq"]:
                text += f"; time-stamped through seq {row['stamped_seq']:,} at {row['stamped_at']}"
            render.print_text(text)
            if row["trouble"]:
                render.print_text(f"       {render.clean(row['trouble'])}")
        if not rows:
            render.say("Nothing is signed yet: the agent does it, or auditctl evidence sign.")
    return ExitCode.OK if ok else ExitCode.FAILED


def _state_of(state: ProofState, log: str, policy: TrustPolicy | None) -> dict[str, Any]:
    signed, _ = read_checkpoints(state.directory(log) / "checkpoints")
    newest = max(signed, key=lambda each: (each.checkpoint.size, each.at), default=None)
    size, at, names = witnessed(signed, policy)
    trouble, stamp = state.stopped(log), newest_stamp(state.directory(log))
    needed = policy is not None and policy.quorum != "none"
    return {
        "log": log,
        "ok": not trouble and newest is not None and (at is not None or not needed),
        "signed_seq": newest.checkpoint.size if newest is not None else 0,
        "root": encode_base64(newest.checkpoint.root) if newest is not None else "",
        "signed_at": format_timestamp(newest.at) if newest is not None else None,
        "witnessed_seq": size,
        "witnessed_at": format_timestamp(at) if at is not None else None,
        "witnesses": list(names),
        "stamped_seq": stamp.size if stamp is not None else 0,
        "stamped_at": format_timestamp(stamp.kept_at) if stamp is not None else None,
        "trouble": trouble,
    }


@evidence.command
@click.argument("log", type=TEXT, required=False, shell_complete=complete_logs)
@config_option
@directory_option
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Restart the trees of all logs, on a machine that replaces another.",
)
@click.option("--reason", type=TEXT, required=True, help="Reason, such as a restore from a backup.")
def restart(
    log: str | None,
    *,
    config_path: Path | None,
    directory: Path | None,
    every: bool,
    reason: str,
) -> None:
    """Start a new tree for a log, on record, after a restore from a backup.

    The earlier tree stays visible: its last checkpoint is recorded in the log evidence@<host>, and
    the new tree has another origin, whose line for the trust policy is printed. The agent must not
    run meanwhile.
    """
    if (log is None) != every:
        raise click.UsageError("Name a log, or give --all.")
    config, directories = chosen(directory, config_path)
    key = load_key(config)
    if key is None:
        raise _no_key(config)
    state = ProofState(config.state_directory())
    logs = state.logs() if log is None else [log]
    if log is not None and log not in state.logs():
        raise BadPath(f"{log} was never signed here", path=state.path)
    if every:
        state.adopt()
    try:
        with state.locked():
            for each in logs:
                place = place_of_record(directories, config.host)
                _restart(config, place, state, each, reason)
    except Locked as error:
        raise _busy(error) from None
    for each in logs:
        name = origin_of(key.name, each, state.epoch(each))
        render.print_line(f"log {key.renamed(name).key}")


def _restart(config: Config, directory: Path, state: ProofState, log: str, reason: str) -> None:
    signed, _ = read_checkpoints(state.directory(log) / "checkpoints")
    newest = max(signed, key=lambda each: each.checkpoint.size, default=None)
    details = {
        "log": log,
        "epoch": state.epoch(log) + 1,
        "stopped": state.stopped(log),
        "last_checkpoint": newest.note.lines() if newest is not None else [],
    }
    # Record first: every new tree has its record of a restart.
    with open_log(directory, service=ReservedService(EVIDENCE_SERVICE), host=config.host) as record:
        record.emit(
            "evidence.restarted",
            actor={"user_id": user(), "auth_method": "internal"},
            resource={"resource_type": "log", "resource_id": log},
            reason=reason,
            details=details,
        )
    state.restart(log)


def _no_key(config: Config) -> ConfigError:
    return ConfigError(
        "there is no key to sign with",
        path=key_path(config),
        hint="Run auditctl evidence init.",
    )


def _busy(error: Locked) -> SignerBusy:
    return SignerBusy(
        f"another process signs here ({error.holder})",
        path=error.filename,
        hint="Stop the agent first, or let it sign.",
    )
