"""Check the host's clock and the kernel's inotify limits."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditctl.doctor.check_result import CheckResult

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_host"]

_INOTIFY: Final = Path("/proc/sys/fs/inotify")
_LIMITS: Final = {"max_user_watches": 8192, "max_user_instances": 128}
_TIMEX_BYTES: Final = 512  # struct timex has 208 on 64 bit
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised


def check_host(inotify: Path = _INOTIFY) -> Iterator[CheckResult]:
    yield _clock()
    yield from _limits(inotify)


def _clock() -> CheckResult:
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: only look
    state = ctypes.CDLL(None).adjtimex(timex)
    if state < 0:
        mend = "Check with timedatectl"
        return CheckResult(
            "clock", "warn", "the kernel does not say whether it is synchronised", mend
        )
    if state == _TIME_ERROR:
        mend = "timedatectl set-ntp true; in a virtual machine the host may keep the time instead."
        return CheckResult("clock", "warn", "it is not synchronised", mend)
    return CheckResult("clock", "ok", "synchronised")


def _limits(inotify: Path) -> Iterator[CheckResult]:
    for name, least in _LIMITS.items():
        try:
            value = int((inotify / name).read_text("ascii"))
        except (OSError, ValueError):
            detail = f"fs.inotify.{name} cannot be read; logs are looked at every 30 s instead"
            yield CheckResult("inotify", "warn", detail, "Mount /proc, or live with the delay.")
            continue
        if value < least:
            mend = f"sysctl fs.inotify.{name}={least}, and the same in /etc/sysctl.d/"
            yield CheckResult("inotify", "warn", f"fs.inotify.{name} is {value:,}", mend)
        else:
            yield CheckResult("inotify", "ok", f"fs.inotify.{name} is {value:,}")
