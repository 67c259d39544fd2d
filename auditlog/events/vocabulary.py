"""Define the vocabulary: 35 types of events that an LLM orchestrator records.  Pure.

Every event also takes actor, resource, outcome, reason, severity, correlation_id and details
(see auditlog.events.base.Event).  Fields that an audit depends on are required.  Where an event
names its resource by a field of its own (task_id, pool_id), the resource follows from that when
none is given.  No field can take a prompt: only its length and a digest.

Invariants (tests of the same name in tests/auditlog/events/test_vocabulary.py):
  vocabulary   the types are those of the design, the critical ones marked
  no_prompt    no field's name or kind invites the text of a prompt
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from auditlog.events.actor import Outcome, Severity
from auditlog.events.base import Event
from auditlog.events.field_kinds import (
    Address,
    Changes,
    Count,
    Digest,
    Id,
    Instant,
    Label,
    Labels,
    Number,
    Text,
)

__all__ = [
    "EVENT_TYPES",
    "AuthFailure",
    "AuthSuccess",
    "AuthorizationDenied",
    "AuthorizationGranted",
    "DataDeleted",
    "Event",
    "GdprDataAccessRequest",
    "GdprDataExport",
    "GdprRightToErasure",
    "InferenceExecuted",
    "IntegrityViolation",
    "InvalidTokenUsed",
    "MalformedModelRejected",
    "ModelAccessed",
    "NodeDeregistered",
    "NodeRegistered",
    "PathTraversalAttempt",
    "PermissionChanged",
    "PolicyViolation",
    "PoolCreated",
    "PoolDeleted",
    "PoolModified",
    "RateLimitExceeded",
    "ResourceLimitViolation",
    "SealVerificationFailed",
    "SealVerified",
    "SuspiciousActivity",
    "TaskCanceled",
    "TaskCompleted",
    "TaskSubmitted",
    "TokenCreated",
    "TokenRevoked",
    "VramAllocated",
    "VramAllocationFailed",
    "VramDeallocated",
    "VramSealed",
]

# Authentication -----------------------------------------------------------------------------------


class AuthSuccess(Event):
    """A login or a token check succeeded; the actor is the identity that was proven."""

    method: Label | None = None
    path: Text | None = None


class AuthFailure(Event):
    """A login or a token check failed; ``attempted_user`` is as claimed, and need not exist."""

    critical: ClassVar[bool] = True
    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "critical"
    ip: Address
    attempted_user: Text | None = None
    path: Text | None = None


class TokenCreated(Event):
    """A token was issued; its fingerprint stands for it, never the token."""

    names: ClassVar[tuple[str, str] | None] = ("token", "token_fingerprint")
    token_fingerprint: Id
    scope: Labels
    expires_at: Instant | None = None


class TokenRevoked(Event):
    """A token was revoked."""

    critical: ClassVar[bool] = True
    default_severity: ClassVar[Severity] = "critical"
    names: ClassVar[tuple[str, str] | None] = ("token", "token_fingerprint")
    token_fingerprint: Id
    revoked_from: Label | None = None


# Authorization ------------------------------------------------------------------------------------


class AuthorizationGranted(Event):
    """The actor was allowed the action on the resource."""

    action: Label


class AuthorizationDenied(Event):
    """The actor was refused the action on the resource; ``reason`` says by which rule."""

    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "warning"
    action: Label


class PermissionChanged(Event):
    """The actor changed what ``subject`` may do."""

    names: ClassVar[tuple[str, str] | None] = ("subject", "subject")
    subject: Label
    old_permissions: Labels
    new_permissions: Labels


# Pools, nodes, tasks ------------------------------------------------------------------------------


class PoolCreated(Event):
    """A pool of workers for one model was set up."""

    names: ClassVar[tuple[str, str] | None] = ("pool", "pool_id")
    pool_id: Label
    model_ref: Label
    replicas: Count
    node_id: Label | None = None


class PoolDeleted(Event):
    """A pool was taken down."""

    names: ClassVar[tuple[str, str] | None] = ("pool", "pool_id")
    pool_id: Label
    model_ref: Label | None = None
    replicas_terminated: Count | None = None


class PoolModified(Event):
    """A pool was changed; ``changes`` maps what changed to its new value, or to old and new."""

    names: ClassVar[tuple[str, str] | None] = ("pool", "pool_id")
    pool_id: Label
    changes: Changes


class NodeRegistered(Event):
    """A host joined; sizes in GB as the host reports them."""

    names: ClassVar[tuple[str, str] | None] = ("node", "node_id")
    node_id: Label
    gpu_count: Count
    total_vram_gb: Number
    capabilities: Labels | None = None


class NodeDeregistered(Event):
    """A host left, or was removed."""

    names: ClassVar[tuple[str, str] | None] = ("node", "node_id")
    node_id: Label
    pools_affected: Labels | None = None


class TaskSubmitted(Event):
    """A task was submitted; ``prompt_length`` in characters, ``prompt_hash`` of its UTF-8."""

    names: ClassVar[tuple[str, str] | None] = ("task", "task_id")
    task_id: Id
    model_ref: Label
    prompt_length: Count | None = None
    prompt_hash: Digest | None = None
    max_tokens: Count | None = None


class TaskCompleted(Event):
    """A task ended; a failed one has outcome failure and a reason."""

    names: ClassVar[tuple[str, str] | None] = ("task", "task_id")
    task_id: Id
    worker_id: Label
    tokens_generated: Count
    duration_ms: Number


class TaskCanceled(Event):
    """A task was canceled before its end."""

    names: ClassVar[tuple[str, str] | None] = ("task", "task_id")
    task_id: Id
    worker_id: Label | None = None
    tokens_generated: Count | None = None


# VRAM ---------------------------------------------------------------------------------------------


class VramSealed(Event):
    """A model shard was loaded into VRAM and its digest taken."""

    names: ClassVar[tuple[str, str] | None] = ("shard", "shard_id")
    shard_id: Label
    gpu_device: Count
    vram_bytes: Count
    digest: Digest
    worker_id: Label


class SealVerified(Event):
    """A shard in VRAM still matches its digest."""

    names: ClassVar[tuple[str, str] | None] = ("shard", "shard_id")
    shard_id: Label
    digest: Digest
    worker_id: Label


class SealVerificationFailed(Event):
    """A shard in VRAM no longer matches its digest."""

    critical: ClassVar[bool] = True
    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "critical"
    names: ClassVar[tuple[str, str] | None] = ("shard", "shard_id")
    shard_id: Label
    expected_digest: Digest
    actual_digest: Digest
    worker_id: Label


class VramAllocated(Event):
    """VRAM was allocated to a worker; the device's figures are after the allocation."""

    requested_bytes: Count
    allocated_bytes: Count
    available_bytes: Count | None = None
    used_bytes: Count | None = None
    gpu_device: Count
    worker_id: Label


class VramAllocationFailed(Event):
    """A VRAM allocation failed."""

    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "error"
    requested_bytes: Count
    available_bytes: Count
    gpu_device: Count
    worker_id: Label


class VramDeallocated(Event):
    """VRAM was released."""

    freed_bytes: Count
    available_bytes: Count | None = None
    used_bytes: Count | None = None
    gpu_device: Count
    worker_id: Label


# Security -----------------------------------------------------------------------------------------


class RateLimitExceeded(Event):
    """A rate limit was exceeded: ``actual`` requests within ``window_seconds``."""

    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "warning"
    ip: Address
    endpoint: Text
    limit: Count
    actual: Count
    window_seconds: Number


class PathTraversalAttempt(Event):
    """A request named a path outside the directories it may use."""

    critical: ClassVar[bool] = True
    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "critical"
    attempted_path: Text
    endpoint: Text
    ip: Address | None = None


class InvalidTokenUsed(Event):
    """An unknown token was used; ``token_prefix`` is just long enough to identify it."""

    critical: ClassVar[bool] = True
    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "critical"
    ip: Address
    token_prefix: Text
    endpoint: Text


class PolicyViolation(Event):
    """A worker or a user violated a policy."""

    critical: ClassVar[bool] = True
    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "critical"
    policy: Label
    violation: Text
    worker_id: Label | None = None
    action_taken: Label | None = None


class SuspiciousActivity(Event):
    """A rule or a person reported unusual activity; ``risk_score`` on the rule's own scale."""

    critical: ClassVar[bool] = True
    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "critical"
    activity_type: Label
    risk_score: Number | None = None


class IntegrityViolation(Event):
    """A resource does not match its digest."""

    critical: ClassVar[bool] = True
    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "critical"
    expected_hash: Digest
    actual_hash: Digest
    action_taken: Label | None = None


class MalformedModelRejected(Event):
    """A malformed model file was rejected."""

    critical: ClassVar[bool] = True
    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "critical"
    names: ClassVar[tuple[str, str] | None] = ("model", "model_ref")
    model_ref: Label
    validation_error: Text
    action_taken: Label | None = None


class ResourceLimitViolation(Event):
    """A resource limit was exceeded; limit and actual in the same unit."""

    critical: ClassVar[bool] = True
    default_outcome: ClassVar[Outcome] = "failure"
    default_severity: ClassVar[Severity] = "critical"
    limit_name: Label
    limit: Number
    actual: Number
    worker_id: Label | None = None
    action_taken: Label | None = None


# Data and privacy ---------------------------------------------------------------------------------


class InferenceExecuted(Event):
    """A customer's data went through a model."""

    names: ClassVar[tuple[str, str] | None] = ("job", "job_id")
    customer_id: Label
    job_id: Id
    model_ref: Label
    tokens_processed: Count


class ModelAccessed(Event):
    """A model was read, listed or downloaded."""

    names: ClassVar[tuple[str, str] | None] = ("model", "model_ref")
    customer_id: Label
    model_ref: Label
    access_type: Label


class DataDeleted(Event):
    """A customer's data was deleted."""

    customer_id: Label
    data_types: Labels
    records_deleted: Count | None = None


class GdprDataAccessRequest(Event):
    """A person asked which data is held about them (GDPR article 15)."""

    names: ClassVar[tuple[str, str] | None] = ("customer", "customer_id")
    customer_id: Label
    requester: Label
    scope: Labels


class GdprDataExport(Event):
    """Personal data was handed out (GDPR articles 15 and 20)."""

    names: ClassVar[tuple[str, str] | None] = ("customer", "customer_id")
    customer_id: Label
    data_types: Labels
    export_format: Label
    file_hash: Digest


class GdprRightToErasure(Event):
    """Personal data was erased on request (GDPR article 17)."""

    names: ClassVar[tuple[str, str] | None] = ("customer", "customer_id")
    customer_id: Label
    completed_at: Instant
    data_types_deleted: Labels


EVENT_TYPES: Final[Mapping[str, type[Event]]] = MappingProxyType(
    {
        cls.event_type: cls
        for cls in list(globals().values())
        if isinstance(cls, type) and issubclass(cls, Event) and cls is not Event
    }
)
"""The vocabulary by event type."""
