"""The text of errors: place, reason and hint, never the payload."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from auditlog import errors
from auditlog.errors import AuditLogError, LogFailed, RecordTooLarge

CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_the_text_says_what_where_and_what_to_do() -> None:
    error = LogFailed(
        "records could not be made durable",
        path="/var/log/audit/x.ndjson",
        offset=512,
        seq=7,
        errno=errno.EIO,
        hint="Mend the disk.",
    )
    assert str(error) == (
        "/var/log/audit/x.ndjson: records could not be made durable (at byte 512, seq 7):"
        f" {os.strerror(errno.EIO)}. Mend the disk."
    )


def test_what_is_not_known_is_not_mentioned() -> None:
    assert str(AuditLogError("there is no log in this directory")) == (
        "there is no log in this directory"
    )
    assert "(at byte 0)" in str(AuditLogError("damage", offset=0)), "zero is a place"


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_one_of_ours_and_can_be_raised_again(kind: type[AuditLogError]) -> None:
    error = kind("reason", path=Path("/x"), offset=1, seq=2, errno=3, hint="hint")
    again = error.again()
    assert isinstance(error, AuditLogError)
    assert again is not error
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_bad_values_are_value_errors_too() -> None:
    assert issubclass(errors.InvalidName, ValueError)
    assert issubclass(RecordTooLarge, errors.InvalidEvent)
    assert issubclass(errors.InvalidEvent, ValueError)
