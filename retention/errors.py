"""What can go wrong in retention, one class a cause; the fields are those of AuditLogError."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from auditlog.errors import AuditLogError

if TYPE_CHECKING:
    from retention.index_plan import IndexPlan
    from retention.plan import Plan

__all__ = [
    "Busy",
    "IndicesRefused",
    "PolicyError",
    "Refused",
    "RetentionError",
    "SegmentChanged",
    "SegmentDamaged",
    "StateDamaged",
    "Stopped",
]


class RetentionError(AuditLogError):
    """Base of every error this package raises."""


class PolicyError(RetentionError, ValueError):
    """A policy that is empty, inverted or out of range; nothing was planned."""


class StateDamaged(RetentionError):
    """A state file (holds, last run) cannot be read; nothing was planned, since all is doubtful."""


class Busy(RetentionError):
    """Another process runs retention on the directory or the state directory."""


class SegmentDamaged(RetentionError):
    """The segment is not an intact chain of records; it stays as it is."""


class SegmentChanged(RetentionError):
    """The segment is not what the plan saw, or changed meanwhile; it stays as it is."""


class Stopped(RetentionError):
    """The run was asked to stop; the segment at hand stays as it was."""


class Refused(RetentionError):
    """The circuit breaker stopped the run before anything was touched; ``plan`` says why."""

    def __init__(self, plan: Plan, *, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(
            "; ".join(refusal.detail for refusal in plan.refusals),
            path=path,
            hint="Nothing was changed. Look at the plan (--dry-run); if it is right, --confirm it.",
        )
        self.plan = plan


class IndicesRefused(RetentionError):
    """As Refused, of a run over the indices of a sink."""

    def __init__(self, plan: IndexPlan) -> None:
        super().__init__(
            f"indices of sink {plan.policy.sink}: "
            + "; ".join(refusal.detail for refusal in plan.refusals),
            hint="Nothing was changed. Look at the plan (--dry-run); if it is right, --confirm it.",
        )
        self.plan = plan
