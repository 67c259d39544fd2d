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

Importing it costs next to nothing: what a name stands for is loaded when it is first used.
"""

from importlib import import_module

TYPE_CHECKING = False  # typing's own would cost the import of typing
if TYPE_CHECKING:
    from auditlog import events
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
        NoLog,
        NotDurableYet,
        RecordTooLarge,
        UnsafePath,
    )
    from auditlog.events.actor import Actor, Resource
    from auditlog.events.context import bind
    from auditlog.format.record import Record
    from auditlog.reading.reader import read
    from auditlog.verification.verify import Report, verify
    from auditlog.writer.flush_policy import FlushPolicy
    from auditlog.writer.lifetime import close_all
    from auditlog.writer.log import Log
    from auditlog.writer.opening import open_log as open  # noqa: A004  (as io.open and gzip.open: auditlog.open)
    from auditlog.writer.stats import Stats
    from auditlog.writer.ticket import Ticket

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
    "NoLog",
    "NotDurableYet",
    "Record",
    "RecordTooLarge",
    "Report",
    "Resource",
    "Stats",
    "Ticket",
    "UnsafePath",
    "bind",
    "close_all",
    "events",
    "open",
    "read",
    "verify",
]

_HOMES = {
    "Actor": "events.actor",
    "FlushPolicy": "writer.flush_policy",
    "Log": "writer.log",
    "Record": "format.record",
    "Report": "verification.verify",
    "Resource": "events.actor",
    "Stats": "writer.stats",
    "Ticket": "writer.ticket",
    "bind": "events.context",
    "close_all": "writer.lifetime",
    "events": "events",
    "open": "writer.opening",
    "read": "reading.reader",
    "verify": "verification.verify",
}
"""The module of each name; what is not here is an error."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
    found = module if name == "events" else getattr(module, "open_log" if name == "open" else name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
