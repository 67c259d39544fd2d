"""``auditctl prove``: prove that a record is in a log; see auditlog.evidence.proof."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from auditctl.composition.evidence import accepted, best_checkpoint, load_policy
from auditctl.errors import BadPath
from auditctl.options import PATH, TEXT, chosen, complete_logs, config_option, directory_option
from auditctl.output import render
from auditctl.output.new_file import new_file
from auditlog.evidence.checkpoint_file import read_checkpoints
from auditlog.evidence.proof import RecordProof
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.tree_files import TreeFiles

_CHECKER: Final = Path(__file__).parents[1] / "export/check_record.py"


@click.command
@click.argument("log", type=TEXT, shell_complete=complete_logs)
@click.argument("seq", type=click.IntRange(min=1))
@config_option
@directory_option
@click.option(
    "--policy",
    "policy_path",
    type=PATH,
    metavar="FILE",
    help="Trust policy that the checkpoint must satisfy (default: the configured one).",
)
@click.option("-o", "--output", "target", type=PATH, metavar="FILE", help="New file to write.")
@click.option(
    "--checker",
    "checker",
    type=PATH,
    metavar="FILE",
    help="Also write a program that checks proofs and needs only Python.",
)
def prove(
    log: str,
    seq: int,
    *,
    config_path: Path | None,
    directory: Path | None,
    policy_path: Path | None,
    target: Path | None,
    checker: Path | None,
) -> None:
    """Prove that a record is in a log, to somebody who does not trust us.

    The proof (c2sp.org/tlog-proof) is a small file. `auditctl verify --proof` needs only this file,
    the record's line and a trust policy, even years after the log was deleted.

    \b
    Examples:
      auditctl prove queen-rbee@hive1 42 -o record-42.tlog-proof
      auditctl verify --proof record-42.tlog-proof --policy trust.policy line-42.ndjson
    """
    config, _ = chosen(directory, config_path)
    policy_path = policy_path or config.evidence.policy
    policy = None if policy_path is None else load_policy(policy_path)
    place = ProofState(config.state_directory()).directory(log)
    signed, _ = read_checkpoints(place / "checkpoints")
    chosen_one = best_checkpoint(signed, seq, policy)
    if chosen_one is None:
        largest = max((each.checkpoint.size for each in signed), default=0)
        raise BadPath(
            f"record {seq} of {log} is in no checkpoint yet; the largest has {largest} records",
            path=place,
            hint="Wait for the next one, or run auditctl evidence sign.",
        )
    size = chosen_one.checkpoint.size
    hashes = TreeFiles(place).inclusion(seq - 1, size)
    proof = RecordProof(seq - 1, tuple(hashes), chosen_one.note).to_bytes()
    if policy is not None and not accepted(policy, chosen_one):
        render.say(
            "auditctl: no quorum of witnesses has cosigned a checkpoint with this record yet."
        )
    if checker is not None:
        with new_file(checker) as stream:
            stream.write(_CHECKER.read_bytes())
    if target is None:
        render.print_line(proof.decode().removesuffix("\n"))
        return
    with new_file(target) as stream:
        stream.write(proof)
