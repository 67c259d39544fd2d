"""Define the command line's errors, with the fields of AuditLogError."""

from __future__ import annotations

from auditlog.errors import AuditLogError

__all__ = ["ArchiveDamaged", "BadPath", "CommandFailed", "ConfigError"]


class ConfigError(AuditLogError):
    """The configuration cannot be used; nothing was started.  Exit code 65."""


class BadPath(AuditLogError):
    """A path on the command line does not exist, or is of the wrong kind.  Exit code 2."""


class CommandFailed(AuditLogError):
    """The command failed, for the reason that it gives.  Exit code 1."""


class ArchiveDamaged(AuditLogError):
    """An archive is not one of our exports, or is damaged.  Exit code 65."""
