"""Retention: compress and delete segments, never the wrong one, and prove what was deleted.

``schedule`` needs APScheduler and is imported by itself.  ``service`` is loaded when it is first
used: it writes a log of its own, and who only asks for a policy needs no writer.
"""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
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


def __getattr__(name: str) -> object:
    if name not in ("RunResult", "run_retention"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from retention import service  # noqa: PLC0415  (see above)

    return getattr(service, name)
