"""The text of errors: place, reason and hint, never the payload."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditlog import errors
from auditlog.bridges.asgi import AuditMiddleware
from auditlog.errors import AuditLogError, LogFailed, RecordTooLarge
from auditlog.events import Event
from auditlog.redaction import Policy

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


def test_what_reading_is_refused_by_the_system_is_an_error_of_ours_too(tmp_path: Path) -> None:
    readers: dict[str, Callable[[Path], object]] = {
        "verify": auditlog.verify,
        "read": lambda path: list(auditlog.read(path)),
        "search": lambda path: list(auditlog.search(path, "")),
    }
    for name, read in readers.items():
        with pytest.raises(FileNotFoundError, match="missing: ") as refusal:
            read(tmp_path / "missing")
        assert isinstance(refusal.value, AuditLogError), name


def test_wrong_options_are_errors_of_ours_too(tmp_path: Path) -> None:
    async def app(*_: Any) -> None:
        """It answers nothing."""

    def _open() -> auditlog.Log:
        return auditlog.open(tmp_path, service="s", host="h")

    refused: list[Callable[[], object]] = [
        lambda: auditlog.verify(tmp_path, jobs=0),
        lambda: auditlog.open(tmp_path, service="s", host="h", flush="soon"),  # type: ignore[arg-type]  # the point
        lambda: AuditMiddleware(app, _open, correlation_headers=()),
        lambda: AuditMiddleware(app, _open, trusted_proxies="10.0.0.1"),
        lambda: AuditMiddleware(app, _open, trusted_proxies=["10.0.0.1.7"]),
        lambda: Policy.default().off("colours"),
        lambda: Policy.default().with_patterns({"x": "("}),
    ]
    for wrong in refused:
        with pytest.raises(errors.InvalidOption):
            wrong()


def test_a_class_that_cannot_be_an_event_is_refused_where_it_is_defined() -> None:
    with pytest.raises(errors.InvalidEventType, match="the name is taken") as refusal:
        type("Sold", (Event,), {"__annotations__": {"password": str}})
    assert isinstance(refusal.value, TypeError)
