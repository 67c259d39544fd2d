"""Which segments go before their time so that the rest fits ``max_total_bytes``.  Pure.

Segments and adopted files are counted; what no policy names is not, since it never goes.  The
oldest of them all go first, and only those that no rule but age keeps.  A segment that is to
be compressed in the same run counts as nothing, and nothing younger goes before it: how small it
becomes is not known yet, and what that leaves over is for the next run to see.

Invariants (tests of the same name in tests/retention/test_room.py):
  oldest       what goes is older than everything removable that stays
  sparing      no more goes than is needed
  protected    nothing goes that a rule other than age keeps
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from auditlog.reading.inventory import SegmentFile
    from retention.plan import Action

__all__ = ["age_order", "make"]


def age_order(file: SegmentFile) -> tuple[str, str, int]:
    """What segments of several logs are sorted by, the oldest first."""
    return (file.name.day.isoformat(), str(file.name.log), file.name.part)


def _age_order(action: Action) -> tuple[str, str, int]:
    """The same for actions, of which some are about adopted files."""
    if action.adopted is not None:
        return (action.adopted.counted_from.date().isoformat(), action.adopted.plain.name, 0)
    assert action.file is not None  # noqa: S101  (no other foreign file is ever removable)
    return age_order(action.file)


def make(
    actions: Sequence[Action], removable: Collection[int], limit_bytes: int
) -> tuple[list[Action], int]:
    """The actions with further deletions, and by how many bytes the limit is exceeded still.

    The actions are those about segments and adopted files; ``removable`` are the indices of those
    that only age may keep.
    """
    made = list(actions)
    over = sum(action.size_bytes for action in made if action.action == "keep") - limit_bytes
    for index in sorted(removable, key=lambda index: _age_order(made[index])):
        if over <= 0 or made[index].action == "compress":
            break
        if made[index].action == "delete":
            continue
        made[index] = replace(
            made[index],
            action="delete",
            reason="size",
            detail=f"{over} bytes above max_total_bytes, and it is the oldest that may go",
        )
        over -= made[index].size_bytes
    return made, max(0, over)
