"""Choose the checkpoints of an export, and the hashes that their roots need besides its records.

Of every log and set of signers the newest checkpoint is taken; of a log whose end was not asked
for, the oldest that covers the exported records.  A root over records that are not in the export
is computed from the subtrees over them (auditlog.evidence.compact_range), which the signer's files
have, or the tombstones of deleted records.

Invariants (tests of the same name in tests/auditctl/export/test_checkpoints.py):
  never_stops   whatever is in the places of checkpoints, those that can be read are chosen
  same_root     the hashes given lead from the exported lines to the signed root
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

from auditlog.errors import AuditLogError
from auditlog.evidence.checkpoint import Checkpoint, log_of_origin
from auditlog.evidence.checkpoint_file import read_checkpoints
from auditlog.evidence.collection import from_logs
from auditlog.evidence.compact_range import CompactRange
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.leaves import DELETED_LEAF, leaf_of
from auditlog.evidence.note import Note
from auditlog.evidence.tree_files import TreeFiles

if TYPE_CHECKING:
    from pathlib import Path

    from auditlog.format.tombstones import Tombstone

__all__ = ["ChosenCheckpoints", "LeafRuns", "SignedSizes", "found_notes", "subtrees_of"]

_MOST_SIGNER_SETS: Final = 32  # of one log: witnesses are few, and so are the ways they fail in


def found_notes(
    directories: Sequence[Path], state_dir: Path, tell: Callable[[str], None]
) -> Iterator[Note]:
    """Yield the signed checkpoints of the state directory and of the logs; tell what is unreadable.

    ``tell`` gets a sentence for each place that cannot be read, and the other places are read.
    """
    try:
        trees = sorted(path for path in (state_dir / "proofs").iterdir() if path.is_dir())
    except FileNotFoundError:
        trees = []
    except OSError as error:
        tell(f"{state_dir}: {error.strerror}")
        trees = []
    for path in (tree / "checkpoints" for tree in trees):
        try:
            yield from (signed.note for signed in read_checkpoints(path)[0])
        except BadEvidence as error:
            tell(f"{path}: {error.reason}")
        except OSError as error:
            tell(f"{path}: {error.strerror}")
    for directory in directories:
        try:
            yield from (candidate.note for candidate in from_logs(directory))
        except (AuditLogError, OSError) as error:
            tell(f"{directory}: {error}")


@dataclass(frozen=True, slots=True)
class SignedSizes:
    """The chosen checkpoints of one log."""

    checkpoints: tuple[tuple[Checkpoint, Note], ...] = ()

    @property
    def roots(self) -> dict[int, bytes]:
        return {checkpoint.size: checkpoint.root for checkpoint, _ in self.checkpoints}


@dataclass(slots=True)
class ChosenCheckpoints:
    """Takes all checkpoints, one after another, and keeps few of each log.

    ``ends`` has the logs of the export, each with the last exported record where records after it
    were not asked for, else None.
    """

    ends: Mapping[str, int | None]
    _kept: dict[str, dict[tuple[str, frozenset[tuple[str, bytes]]], tuple[Checkpoint, Note]]] = (
        field(default_factory=dict)
    )

    def take(self, notes: Iterable[Note]) -> None:
        for note in notes:
            try:
                checkpoint = Checkpoint.parse(note.text)
            except BadEvidence:
                continue
            log, _ = log_of_origin(checkpoint.origin)
            if log not in self.ends:
                continue
            kept = self._kept.setdefault(log, {})
            signers = frozenset((each.name, each.key_id) for each in note.signatures)
            key = checkpoint.origin, signers  # a rotated key signs under the name of the old one
            if key not in kept and len(kept) >= _MOST_SIGNER_SETS:
                continue
            if key not in kept or self._rank(log, checkpoint) > self._rank(log, kept[key][0]):
                kept[key] = checkpoint, note

    def of(self, log: str) -> SignedSizes:
        return SignedSizes(tuple(self._kept.get(log, {}).values()))

    def _rank(self, log: str, checkpoint: Checkpoint) -> tuple[bool, int]:
        end = self.ends[log]
        covers = end is not None and checkpoint.size >= end
        return covers, -checkpoint.size if covers else checkpoint.size


@dataclass(slots=True)
class LeafRuns:
    """The leaves of the exported lines, as ranges without gaps; ``sizes`` each end one."""

    sizes: frozenset[int]
    runs: list[CompactRange] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.runs[-1].end if self.runs else 0

    def line(self, seq: int, line: bytes) -> None:
        """Take the line of an intact record, with its LF."""
        index = seq - 1
        if index < self.end:
            return
        if not self.runs or index > self.end or self.end in self.sizes:
            self.runs.append(CompactRange(index))
        self.runs[-1].append(leaf_of(line[:-1]))

    def gaps(self, limit: int) -> list[tuple[int, int]]:
        """The ranges of leaves up to ``limit`` that no line gave, divided at the sizes."""
        gaps, at = [], 0
        for start, end in [*((run.start, run.end) for run in self.runs), (limit, limit)]:
            bounds = [at, *sorted(size for size in self.sizes if at < size < start), start]
            gaps += [pair for pair in pairwise(bounds) if pair[0] < pair[1]]
            at = max(at, end)
        return gaps


def subtrees_of(
    lines: LeafRuns,
    roots: Mapping[int, bytes],
    limit: int,
    kept: Path,
    tombstones: Sequence[Tombstone],
) -> list[CompactRange]:
    """Return ranges for the records up to ``limit`` that are not among the lines.

    ``kept`` is the directory of the signer's files, which may be absent.  Where nothing fits the
    roots, the ranges are the best that there are, and the reader will find the difference.
    """
    gaps = lines.gaps(limit)
    if not gaps:
        return []
    named = [piece for gap in gaps for piece in _named(gap, tombstones)]
    best: list[CompactRange] = []
    for option in chain([_kept(gaps, kept)], _blanks(named)):
        if option and _fit([*lines.runs, *option], roots):
            return option
        best = best or option
    return best


def _kept(gaps: Sequence[tuple[int, int]], directory: Path) -> list[CompactRange]:
    try:
        files = TreeFiles(directory)
        return [CompactRange.of_subtrees(start, end, files.subtree) for start, end in gaps]
    except (BadEvidence, OSError, ValueError, IndexError):
        return []  # a copy of the logs has none


def _named(gap: tuple[int, int], tombstones: Sequence[Tombstone]) -> Iterator[CompactRange]:
    """The ranges that tombstones name, in order, as far as they follow one another."""
    at = gap[0]
    for tombstone in tombstones:
        if tombstone.first_seq - 1 != at or tombstone.last_seq > gap[1] or not tombstone.nodes:
            continue
        try:
            yield CompactRange.of(at, tombstone.last_seq, tombstone.nodes)
        except ValueError:
            return
        at = tombstone.last_seq


def _blanks(named: Sequence[CompactRange]) -> Iterator[list[CompactRange]]:
    """The ranges where the tree was begun after none, all or some of the deletions."""
    for count in (0, len(named), *range(1, len(named))):
        blank = [CompactRange.uniform(each.start, each.end, DELETED_LEAF) for each in named[:count]]
        yield [*blank, *named[count:]]


def _fit(ranges: Sequence[CompactRange], roots: Mapping[int, bytes]) -> bool:
    """Whether the largest root that the ranges reach is the signed one."""
    whole, fits = CompactRange(), False
    for each in sorted(ranges, key=lambda each: each.start):
        if each.start != whole.end:
            break
        whole.extend(each)
        if whole.end in roots:
            fits = whole.root() == roots[whole.end]
    return fits
