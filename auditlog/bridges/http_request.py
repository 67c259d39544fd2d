"""Describe an HTTP request in the details of an event.  Pure.

Never a body, a query string, or a header other than those that carry ids and addresses.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final, TypeAlias

from auditlog.events.actor import Actor, Outcome, Severity
from auditlog.redaction.redactor import UNCUT

__all__ = [
    "NOT_RECORDED",
    "ActorLike",
    "chosen_id",
    "exception_type",
    "judged",
    "path_details",
]

ActorLike: TypeAlias = Actor | Mapping[str, Any] | str | None
"""Return value of a middleware's ``actor`` function; a string is a user id."""

NOT_RECORDED: Final = b"The request could not be recorded in the audit log.\n"
"""The body of a 503 in place of a response that has no record."""

_CORRELATION_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_MAX_PATH: Final = 1024


def chosen_id(given: Iterable[str | None]) -> str:
    """Return the first id that is plain ASCII of at most 128 characters, or a new one."""
    for value in given:
        if value is not None and _CORRELATION_ID.fullmatch(value) is not None:
            return value
    return uuid.uuid4().hex


def path_details(path: str) -> dict[str, Any]:
    """Return the path, of a long one the beginning, so that no path makes a record too large."""
    text = path.encode("utf-8", "backslashreplace").decode()
    if len(text) <= _MAX_PATH:
        return {"path": text}
    digest = sha256(text.encode()).hexdigest()
    # Cleaned before it is cut: half a secret is not recognised as one.
    beginning = UNCUT.text(text[: 16 * _MAX_PATH], "path")[:_MAX_PATH]
    return {"path": beginning, "path_length": len(text), "path_hash": f"sha256:{digest}"}


def judged(status: int | None) -> tuple[Outcome, Severity]:
    """Return outcome and severity of a response; None: there was none."""
    if status is None or status >= 500:
        return "failure", "error"
    if status in (401, 403, 429):
        return "failure", "warning"
    return ("failure" if status >= 400 else "success"), "info"


def exception_type(error: BaseException) -> dict[str, str]:
    """Return an exception by its type: its message may quote what was sent."""
    kind = type(error)
    return {"type": f"{kind.__module__}.{kind.__qualname__}"}
