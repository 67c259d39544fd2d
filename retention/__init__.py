"""Retention: compress and delete segments, never the wrong one, and prove what was deleted.

``schedule`` needs APScheduler and is imported by itself.
"""

from retention.errors import (
    Busy,
    PolicyError,
    Refused,
    RetentionError,
    SegmentChanged,
    SegmentDamaged,
    StateDamaged,
)
from retention.holds import Hold, HoldStore
from retention.plan import Action, Plan, plan
from retention.policy import Policy, format_duration, parse_duration
from retention.service import RunResult, run_retention

__all__ = [
    "Action",
    "Busy",
    "Hold",
    "HoldStore",
    "Plan",
    "Policy",
    "PolicyError",
    "Refused",
    "RetentionError",
    "RunResult",
    "SegmentChanged",
    "SegmentDamaged",
    "StateDamaged",
    "format_duration",
    "parse_duration",
    "plan",
    "run_retention",
]
