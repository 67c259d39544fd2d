"""Keep secrets and deceptive characters out of records."""

from auditlog.redaction.policy import Policy

__all__ = ["Policy"]
