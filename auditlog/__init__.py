"""Audit logs that survive crashes, reach the index exactly once and prove what was deleted.

>>> import auditlog, tempfile
>>> from auditlog import events
>>> directory = tempfile.mkdtemp()
>>> with auditlog.open(directory, service="queen-rbee", host="hive1") as log:
...     ticket = log.emit("pool.drained", actor={"user_id": "alice"}, details={"pool": "a"})
>>> ticket.done(), ticket.log
(True, 'queen-rbee@hive1')
>>> auditlog.verify(directory).ok
True
>>> [record.event_type for record in auditlog.read(directory)]
['log.segment_opened', 'log.opened', 'pool.drained', 'log.closed']
"""

from auditlog import events
from auditlog.actor import Actor, Resource
from auditlog.context import bind
from auditlog.errors import (
    AuditLogError,
    BufferFull,
    CursorDamaged,
    ForkedLog,
    InvalidEvent,
    InvalidName,
    LogClosed,
    LogDamaged,
    LogFailed,
    LogLocked,
    RecordTooLarge,
    UnsafePath,
)
from auditlog.flush_policy import FlushPolicy
from auditlog.opening import open_log as open  # noqa: A004  (as io.open and gzip.open: auditlog.open)
from auditlog.reader import read
from auditlog.record import Record
from auditlog.stats import Stats
from auditlog.ticket import Ticket
from auditlog.verify import Report, verify
from auditlog.writer import Log

__all__ = [
    "Actor",
    "AuditLogError",
    "BufferFull",
    "CursorDamaged",
    "FlushPolicy",
    "ForkedLog",
    "InvalidEvent",
    "InvalidName",
    "Log",
    "LogClosed",
    "LogDamaged",
    "LogFailed",
    "LogLocked",
    "Record",
    "RecordTooLarge",
    "Report",
    "Resource",
    "Stats",
    "Ticket",
    "UnsafePath",
    "bind",
    "events",
    "open",
    "read",
    "verify",
]
