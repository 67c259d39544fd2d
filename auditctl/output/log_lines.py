"""Write log messages to stderr, one line each, in the form that the journal understands.

Under systemd a line begins with its priority (sd-daemon(3)) and the journal adds the time;
otherwise it begins with the time.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Final

__all__ = ["escaped", "log_to_stderr"]

_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_SHORT: Final = {0x09: r"\t", 0x0A: r"\n", 0x0D: r"\r"}


class _OneLineFormatter(logging.Formatter):
    """Escapes what is not printable: a file name or a server's text must not forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        record.message = escaped(record.getMessage())
        record.asctime = self.formatTime(record, self.datefmt)
        text = self.formatMessage(record)
        if record.exc_info:
            text = "\n".join((text, self.formatException(record.exc_info)))
        return text


class _JournalFormatter(_OneLineFormatter):
    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, 2)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def escaped(text: str) -> str:
    r"""The text with an escape for each character that is not printable.

    They are those of records (auditlog.redaction.visible), ``\u202e`` or ``\U000e0041``, and
    ``\n``, ``\r`` and ``\t``.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    if code in _SHORT:
        return _SHORT[code]
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show our own log lines from ``level`` on, and warnings of libraries."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        formatter = _OneLineFormatter(
            "%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ"
        )
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    # It logs each failed request; the shippers log once that a sink is down or up again.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    logging.getLogger("auditlog").setLevel(level)
