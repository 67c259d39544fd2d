"""One retention run in a process of its own, to be killed or failed at any system call.

The directory holds four segments of a log, a day apart: the first is due for deletion, the second
and third for compression (the third has both forms already), the last is active.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

from auditlog.errors import AuditLogError
from retention.policy import RetentionPolicy
from retention.service import RunResult, run_retention
from tests.support.forked import at_barrier
from tests.support.logs import START, LogBuilder, write_log

__all__ = ["dry_run_forked", "prepare", "prune", "prune_forked"]

_DAY = dt.timedelta(days=1)
_POLICY = RetentionPolicy(3 * _DAY, 6 * _DAY, max_delete_fraction=1.0)
_NOW = START + 6 * _DAY + dt.timedelta(hours=1)


def prepare(directory: Path) -> LogBuilder:
    built = write_log(directory, records=5)
    for day in (1, 2, 6):
        built.at = START + day * _DAY
        built.append(5)
    built.compress(2, keep_plain=True)
    return built


def prune(directory: Path) -> RunResult:
    return run_retention(directory, _POLICY, None, (), _NOW, host="hive1", simulated=True)


def prune_forked(directory: str, report: str) -> None:
    """Run retention and write its errors to the file ``report``: the run's, or its steps'.

    It is opened before the first call that can be struck, and written with writev(2), which
    retention never uses.
    """
    fd = os.open(report, os.O_WRONLY | os.O_CREAT, 0o600)
    at_barrier()
    try:
        result = prune(Path(directory))
        said = [step.error for step in result.failures] + [result.error] * bool(result.error)
        said += [
            f"kept {step.action.name} as damaged"
            for step in result.steps
            if step.action.reason == "damaged"
        ]
    except (AuditLogError, OSError) as error:
        said = [str(error)]
    os.writev(fd, [json.dumps(said).encode()])


def dry_run_forked(directory: str) -> None:
    at_barrier()
    result = run_retention(
        Path(directory), _POLICY, None, (), _NOW, dry_run=True, host="hive1", simulated=True
    )
    assert result.totals["delete"] == 1
