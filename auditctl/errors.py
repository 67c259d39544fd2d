"""Define the errors of the command line; their fields are those of AuditLogError."""

from __future__ import annotations

from auditlog.errors import AuditLogError

__all__ = ["ArchiveDamaged", "BadPath", "CommandFailed", "ConfigError", "QueryError"]


class ConfigError(AuditLogError):
    """The configuration cannot be used; nothing was started.  Exit code 65."""


class BadPath(AuditLogError):
    """A path given by hand is not there, or is not what it has to be.  Exit code 2."""


class CommandFailed(AuditLogError):
    """The command could not do what it was asked, and says why.  Exit code 1."""


class QueryError(AuditLogError):
    """A query or a time cannot be understood; nothing was looked for.  Exit code 2."""


class ArchiveDamaged(AuditLogError):
    """An archive is no export of ours, or no longer whole.  Exit code 65."""
