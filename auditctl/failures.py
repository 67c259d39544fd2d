"""Format any error as a paragraph and an exit code.

    <path or address>: <cause>. <what to do>

An unforeseen error is reported with its type and place, never with its text, which may quote data
that must not leak.

Invariants (tests of the same name in tests/auditctl/test_failures.py):
  every_class   each error class of the four packages has the exit code its docstring promises
  unforeseen    an unforeseen error's own text is not shown
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auditctl.errors import ArchiveDamaged, BadPath, ConfigError
from auditctl.exit_codes import ExitCode
from auditctl.output.log_lines import escaped
from auditlog import errors as log_errors
from auditlog.evidence.errors import BadEvidence, SignerBusy
from retention import errors as retention_errors
from retention.plan import Refused
from shippers import errors as shipper_errors

__all__ = ["Failure", "explain"]


@dataclass(frozen=True, slots=True)
class Failure:
    text: str
    code: ExitCode


_CODES: Final[tuple[tuple[type[BaseException], ExitCode], ...]] = (
    (log_errors.LogLocked, ExitCode.LOCKED),
    (SignerBusy, ExitCode.LOCKED),
    (retention_errors.Busy, ExitCode.LOCKED),
    (Refused, ExitCode.REFUSED),
    (log_errors.UnsafePath, ExitCode.REFUSED),
    (log_errors.InvalidEvent, ExitCode.DATA),
    (log_errors.InvalidName, ExitCode.DATA),
    (log_errors.LogDamaged, ExitCode.DATA),
    (log_errors.CursorDamaged, ExitCode.DATA),
    (log_errors.ArchiveMemoryDamaged, ExitCode.DATA),
    (BadEvidence, ExitCode.DATA),
    (retention_errors.PolicyError, ExitCode.DATA),
    (retention_errors.StateDamaged, ExitCode.DATA),
    (retention_errors.SegmentDamaged, ExitCode.DATA),
    (shipper_errors.DuplicateLog, ExitCode.DATA),
    (shipper_errors.QuarantineDamaged, ExitCode.DATA),
    (shipper_errors.SchemaTooNew, ExitCode.DATA),
    (ConfigError, ExitCode.DATA),
    (ArchiveDamaged, ExitCode.DATA),
    (BadPath, ExitCode.USAGE),
    (log_errors.QueryError, ExitCode.USAGE),
)


def explain(error: BaseException) -> Failure:
    """The paragraph (without the program's name) and the exit code for an error.

    It may quote file names and a server's text, so what is not printable is escaped.
    """
    failure = _explained(error)
    return Failure(escaped(failure.text), failure.code)


def _explained(error: BaseException) -> Failure:
    if isinstance(error, log_errors.AuditLogError):
        code = next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)
        text = str(error)
        return Failure(text if text.endswith((".", "?")) else f"{text}.", code)
    if isinstance(error, OSError) and error.errno is not None:
        return Failure(_explain_os_error(error), ExitCode.FAILED)
    return Failure(_explain_unforeseen(error), ExitCode.FAILED)


def _explain_os_error(error: OSError) -> str:
    where = error.filename2 or error.filename
    name = "" if where is None else f"{where if isinstance(where, str) else Path(where)}: "
    return f"{name}{error.strerror}. {log_errors.hint_for(error.errno)}"


def _explain_unforeseen(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return (
        f"unexpected {type(error).__name__}{place}. This is a bug in auditctl; please report "
        "it with the output of the same command under AUDITLOG_DEBUG=1."
    )
