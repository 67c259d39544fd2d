"""Power loss or SIGKILL at any system call of a signer: no two roots are signed at one size."""

from __future__ import annotations

import datetime as dt
import os
import random
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from auditlog.errors import AuditLogError
from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.checkpoint_file import read_checkpoints
from auditlog.evidence.collection import from_logs
from auditlog.evidence.merkle import TreeBuilder, leaf_hash
from auditlog.evidence.note import Signer, encode_base64
from auditlog.evidence.witness_client import fetch_checkpoint
from tests.support.forked import ForkServer
from tests.support.logs import LogBuilder
from tests.support.power import TRACED, Disk, State, parse_trace
from tests.support.signing_task import AT, LOG, opened, service_of
from tests.support.witnesses import our_witness

STATES = int(os.environ.get("AUDITLOG_POWER_LOSS_STATES", "12")) // 2


def check(place: Path, given_out: dict[int, str]) -> None:
    """The signer goes on, and what it signs continues everything that anybody has of it."""
    lines = b"".join(path.read_bytes() for path in sorted((place / "audit").iterdir()))
    builder, roots = TreeBuilder(), dict[int, str]()
    for line in lines.split(b"\n"):
        builder.append(leaf_hash(line))
        roots[builder.size] = encode_base64(builder.root()) if builder.size in given_out else ""
    assert not given_out.items() - roots.items(), "what was signed is not what the log has"
    signer, appender = opened(place)
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
        appender.close()
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


STRUCK = (
    "openat", "mkdir", "flock", "fchmod", "ftruncate", "write", "pwrite64", "fsync", "fdatasync",
    "rename", "socket", "connect", "sendto", "recvfrom",
)  # fmt: skip


@pytest.mark.parametrize("call", STRUCK)
def test_killed_at_any_system_call_between_the_leaf_and_the_cosignature(
    places: Callable[[], Path], traced: ForkServer, tmp_path: Path, call: str
) -> None:
    """One log grows through all kills; each time, the signer that comes next goes on."""
    place = places()
    (place / "audit").mkdir()
    log, given_out = LogBuilder(place / "audit", LOG), dict[tuple[str, int], bytes]()
    key = Signer("audit.example.com/hive1", bytes(range(32)))
    keys = [key.renamed(f"{key.name}/{name}").key for name in (LOG, "evidence@hive1")]
    with our_witness(tmp_path / "witness", keys) as witness:
        arguments = {"place": str(place), "url": witness.url, "vkey": str(witness.key)}
        for nth in range(1, 1000):
            log.append(3)
            child = traced.start("tests.support.signing_task:cosigned", **arguments)
            status, _ = child.run(["-e", f"inject={call}:signal=KILL:when={nth}"])
            collect(place, witness.url, [each.name for each in keys], given_out)
            found = service_of(place, witness.url, str(witness.key)).run_once(
                dt.timedelta(seconds=60)
            )
            assert [each.trouble for each in found] == ["", ""], f"{call} {nth}"
            of_log = next(each for each in found if each.log == LOG)
            assert of_log.witnessed_seq == nth * 3, f"{call} {nth}"
            if status == 0:
                break
            assert status == -9
    assert nth > 1, "nothing was killed"


def collect(
    place: Path, url: str, origins: list[str], given_out: dict[tuple[str, int], bytes]
) -> None:
    """Every checkpoint that there is anywhere; no two of one log and size differ."""
    notes = [note for origin in origins if (note := fetch_checkpoint(url, origin)) is not None]
    notes += [each.note for each in from_logs(place / "audit")]
    for path in (place / "state/proofs").glob("*/checkpoints"):
        notes += [each.note for each in read_checkpoints(path)[0]]
    for note in notes:
        checkpoint = Checkpoint.parse(note.text)
        name = checkpoint.origin, checkpoint.size
        assert given_out.setdefault(name, checkpoint.root) == checkpoint.root
