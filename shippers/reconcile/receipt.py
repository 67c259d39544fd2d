"""Report a reconciliation as a receipt that an auditor can check independently.

For every log and day it states, for the files and for the sink, the number of records, the first
and last sequence number, the newest hash, and a digest of all hashes in order.  Each of these can
be computed from the files, or from an export of the index, with jq and sha256sum.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from auditlog.format.record import format_timestamp

if TYPE_CHECKING:
    from shippers.reconcile.comparison import Side, TombstoneCheck

__all__ = ["MAX_DISCREPANCIES", "DayReceipt", "Discrepancy", "LogReceipt", "Receipt"]

SCHEMA: Final = "auditctl.reconcile/1"
MAX_DISCREPANCIES: Final = 1000
"""Maximum number of discrepancies listed for one log; further ones are counted."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One difference between files and sink that remains.

    kind   missing, different, extra, refused (by the sink), damaged (in the file), deleted (a
           segment with a tombstone that is not whole in the sink), erased (a record that was erased
           and is still in the sink), missing_log (the sink has a log
           of which no file is left)
    """

    kind: str
    day: str
    seq: int | None
    detail: str

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "day": self.day, "seq": self.seq, "detail": self.detail}


@dataclass(slots=True)
class DayReceipt:
    """One log and day.  ``missing``, ``different`` and ``extra`` count what was found.

    ``reshipped`` of the missing ones are there now; ``pending`` are not shipped yet;
    ``unsearchable`` were found by their ids alone: the sink's searches do not see them yet;
    ``retired`` were in an index that retention deleted.
    """

    day: str
    files: Side
    sink: Side
    missing: int = 0
    different: int = 0
    extra: int = 0
    pending: int = 0
    reshipped: int = 0
    unsearchable: int = 0
    retired: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "day": self.day,
            "files": _side(self.files),
            "sink": _side(self.sink),
            "missing": self.missing,
            "different": self.different,
            "extra": self.extra,
            "pending": self.pending,
            "reshipped": self.reshipped,
            "unsearchable": self.unsearchable,
            "retired": self.retired,
        }


@dataclass(slots=True)
class LogReceipt:
    """One log; ``deleted`` are the segments that retention deleted, as the sink has them."""

    log: str
    days: list[DayReceipt] = field(default_factory=list)
    deleted: list[TombstoneCheck] = field(default_factory=list)
    discrepancies: list[Discrepancy] = field(default_factory=list)
    omitted: int = 0

    @property
    def ok(self) -> bool:
        return not self.discrepancies

    def add(self, kind: str, day: str, seq: int | None, detail: str) -> None:
        if len(self.discrepancies) < MAX_DISCREPANCIES:
            self.discrepancies.append(Discrepancy(kind, day, seq, detail))
        else:
            self.omitted += 1

    def total(self, name: str) -> int:
        return sum(int(getattr(day, name)) for day in self.days)

    def to_json(self) -> dict[str, Any]:
        return {
            "log": self.log,
            "ok": self.ok,
            "days": [day.to_json() for day in self.days],
            "deleted": [
                {
                    "segment": check.tombstone.segment,
                    "first_seq": check.tombstone.first_seq,
                    "last_seq": check.tombstone.last_seq,
                    "last_hash": check.tombstone.last_hash,
                    "records_in_sink": check.records,
                    "ok": check.ok,
                }
                for check in self.deleted
            ],
            "findings": [one.to_json() for one in self.discrepancies],
            "findings_omitted": self.omitted,
        }


@dataclass(slots=True)
class Receipt:
    """All logs at one sink; ``strangers``: count and names of documents that belong to no log."""

    sink: str
    address: str
    at: dt.datetime
    logs: list[LogReceipt] = field(default_factory=list)
    strangers: tuple[int, list[str]] = (0, [])

    @property
    def ok(self) -> bool:
        return not self.strangers[0] and all(log.ok for log in self.logs)

    def total(self, name: str) -> int:
        return sum(log.total(name) for log in self.logs)

    def to_json(self) -> dict[str, Any]:
        """The object that ``auditctl reconcile --json`` prints and ``--receipt`` keeps."""
        names = ("missing", "different", "extra", "pending", "reshipped", "retired")
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "at": format_timestamp(self.at),
            "sink": self.sink,
            "address": self.address,
            "logs": [log.to_json() for log in self.logs],
            "strangers": {"count": self.strangers[0], "ids": self.strangers[1]},
            "totals": {
                "files": sum(day.files.records for log in self.logs for day in log.days),
                "sink": sum(day.sink.records for log in self.logs for day in log.days),
                **{name: self.total(name) for name in names},
            },
        }


def _side(side: Side) -> dict[str, Any]:
    return {
        "records": side.records,
        "first_seq": side.first_seq,
        "last_seq": side.last_seq,
        "head_hash": side.head_hash or None,
        "hashes_sha256": side.digest,
    }
