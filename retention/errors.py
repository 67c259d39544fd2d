"""Define the errors of retention, one class for each cause, with the fields of AuditLogError.

``Refused``, which carries a plan, is in retention.plan.
"""

from __future__ import annotations

from auditlog.errors import AuditLogError

__all__ = [
    "Busy",
    "PolicyError",
    "RetentionError",
    "SegmentChanged",
    "SegmentDamaged",
    "StateDamaged",
    "Stopped",
]


class RetentionError(AuditLogError):
    """Base of every error this package raises."""


class PolicyError(RetentionError, ValueError):
    """A policy is empty, inverted or out of range; nothing was planned."""


class StateDamaged(RetentionError):
    """A state file (holds, last run) cannot be read; nothing was planned."""


class Busy(RetentionError):
    """Another process runs retention on the directory or the state directory."""


class SegmentDamaged(RetentionError):
    """A segment is not an intact chain of records; it stays as it is."""


class SegmentChanged(RetentionError):
    """A segment differs from the plan's, or changed since; it stays as it is."""


class Stopped(RetentionError):
    """The run was asked to stop; the current segment stays as it was."""
