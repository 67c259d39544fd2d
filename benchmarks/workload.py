"""The events that benchmarks write.

even      typed, with one of 32 actors, about 745 bytes a record, 10 times less when compressed
entropy   by name, with random ids, 10,000 users and free text, about 540 bytes a record, 5.7 times
          less when compressed (hash and salt alone are 48 random bytes)
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

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


WORKLOADS: Final = ("even", "entropy")
VARIABLE: Final = "BENCHMARK_WORKLOAD"
"""The environment variable that tells the cases which workload was asked for."""

_WORDS: Final = tuple(
    re.findall(
        r"\w+",
        """the a no is was by for of on in to model node pool queue task worker memory token request
        disk busy free full late lost slow wrong closed denied drained evicted expired missing moved
        refused retried stopped unknown after before because until while without""",
    )
)


def chosen() -> str:
    """Return the workload that was asked for."""
    return os.environ.get(VARIABLE, "even")


def with_entropy(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the fields of so many events; one seed always gives the same."""
    rng = random.Random(seed)  # to be repeatable, and no secret
    for _ in range(count):
        user = rng.randrange(10_000)
        yield {
            "actor": {"user_id": user_of(user), "ip": address_of(user)},
            "resource": {"resource_type": "task", "resource_id": rng.randbytes(4).hex()},
            "reason": " ".join(rng.choices(_WORDS, k=rng.randint(2, 4))),
            "correlation_id": rng.randbytes(4).hex(),
        }


def emit_events(log: auditlog.Log, records: int, workload: str) -> None:
    """Emit so many events of a workload."""
    if workload == "entropy":
        for fields in with_entropy(records):
            log.emit("task_refused", **fields)
    else:
        for event in events(records):
            log.emit(event)


def write_log(
    directory: Path, records: int, *, host: str = "hive1", workload: str = "even"
) -> Path:
    """Write a log of so many events in one segment, however large, and return it."""
    with auditlog.open(
        directory, service="queen-rbee", host=host, flush="batched", max_segment_bytes=64 << 30
    ) as log:
        emit_events(log, records, workload)
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
