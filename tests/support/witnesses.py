"""Witnesses to submit to: our own, one in Go, and one that answers as it is told."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from auditlog.evidence.note import Key
from auditlog.evidence.policy import TrustedWitness, TrustPolicy
from auditlog.evidence.witness import Witness, WitnessedLogs, open_state
from auditlog.evidence.witness_server import WitnessServer
from tests.support.judges import build
from tests.support.ports import free_port
from tests.support.posts import answering_posts

__all__ = ["answering", "go_witness", "our_witness", "policy_of"]


@contextmanager
def our_witness(directory: Path, keys: Sequence[Key], name: str = "w1") -> Iterator[TrustedWitness]:
    """A witness of ours that serves; its state stays for the next one."""
    directory.mkdir(exist_ok=True)
    logs = directory / "logs"
    logs.write_text("".join(f"{key}\n" for key in keys))
    signer, state = open_state(directory / "state", f"witness.example/{name}")
    memory = Witness(signer, state, WitnessedLogs(logs.read_text()))
    server = WitnessServer(("127.0.0.1", 0), memory, logs, None)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield TrustedWitness(name, signer.cosigner, f"http://127.0.0.1:{server.port}")
    finally:
        server.close()
        thread.join()
        state.close()


@contextmanager
def go_witness(directory: Path, keys: Sequence[Key], name: str = "go") -> Iterator[TrustedWitness]:
    """transparency-dev's witness (tests/judges/witnessd)."""
    program, port = build("witnessd"), free_port()
    (directory / "logs").write_text("".join(f"{key}\n" for key in keys))
    pub = directory / "pub"
    pub.unlink(missing_ok=True)
    process = subprocess.Popen(
        [program, "-listen", f"127.0.0.1:{port}", "-logs", directory / "logs", "-pub", pub],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready")
        key = Key.parse(pub.read_text().splitlines()[0])
        _await_port(port)
        yield TrustedWitness(name, key, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await_port(port: int) -> None:
    import socket

    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


@dataclass
class Told:
    """Answer the next requests with the given replies, and keep each request's body."""

    answer: Callable[[bytes], tuple[int, bytes]]
    bodies: list[bytes]
    url: str = ""


@contextmanager
def answering(answer: Callable[[bytes], tuple[int, bytes]]) -> Iterator[Told]:
    told = Told(answer, [])

    def reply(body: bytes) -> tuple[int, bytes]:
        told.bodies.append(body)
        return told.answer(body)

    with answering_posts(reply) as url:
        told.url = url
        yield told


def policy_of(
    logs: Sequence[Key], witnesses: Sequence[TrustedWitness], quorum: str = "all"
) -> TrustPolicy:
    lines = [f"log {key}" for key in logs]
    lines += [f"witness {each.name} {each.key} {each.url}" for each in witnesses]
    names = " ".join(each.name for each in witnesses)
    lines += [f"group everybody {quorum} {names}", "quorum everybody", ""]
    return TrustPolicy.parse("\n".join(lines).encode())
