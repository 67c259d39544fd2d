"""Build the bodies of records about the log itself (``log.…``).  Pure.

Callers cannot emit a type that starts with ``log.``, so these records are the library's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from auditlog.format.record import format_ns
from auditlog.writer.clock import SECOND_NS

if TYPE_CHECKING:
    from auditlog.format.segment_names import SegmentName
    from auditlog.writer.recovery import Recovered, Torn

__all__ = [
    "clock_stepped",
    "closed",
    "events_refused",
    "heartbeat",
    "opened",
    "recovered",
    "segment_opened",
    "space_low",
    "succeeded",
]


def segment_opened(
    service_host: str, previous: SegmentName | None, size: int, last_hash: str
) -> bytes:
    """First record of a segment: the segment before it, its size and its last hash."""
    details: dict[str, Any] = {"previous_segment": None}
    if previous is not None:
        details = {
            "previous_segment": previous.logical,
            "previous_bytes": size,
            "previous_hash": last_hash,
        }
    return _body("log.segment_opened", service_host, details)


def opened(
    service_host: str,
    recovered: Recovered,
    *,
    pid: int,
    flush: str,
    redaction_key: str | None = None,
    installation: str | None = None,
) -> bytes:
    """The log goes on: with which run before, up to which record that one was durable.

    ``previous_closed`` is false when that run was killed or lost power; whatever it had
    acknowledged has a number up to ``previous_seq``.  ``redaction_key`` names the key that its
    fingerprints are made with, ``installation`` the directory that the log is written in.
    """
    details: dict[str, Any] = {"pid": pid, "flush": flush}
    if recovered.predecessor is not None:
        names = ("predecessor", "predecessor_seq", "predecessor_hash")
        details |= dict(zip(names, recovered.predecessor, strict=True))
    if recovered.seq:
        details |= {"previous_closed": recovered.closed, "previous_seq": recovered.seq}
    if redaction_key is not None:
        details["redaction_key"] = redaction_key
    if installation is not None:
        details["installation"] = installation
    return _body("log.opened", service_host, details)


def succeeded(service_host: str, successor: str, now_ns: int) -> bytes:
    """This log lies in the future of the clock; ``successor`` is written instead."""
    details = {"successor": successor, "clock_at": format_ns(now_ns)}
    return _body("log.succeeded", service_host, details, "error")


def closed(service_host: str) -> bytes:
    return _body("log.closed", service_host, {})


def recovered(service_host: str, torn: Torn) -> bytes:
    """A torn tail was cut: where, how much, its SHA-256 and the file that keeps it."""
    details = {
        "segment": torn.segment,
        "offset": torn.offset,
        "bytes": torn.size_bytes,
        "sha256": torn.sha256,
        "kept": torn.kept,
    }
    return _body("log.recovered", service_host, details, "warning")


def events_refused(service_host: str, count: int) -> bytes:
    """Number of events that were refused since the last such record."""
    return _body("log.events_refused", service_host, {"count": count}, "error")


def heartbeat(service_host: str, details: Mapping[str, Any], counts: Mapping[str, int]) -> bytes:
    """The log is open and can be written to; ``details`` as in heartbeat.HeartbeatSchedule."""
    added = {"counts": counts} if counts else {}
    return _body("log.heartbeat", service_host, {**details, **added})


def clock_stepped(service_host: str, now_ns: int, step_ns: int) -> bytes:
    """The wall clock was moved by ``step_seconds`` and says ``clock_at`` now."""
    details = {"step_seconds": round(step_ns / SECOND_NS, 6), "clock_at": format_ns(now_ns)}
    return _body("log.clock_stepped", service_host, details, "warning")


def space_low(service_host: str, level: str, free_bytes: int) -> bytes:
    severity = "error" if level == "critical" else "warning"
    return _body(
        "log.space_low", service_host, {"level": level, "free_bytes": free_bytes}, severity
    )


def _body(
    event_type: str, service_host: str, details: Mapping[str, Any], severity: str = "info"
) -> bytes:
    members = f',"details":{orjson.dumps(details).decode()}' if details else ""
    return (
        f'"event_type":"{event_type}",{service_host},"outcome":"success","severity":"{severity}"'
        f"{members}"
    ).encode()
