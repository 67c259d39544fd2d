"""Compress and delete old segments by policy, and record each deletion.

The names in ``__all__`` are the library; they are imported when they are first used, so that a
program that only needs a policy or the holds loads nothing else.  ``retention.schedule``, which
runs it in the background, needs APScheduler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retention.errors import Busy, PolicyError, RetentionError
    from retention.holds import Hold, HoldStore
    from retention.plan import Action, DirectoryPlan, Refused
    from retention.policy import ForeignPolicy, RetentionPolicy
    from retention.service import RunResult, run_retention

__all__ = [
    "Action",
    "Busy",
    "DirectoryPlan",
    "ForeignPolicy",
    "Hold",
    "HoldStore",
    "PolicyError",
    "Refused",
    "RetentionError",
    "RetentionPolicy",
    "RunResult",
    "run_retention",
]

_MODULES = {
    "Action": "plan",
    "Busy": "errors",
    "DirectoryPlan": "plan",
    "ForeignPolicy": "policy",
    "Hold": "holds",
    "HoldStore": "holds",
    "RetentionPolicy": "policy",
    "PolicyError": "errors",
    "Refused": "plan",
    "RetentionError": "errors",
    "RunResult": "service",
    "run_retention": "service",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'retention' has no attribute {name!r}")
    value = getattr(import_module(f"retention.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
