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

__all__ = ["log_to_stderr"]

_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, 2)
        text = super().format(record)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show our own log lines from ``level`` on, and warnings of libraries."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        formatter = logging.Formatter(
            "%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ"
        )
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    # Each failed request; the shippers say once that a sink is down, and once that it is back.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    logging.getLogger("auditlog").setLevel(level)
