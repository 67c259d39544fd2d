"""The events every writer benchmark writes: typed, with an actor, about 500 bytes a record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import auditlog
from auditlog.events.actor import Actor
from auditlog.events.vocabulary import Event, TaskSubmitted

ACTORS = tuple(
    Actor(user_id=f"user-{number}", ip=f"10.0.0.{number}", auth_method="bearer_token")
    for number in range(1, 33)
)
PROMPT_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def typed(number: int, actor: Actor) -> Event:
    """One event of the vocabulary, built here: that is part of what a service pays."""
    return TaskSubmitted(
        actor=actor,
        task_id=f"task-{number}",
        model_ref="hf:meta-llama/Llama-3.1-8B-Instruct",
        prompt_length=1234,
        prompt_hash=PROMPT_HASH,
        max_tokens=512,
        correlation_id=f"req-{number}",
    )


def events(count: int) -> Iterator[Event]:
    for number in range(count):
        yield typed(number, ACTORS[number & 31])


def write_log(directory: Path, records: int, *, host: str = "hive1") -> Path:
    """Write a log of so many of these events in one segment, however large, and return it."""
    with auditlog.open(
        directory, service="queen-rbee", host=host, flush="batched", max_segment_bytes=64 << 30
    ) as log:
        for event in events(records):
            log.emit(event)
    (segment,) = directory.glob("*.ndjson")
    return segment


def user_of(number: int) -> str:
    """One of 10,000 users."""
    return f"user-{number % 10_000}"


def address_of(number: int) -> str:
    user = number % 10_000
    return f"10.{user >> 8}.{user & 255}.7"


def natural(number: int) -> dict[str, Any]:
    """The same event as plain mappings, as callers of emit by name and of others have it."""
    return {
        "actor": {
            "user_id": user_of(number),
            "ip": address_of(number),
            "auth_method": "bearer_token",
        },
        "resource": {"resource_type": "task", "resource_id": f"task-{number}"},
        "outcome": "success",
        "severity": "info",
        "correlation_id": f"req-{number}",
        "details": {
            "task_id": f"task-{number}",
            "model_ref": "hf:meta-llama/Llama-3.1-8B-Instruct",
            "prompt_length": 1234,
            "prompt_hash": PROMPT_HASH,
            "max_tokens": 512,
        },
    }
