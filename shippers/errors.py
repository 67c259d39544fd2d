"""What can go wrong in shipping, one class a cause; the fields are those of AuditLogError.

Trouble with a single delivery is not an error but an Outcome: it is retried or quarantined.  What
is raised here ends a service, a set-up or a one-off run, and never loses a record.
"""

from __future__ import annotations

from auditlog.errors import AuditLogError, LogLocked

__all__ = [
    "AlreadyShipping",
    "DuplicateLog",
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
    """Two directories hold a log of one name; their records would get the same ids."""


class QuarantineDamaged(ShipperError):
    """The quarantine file holds something that this program did not write; it was not touched."""


class ShippingStalled(ShipperError):
    """Nothing more was accepted for as long as the caller would wait; what is left is unshipped."""


class SinkRefused(ShipperError):
    """The sink refuses a set-up step: credentials, privileges, or it is no such server."""


class SourceUnreadable(ShipperError):
    """What a source reads by does not give anything; it is tried again."""


class SchemaTooNew(ShipperError):
    """The SQLite file was written by a newer version of this program; it was not touched."""
