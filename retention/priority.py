"""Give the calling thread the lowest CPU and I/O priority.

On Linux both belong to a thread and are inherited by the threads it starts (setpriority(2),
ioprio_set(2)); so the other threads of the process keep theirs.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import threading
from typing import Final

__all__ = ["give_way"]

_logger = logging.getLogger("auditlog.retention")

_NICE: Final = 19
_WHO_PROCESS: Final = 1  # IOPRIO_WHO_PROCESS: one thread, by its id
# Best effort, last in line.  The idle class could wait for ever on a busy disk, and with it a stop.
_IOPRIO: Final = (2 << 13) | 7
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}


def give_way(work: str) -> bool:
    """Lower both priorities of the calling thread, which does ``work``; return whether that worked.

    Never raises: a failure is logged.
    """
    thread = threading.get_native_id()
    try:
        os.setpriority(os.PRIO_PROCESS, thread, _NICE)
    except OSError as error:
        _logger.warning("%s runs at the usual CPU priority: %s", work, error.strerror)
        return False
    number = _IOPRIO_SET.get(platform.machine())
    if number is None:
        return False  # the number of the system call is not known for this machine
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _WHO_PROCESS, thread, _IOPRIO) != 0:
        error_text = os.strerror(ctypes.get_errno())
        _logger.warning("%s runs at the usual I/O priority: %s", work, error_text)
        return False
    return True
