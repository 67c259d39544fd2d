"""One call of a logging library, as the fields of an event.  Pure.

The message becomes the reason, the level the severity, everything else details.  A log call may
hold anything, an event may not: what a record cannot hold is replaced, as nothing that was logged
may be lost for its form.  An object becomes ``<its type>``, a long value its length and hash.

Invariants (tests of the same name in tests/auditlog/bridges/test_log_call.py):
  never_lost   whatever a call holds, its reduced fields make a record
  by_type      an exception gives its type and message, never its traceback or locals
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

import orjson

from auditlog.errors import InvalidEvent
from auditlog.events.actor import OUTCOMES, Outcome, Severity
from auditlog.events.base import EVENT_TYPE, LIBRARYS_OWN
from auditlog.events.vocabulary import EVENT_TYPES
from auditlog.redaction.cleaning import clean

if TYPE_CHECKING:
    from auditlog.writer.log import EventFields

__all__ = ["LIBRARYS_LOGGER", "LogCall", "is_librarys", "severity_of"]

LIBRARYS_LOGGER: Final = "auditlog"
"""What this library logs about itself; it must not become an event of itself."""

_PLAIN_TYPE: Final = "app.logged"
_TAKEN: Final = ("actor", "resource", "outcome", "correlation_id", "details")
_MAX_REASON_BYTES: Final = 16_384
_MAX_VALUE_BYTES: Final = 4_096
_MAX_DETAILS_BYTES: Final = 24_576
_MAX_DEPTH: Final = 8


def is_librarys(logger: str) -> bool:
    """Whether the logger is this library's own."""
    return logger == LIBRARYS_LOGGER or logger.startswith(f"{LIBRARYS_LOGGER}.")


def severity_of(level: int) -> Severity:
    """The severity of a numeric level of the standard library."""
    if level >= 50:
        return "critical"
    if level >= 40:
        return "error"
    return "warning" if level >= 30 else "info"


@dataclass(frozen=True, slots=True)
class LogCall:
    """``extra`` is what the caller gave beside the message, by name.

    Of it, ``actor``, ``resource``, ``outcome``, ``correlation_id`` and ``details`` become the
    event's own fields.  Without an outcome, error and critical are failures.
    """

    message: str
    severity: Severity
    logger: str
    extra: Mapping[str, Any]
    exception: BaseException | None = None

    def fields(self) -> EventFields:
        """The event's fields, as they were given; they may not make a record."""
        details = {name: value for name, value in self.extra.items() if name not in _TAKEN}
        if isinstance(given := self.extra.get("details"), Mapping):
            details.update(given)
        return {
            "actor": self.extra.get("actor"),
            "resource": self.extra.get("resource"),
            "outcome": cast("Outcome", self.extra.get("outcome", self._outcome())),
            "reason": self.message,
            "severity": self.severity,
            "correlation_id": self.extra.get("correlation_id"),
            "details": {**details, **self._own()},
        }

    def reduced(self, event_type: object) -> tuple[str, EventFields]:
        """A type and fields that always make a record: all of ``extra`` below details, cut to size.

        A type of the vocabulary refuses a field of another kind, and is then not claimed; what is
        no name cannot be one.  ``claimed_type`` says what was given.
        """
        kept_type = event_type if _is_free(event_type) else _PLAIN_TYPE
        claimed = {} if kept_type == event_type else {"claimed_type": event_type}
        outcome = self.extra.get("outcome")
        kept: dict[str, Any] = {}
        left = _MAX_DETAILS_BYTES
        omitted = 0
        for name, value in {**claimed, **self.extra, **self._own()}.items():
            member = {_key(name): _plain(value)}
            size = _size(member)
            if size > left:
                omitted += 1
            else:
                kept |= member
                left -= size
        if omitted:
            kept["omitted_fields"] = omitted
        reason = _text(self.message)
        if _size(reason) > _MAX_REASON_BYTES:
            reason = "the message is too long for a record"
            kept["message"] = _summary(_text(self.message))
        return kept_type, {
            "outcome": cast("Outcome", outcome) if _is_outcome(outcome) else self._outcome(),
            "reason": reason,
            "severity": self.severity,
            "details": kept,
        }

    def _outcome(self) -> Outcome:
        return "failure" if self.severity in ("error", "critical") else "success"

    def _own(self) -> dict[str, Any]:
        own: dict[str, Any] = {"logger": self.logger}
        if self.exception is not None:
            kind = type(self.exception)
            own["exception"] = {
                "type": f"{kind.__module__}.{kind.__qualname__}",
                "message": _message_of(self.exception),
            }
        return own


def _is_free(event_type: object) -> TypeGuard[str]:
    return (
        isinstance(event_type, str)
        and EVENT_TYPE.fullmatch(event_type) is not None
        and not event_type.startswith(LIBRARYS_OWN)
        and event_type not in EVENT_TYPES
    )


def _is_outcome(value: object) -> bool:
    return isinstance(value, str) and value in OUTCOMES


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (a foreign __str__ may raise anything)
        return "<its text cannot be had>"


def _text(text: str) -> str:
    """The text without lone surrogates."""
    return str.__str__(text).encode("utf-8", "backslashreplace").decode()


def _key(name: object) -> str:
    text = _text(name) if isinstance(name, str) else f"<{type(name).__qualname__}>"
    return text if len(text) <= 256 else f"{text[:32]}… {sha256(text.encode()).hexdigest()[:12]}"


def _summary(text: str) -> dict[str, Any]:
    digest = sha256(text.encode()).hexdigest()
    return {"length": len(text), "hash": f"sha256:{digest}"}


def _size(value: Any) -> int:
    try:
        return len(orjson.dumps(clean(value, "")))
    except InvalidEvent:
        return _MAX_DETAILS_BYTES + 1


def _plain(value: Any, depth: int = 0) -> Any:
    """The value where a record can hold it, else what can be said instead."""
    if isinstance(value, str):
        text = _text(value)
        return text if _size(text) <= _MAX_VALUE_BYTES else _summary(text)
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {_key(name): _plain(item, depth + 1) for name, item in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if not isinstance(value, (Mapping, list, tuple)) and _size(value) <= _MAX_VALUE_BYTES:
        return value
    return f"<{type(value).__qualname__}>"
