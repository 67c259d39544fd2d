"""The power fails after any system call of a signer: no two roots are ever signed at one size."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from auditlog.errors import AuditLogError
from auditlog.evidence.merkle import TreeBuilder, leaf_hash
from auditlog.evidence.note import encode_base64
from tests.support.forked import ForkServer
from tests.support.power import TRACED, Disk, State, parse_trace
from tests.support.signing_task import AT, opened

STATES = int(os.environ.get("AUDITLOG_POWER_LOSS_STATES", "12")) // 2


def check(place: Path, given_out: dict[int, str]) -> None:
    """The signer goes on, and what it signs continues everything that anybody has of it."""
    lines = b"".join(path.read_bytes() for path in sorted((place / "audit").iterdir()))
    builder, roots = TreeBuilder(), dict[int, str]()
    for line in lines.split(b"\n"):
        builder.append(leaf_hash(line))
        roots[builder.size] = encode_base64(builder.root()) if builder.size in given_out else ""
    assert not given_out.items() - roots.items(), "what was signed is not what the log has"
    signer, growth = opened(place)
    try:
        kept = {e.checkpoint.size: encode_base64(e.checkpoint.root) for e in signer.signed}
        missing = given_out.items() - kept.items()
        assert not missing, f"given out and not kept: {missing}"
        signed = signer.sign(AT)
        assert signed is not None
        assert signed.checkpoint.size >= max(given_out, default=0)
        files = signer.tree.files()
        assert {size: encode_base64(files.root(size)) for size in kept} == kept
    finally:
        growth.close()
        signer.close()


def test_power_may_fail_after_every_system_call(
    places: Callable[[], Path], traced: ForkServer
) -> None:
    place, acks = places(), places() / "acks"
    child = traced.start("tests.support.signing_task:story", place=str(place), acks=str(acks))
    status, trace = child.run(["-xx", "-s", "200000", "-e", TRACED])
    assert status == 0
    disk, rng, given_out = Disk(place), random.Random(13), dict[int, str]()
    seen: set[State] = set()
    for index, operation in enumerate(parse_trace(trace)):
        if operation.name == "writev" and operation.strings[0].startswith(b"ack "):
            _, size, root = operation.strings[0].decode().split()
            given_out[int(size)] = root
        elif not disk.apply(operation):
            continue
        for state in disk.after_power_loss(rng, STATES):
            key = State((*state.files, (PurePosixPath(str(len(given_out))), None)))
            if key in seen:
                continue
            seen.add(key)
            left = places()
            state.put(left)
            (left / "audit").mkdir(exist_ok=True)
            try:
                check(left, given_out)
            except (AssertionError, OSError, AuditLogError) as error:
                shown = {str(path): None if raw is None else len(raw) for path, raw in state.files}
                when = f"after call {index}, {operation.name}({operation.strings[:1]!r:.90}"
                pytest.fail(f"power lost {when}: {type(error).__name__}: {error}\nleft: {shown}")
    assert len(given_out) == 5
    assert len(seen) > 100
