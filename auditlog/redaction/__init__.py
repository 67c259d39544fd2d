"""Keep secrets, and characters that deceive a reader, out of records."""

from auditlog.redaction.policy import Policy

__all__ = ["Policy"]
