"""Define a check's result, and rate measurements by thresholds.  Pure.

Invariants (tests of the same name in tests/auditctl/doctor/test_check_result.py):
  mends    a warning or failure names its remedy
  slow     the time of a sync is judged by its 99th percentile, an impossible one by its median
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CheckResult", "CheckState", "judge_filesystem", "judge_space", "judge_syncs"]

CheckState = Literal["ok", "warn", "fail"]

_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "afs"})
_LOW_BYTES: Final = 1 << 30  # the writer's own space_low_bytes and space_critical_bytes
_CRITICAL_BYTES: Final = 128 << 20
_SLOW: Final = dt.timedelta(milliseconds=50)
_IMPOSSIBLE: Final = dt.timedelta(microseconds=15)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; ``mend`` is the remedy.  Raises ValueError when it is missing."""

    check: str
    state: CheckState
    detail: str
    mend: str = ""

    def __post_init__(self) -> None:
        if self.state != "ok" and not self.mend:
            raise ValueError(f"{self.check} is {self.state} without a remedy")

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "state": self.state,
            "detail": self.detail,
            "mend": self.mend,
        }


def judge_filesystem(where: str, kind: str) -> CheckResult:
    """By the type in /proc/self/mountinfo (proc(5))."""
    check = "file system"
    if kind in _VOLATILE:
        mend = "Put the directory on a disk: files in memory are lost at the next start."
        return CheckResult(check, "fail", f"{where} is {kind}, in memory", mend)
    if kind in _REMOTE or kind.startswith("fuse."):
        mend = "Use a local disk: locks and syncs over the network are not reliable."
        return CheckResult(check, "warn", f"{where} is {kind}, over the network", mend)
    if kind in ("overlay", "overlayfs", "aufs"):
        mend = "Mount a volume there: a container's own layer is removed with it."
        return CheckResult(check, "warn", f"{where} is {kind}, a container's layer", mend)
    return CheckResult(check, "ok", f"{where} is {kind}")


def judge_space(where: str, free_bytes: int, free_files: int | None) -> CheckResult:
    """``free_files`` is None where the file system makes inodes as it needs them."""
    free = f"{where} has {free_bytes >> 20:,} MiB free"
    mend = f"Free some: df -h {where}; retention frees what is old: auditctl prune --dry-run."
    if free_bytes < _CRITICAL_BYTES:
        return CheckResult("space", "fail", free, mend)
    if free_files is not None and free_files < 1000:
        return CheckResult("space", "fail", f"{where} has {free_files:,} inodes left", mend)
    return CheckResult("space", "warn" if free_bytes < _LOW_BYTES else "ok", free, mend)


def judge_syncs(where: str, times: Sequence[dt.timedelta]) -> CheckResult:
    """Judge the durations of write and fdatasync."""
    ordered = sorted(times)
    median = ordered[len(ordered) // 2]
    slowest = ordered[len(ordered) * 99 // 100]
    took = f"{where}: a write is on disk in {_ms(median)} ms (p50), {_ms(slowest)} ms (p99)"
    if median < _IMPOSSIBLE:
        mend = "That is faster than any disk: check whether it, or the hypervisor, ignores flushes."
        return CheckResult("sync", "warn", took, mend)
    if slowest > _SLOW:
        mend = "Each immediate event waits that long: use a faster disk, or flush='hybrid'."
        return CheckResult("sync", "warn", took, mend)
    return CheckResult("sync", "ok", took)


def _ms(duration: dt.timedelta) -> str:
    return f"{duration / dt.timedelta(milliseconds=1):.2f}"
