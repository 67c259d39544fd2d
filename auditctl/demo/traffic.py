"""Run one demo service: emit realistic events and report the acknowledged ones.

Run as a process of its own (``python -m auditctl.demo.traffic``), so that it can be killed.  Each
acknowledged event is one line on stdout, ``seq hash``, written after its ticket has resolved.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import deque
from collections.abc import Iterator

import auditlog
from auditctl.exit_codes import ExitCode
from auditlog import events
from auditlog.events.actor import Actor
from auditlog.events.vocabulary import Event
from auditlog.writer.ticket import Ticket

_EVENTS_A_PAUSE = 200
_MODELS = ("hf:meta-llama/Llama-3.1-8B-Instruct", "hf:Qwen/Qwen2.5-7B-Instruct", "file:tiny.gguf")


def realistic(service: str, rng: random.Random) -> Iterator[Event]:
    """Events of such a service: mostly routine, some critical."""
    people = [
        Actor(user_id=f"user-{n}", ip=f"10.0.{n // 256}.{n % 256}", auth_method="bearer_token")
        for n in range(1, 200)
    ]
    number = 0
    while True:
        number += 1
        actor = rng.choice(people)
        request = f"req-{number}"
        chance = rng.random()
        if chance < 0.005:
            yield events.AuthFailure(
                attempted_user=actor.user_id,
                ip=actor.ip or "0.0.0.0",  # noqa: S104  (an address in an event, nothing listens)
                path="/v2/tasks",
                reason="unknown token",
                correlation_id=request,
            )
        elif service == "queen-rbee":
            yield _orchestrator_event(actor, number, request, chance, rng)
        else:
            yield _pool_event(actor, number, request, chance, rng)


def _orchestrator_event(
    actor: Actor, number: int, request: str, chance: float, rng: random.Random
) -> Event:
    if chance < 0.3:
        return events.AuthSuccess(actor=actor, path="/v2/tasks", correlation_id=request)
    if chance < 0.7:
        return events.TaskSubmitted(
            actor=actor,
            task_id=f"task-{number}",
            model_ref=rng.choice(_MODELS),
            prompt_length=rng.randint(20, 4000),
            prompt_hash=f"{rng.getrandbits(256):064x}",
            max_tokens=512,
            correlation_id=request,
        )
    return events.TaskCompleted(
        actor=actor,
        task_id=f"task-{number}",
        worker_id=f"worker-{rng.randint(1, 8)}",
        tokens_generated=rng.randint(1, 512),
        duration_ms=rng.randint(50, 20_000),
        correlation_id=request,
    )


def _pool_event(
    actor: Actor, number: int, request: str, chance: float, rng: random.Random
) -> Event:
    worker = f"worker-{rng.randint(1, 8)}"
    if chance < 0.5:
        size = rng.randint(1, 24) << 30
        return events.VramAllocated(
            requested_bytes=size,
            allocated_bytes=size,
            available_bytes=(80 << 30) - size,
            used_bytes=size,
            gpu_device=rng.randint(0, 7),
            worker_id=worker,
            correlation_id=request,
        )
    if chance < 0.7:
        return events.SealVerified(
            shard_id=f"shard-{number}",
            digest=f"{rng.getrandbits(256):064x}",
            worker_id=worker,
            correlation_id=request,
        )
    return events.InferenceExecuted(
        actor=actor,
        customer_id=f"customer-{rng.randint(1, 40)}",
        job_id=f"job-{number}",
        model_ref=rng.choice(_MODELS),
        tokens_processed=rng.randint(1, 8192),
        correlation_id=request,
    )


def run(directory: str, log_id: str, count: int, rate: float, seed: int) -> None:
    """Emit ``count`` events at about ``rate`` a second, in hybrid mode."""
    service, _, host = log_id.partition("@")
    rng = random.Random(seed)  # noqa: S311  (test traffic, not secrets)
    pending: deque[Ticket] = deque()
    with auditlog.open(
        directory, service=service, host=host, flush="hybrid", max_segment_bytes=1 << 20
    ) as log:
        began = time.monotonic()
        for number, event in zip(range(1, count + 1), realistic(service, rng), strict=False):
            pending.append(log.emit(event))
            if number % _EVENTS_A_PAUSE == 0:
                _acknowledge(pending)
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
        log.flush()
        _acknowledge(pending)


def _acknowledge(pending: deque[Ticket]) -> None:
    lines = []
    while pending and pending[0].done():
        ticket = pending.popleft().wait()
        lines.append(f"{ticket.seq} {ticket.hash}\n")
    sys.stdout.write("".join(lines))
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("log")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    try:
        run(arguments.directory, arguments.log, arguments.count, arguments.rate, arguments.seed)
    except BrokenPipeError:  # the demo was interrupted while it started this service: end with it
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # else Python complains of the same at its end
        sys.exit(ExitCode.PIPE_CLOSED)


if __name__ == "__main__":
    main()
