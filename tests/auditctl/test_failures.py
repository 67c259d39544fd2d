from __future__ import annotations

import datetime as dt
import errno
import inspect
import os
from typing import TYPE_CHECKING, Any

import pytest

from auditctl import errors as control_errors
from auditctl.exit_codes import ExitCode
from auditctl.failures import explain
from auditlog import errors as log_errors
from auditlog.errors import AuditLogError
from retention import errors as retention_errors
from retention.breaker import Refusal
from retention.plan import IndexPlan, Refused
from retention.policy import IndexPolicy
from shippers import errors as shipper_errors

if TYPE_CHECKING:
    from types import ModuleType

EXPECTED = {
    "AlreadyShipping": ExitCode.LOCKED,
    "ArchiveMemoryDamaged": ExitCode.DATA,
    "ArchiveUnavailable": ExitCode.FAILED,
    "AuditLogError": ExitCode.FAILED,
    "ArchiveDamaged": ExitCode.DATA,
    "BadPath": ExitCode.USAGE,
    "QueryError": ExitCode.USAGE,
    "BufferFull": ExitCode.FAILED,
    "Busy": ExitCode.LOCKED,
    "ClockUnusable": ExitCode.FAILED,
    "CommandFailed": ExitCode.FAILED,
    "ConfigError": ExitCode.DATA,
    "CursorDamaged": ExitCode.DATA,
    "DuplicateLog": ExitCode.DATA,
    "QuarantineDamaged": ExitCode.DATA,
    "ForkedLog": ExitCode.FAILED,
    "InvalidEvent": ExitCode.DATA,
    "InvalidEventType": ExitCode.FAILED,
    "InvalidName": ExitCode.DATA,
    "InvalidOption": ExitCode.FAILED,
    "LogClosed": ExitCode.FAILED,
    "LogDamaged": ExitCode.DATA,
    "LogFailed": ExitCode.FAILED,
    "LogLocked": ExitCode.LOCKED,
    "NoLog": ExitCode.FAILED,
    "NotAccessible": ExitCode.FAILED,
    "NotDurableYet": ExitCode.FAILED,
    "ObjectExists": ExitCode.FAILED,
    "ObjectMissing": ExitCode.FAILED,
    "PathNotFound": ExitCode.FAILED,
    "PathNotPermitted": ExitCode.FAILED,
    "PolicyError": ExitCode.DATA,
    "RecordTooLarge": ExitCode.DATA,
    "RetentionError": ExitCode.FAILED,
    "SchemaTooNew": ExitCode.DATA,
    "SegmentChanged": ExitCode.FAILED,
    "SegmentDamaged": ExitCode.DATA,
    "ShipperError": ExitCode.FAILED,
    "ShippingStalled": ExitCode.FAILED,
    "SinkRefused": ExitCode.FAILED,
    "SourceUnreadable": ExitCode.FAILED,
    "StateDamaged": ExitCode.DATA,
    "Stopped": ExitCode.FAILED,
    "UnsafePath": ExitCode.REFUSED,
}


def classes(*modules: ModuleType) -> list[type[AuditLogError]]:
    return sorted(
        {
            found
            for module in modules
            for _, found in inspect.getmembers(module, inspect.isclass)
            if issubclass(found, AuditLogError)
        },
        key=lambda found: found.__name__,
    )


@pytest.mark.parametrize(
    "error",
    classes(control_errors, log_errors, retention_errors, shipper_errors),
    ids=lambda error: error.__name__,
)
def test_every_class_has_its_exit_code(error: type[AuditLogError]) -> None:
    failure = explain(error("it broke", path="/x/y", errno=errno.EACCES, hint="Mend it."))
    assert failure.code == EXPECTED[error.__name__]
    assert failure.text == "/x/y: it broke: Permission denied. Mend it."


def test_indices_that_are_too_many_are_refused() -> None:
    at = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    policy = IndexPolicy("main", (), "llama-orch-audit", dt.timedelta(days=9))
    refusals = (Refusal("too_many_deletes", "3 of the 4"),)
    failure = explain(Refused(IndexPlan(policy=policy, at=at, refusals=refusals, simulated=False)))
    assert failure.code == ExitCode.REFUSED
    assert failure.text.startswith("indices of sink main: 3 of the 4. Nothing was changed.")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOSPC, errno.EIO])
def test_an_os_error_names_the_path_the_cause_and_what_to_do(number: int) -> None:
    failure = explain(OSError(number, os.strerror(number), "/x/y"))
    assert failure.code == ExitCode.FAILED
    assert failure.text.startswith(f"/x/y: {os.strerror(number)}. ")
    assert failure.text.endswith(".")


def test_unforeseen_errors_tell_their_place_and_not_their_text() -> None:
    def broken() -> Any:
        raise KeyError("alice's password")

    with pytest.raises(KeyError) as raised:
        broken()
    failure = explain(raised.value)
    assert failure.code == ExitCode.FAILED
    assert "KeyError at test_failures.py:" in failure.text
    assert "alice" not in failure.text


def test_names_and_texts_of_a_server_cannot_steer_the_terminal() -> None:
    failure = explain(control_errors.CommandFailed("the server says \x1b[2J", path="/a\nb"))
    assert failure.text.isprintable()
    assert "/a\\nb" in failure.text
