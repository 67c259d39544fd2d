"""Write, read and verify crash-safe, hash-chained audit logs.

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
['pool.drained']

Importing it costs next to nothing: what a name stands for is loaded when it is first used.
"""

import os
from importlib import import_module

# The distribution django-auditlog has a package of the same name; its apps.py here means that both
# were installed into one place, and that each has overwritten files of the other.
_directory = os.path.dirname(__file__)  # noqa: PTH120  (pathlib would cost its import)
if os.path.exists(f"{_directory}/apps.py"):  # noqa: PTH110  (as above)
    raise ImportError(
        f"{_directory} holds files of two distributions, llama-orch-auditlog and"
        " django-auditlog, which both name their package auditlog. Install one of them alone, or"
        " each in an environment of its own; see docs/beside-django-auditlog.md."
    )

TYPE_CHECKING = False  # typing's own would cost the import of typing
if TYPE_CHECKING:
    from auditlog import events
    from auditlog.errors import (
        AuditLogError,
        BufferFull,
        ClockUnusable,
        CursorDamaged,
        ForkedLog,
        InvalidEvent,
        InvalidEventType,
        InvalidName,
        InvalidOption,
        LogClosed,
        LogDamaged,
        LogFailed,
        LogLocked,
        NoLog,
        NotAccessible,
        NotDurableYet,
        QueryError,
        RecordTooLarge,
        UnsafePath,
    )
    from auditlog.events.actor import Actor, Resource
    from auditlog.events.context import bind, bind_context, carry_context, unbind_context
    from auditlog.query.search import search
    from auditlog.reading.event_record import EventRecord as Record
    from auditlog.reading.selection import read
    from auditlog.verification.verify import Report, verify
    from auditlog.writer.flush_policy import FlushPolicy
    from auditlog.writer.lifetime import close_all
    from auditlog.writer.log import Log
    from auditlog.writer.opening import open_log as open  # noqa: A004  (as io.open and gzip.open: auditlog.open)
    from auditlog.writer.stats import Stats
    from auditlog.writer.ticket import Ticket

    __version__: str

__all__ = [
    "Actor",
    "AuditLogError",
    "BufferFull",
    "ClockUnusable",
    "CursorDamaged",
    "FlushPolicy",
    "ForkedLog",
    "InvalidEvent",
    "InvalidEventType",
    "InvalidName",
    "InvalidOption",
    "Log",
    "LogClosed",
    "LogDamaged",
    "LogFailed",
    "LogLocked",
    "NoLog",
    "NotAccessible",
    "NotDurableYet",
    "QueryError",
    "Record",
    "RecordTooLarge",
    "Report",
    "Resource",
    "Stats",
    "Ticket",
    "UnsafePath",
    "bind",
    "bind_context",
    "carry_context",
    "close_all",
    "events",
    "open",
    "read",
    "search",
    "unbind_context",
    "verify",
]

_HOMES = {
    "Actor": "events.actor",
    "FlushPolicy": "writer.flush_policy",
    "Log": "writer.log",
    "Record": "reading.event_record:EventRecord",
    "Report": "verification.verify",
    "Resource": "events.actor",
    "Stats": "writer.stats",
    "Ticket": "writer.ticket",
    "bind": "events.context",
    "bind_context": "events.context",
    "carry_context": "events.context",
    "close_all": "writer.lifetime",
    "events": "events",
    "open": "writer.opening:open_log",
    "read": "reading.selection",
    "search": "query.search",
    "unbind_context": "events.context",
    "verify": "verification.verify",
}
"""The module of each name, and its name there where that is another; the others are errors."""


def __getattr__(name: str) -> object:
    found: object
    if name == "__version__":
        found = import_module("importlib.metadata").version("llama-orch-auditlog")
    elif name in __all__:
        home, _, theirs = _HOMES.get(name, "errors").partition(":")
        module = import_module(f"{__name__}.{home}")
        found = module if name == "events" else getattr(module, theirs or name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
