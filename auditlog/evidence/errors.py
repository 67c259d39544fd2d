"""Define the errors of auditlog.evidence; see auditlog.errors."""

from __future__ import annotations

from auditlog.errors import AuditLogError

__all__ = ["BadEvidence", "EvidenceError", "SignerBusy", "SigningStopped"]


class EvidenceError(AuditLogError):
    """Base of the errors of auditlog.evidence."""


class BadEvidence(EvidenceError, ValueError):
    """A note, checkpoint, policy, key or proof that is malformed or that does not verify."""


class RevokedKey(BadEvidence):
    """A checkpoint of a key that was revoked before a quorum had cosigned it."""


class SignerBusy(EvidenceError):
    """Another process signs with this state."""


class SigningStopped(EvidenceError):
    """A log must not be signed any more: a signature would contradict an earlier one."""
