"""Export each log's signed tree to a directory; see auditlog.evidence.tiles."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from auditctl.composition.evidence import best_checkpoint, load_policy
from auditctl.errors import BadPath
from auditlog.evidence.checkpoint_file import read_checkpoints
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.tiles import numbered_lines, write_tiles
from auditlog.evidence.tree_files import TreeFiles
from auditlog.reading.inventory import scan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditctl.config.model import Config

__all__ = ["ExportedTree", "export_tiles"]


@dataclass(frozen=True, slots=True)
class ExportedTree:
    """The tree of one log: its directory, the records it commits to, and how many are in it."""

    log: str
    directory: str
    records: int
    entries: int


def export_tiles(
    config: Config, directories: Sequence[Path], pattern: str, place: Path
) -> list[ExportedTree]:
    """Export the newest checkpoint of each log whose id fits; one with a quorum where there is any.

    Raises BadPath before anything is written, BadEvidence, OSError.
    """
    if place.exists() and any(place.iterdir()):
        raise BadPath("the directory is not empty", path=place, hint="Choose another one.")
    policy = None if config.evidence.policy is None else load_policy(config.evidence.policy)
    state = ProofState(config.state_directory())
    segments = {
        str(log): found
        for directory in directories
        if directory.is_dir()
        for log, found in scan(directory).logs.items()
    }
    exported = []
    for log in state.logs():
        if not fnmatchcase(log, pattern):
            continue
        proofs = state.directory(log)
        signed = best_checkpoint(read_checkpoints(proofs / "checkpoints")[0], 1, policy)
        if signed is None:
            continue
        entries = write_tiles(
            place / log, signed.note, TreeFiles(proofs), numbered_lines(segments.get(log, ()))
        )
        exported.append(ExportedTree(log, str(place / log), signed.checkpoint.size, entries))
    if not exported:
        raise BadPath(
            "no log that was asked for is signed here",
            path=state.path,
            hint="Run auditctl evidence init and auditctl evidence sign.",
        )
    return exported
