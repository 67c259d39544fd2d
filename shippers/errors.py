"""Define the errors of shipping, one class for each cause; the fields are those of AuditLogError.

A failed delivery is not an error but a DeliveryOutcome: it is retried or quarantined.  These errors
end a service, a set-up or a one-off run, and never lose a record.
"""

from __future__ import annotations

from typing import Any

from auditlog.errors import AuditLogError, LogLocked

__all__ = [
    "AlreadyShipping",
    "ArchiveUnavailable",
    "DuplicateLog",
    "ObjectExists",
    "ObjectMissing",
    "QuarantineDamaged",
    "SchemaTooNew",
    "ShipperError",
    "ShippingStalled",
    "SinkRefused",
    "SourceUnreadable",
]


class ShipperError(AuditLogError):
    """Base of every error this package raises."""


class AlreadyShipping(ShipperError, LogLocked):
    """Another process ships with this state directory."""


class DuplicateLog(ShipperError):
    """Two directories hold a log of the same name; their records would get the same ids."""


class QuarantineDamaged(ShipperError):
    """The quarantine file holds a line that this program did not write; it was left unchanged."""


class ShippingStalled(ShipperError):
    """The sink accepted nothing for as long as the caller was willing to wait."""


class SinkRefused(ShipperError):
    """The sink refuses a step: wrong credentials, lacking privileges, or another kind of server."""


class ArchiveUnavailable(ShipperError):
    """The archive cannot be reached, or refuses a request; ``code`` is the server's, if any."""

    def __init__(self, reason: str, *, code: str = "", **where: Any) -> None:
        super().__init__(reason, **where)
        self.code = code


class ObjectExists(ArchiveUnavailable):
    """The archive has an object of this name already."""


class ObjectMissing(ArchiveUnavailable):
    """The archive has no object of this name, or not this version of it."""


class SourceUnreadable(ShipperError):
    """The program or file of a source cannot be read; it is tried again."""


class SchemaTooNew(ShipperError):
    """The SQLite file was written by a newer version of this program; it was left unchanged."""
