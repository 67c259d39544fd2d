"""Witnesses get the newest checkpoints, each in its own time."""

from __future__ import annotations

import datetime as dt
import threading
import time
from pathlib import Path

from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.checkpoint_file import Signed
from auditlog.evidence.cosigning import Cosigned, Cosigning
from auditlog.evidence.note import Signer
from auditlog.evidence.policy import TrustedWitness
from tests.auditlog.evidence.test_tree_store import LEAVES, grown
from tests.auditlog.evidence.test_witness_client import cosigning
from tests.support.trees import ORIGIN, signed, witness
from tests.support.waiting import eventually
from tests.support.witnesses import answering

SIGNER = Signer(ORIGIN, bytes(range(32)))
AT = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


def checkpoint(size: int) -> Signed:
    note = signed(LEAVES[:size], SIGNER)
    return Signed(AT, Checkpoint.parse(note.text), note)


def collected(cosigners: Cosigning, into: list[Cosigned]) -> list[Cosigned]:
    into += cosigners.results()
    return into


def test_newest(tmp_path: Path) -> None:
    """While the first submission is under way, others come; only the last of them is sent."""
    grown(tmp_path, to=50).close()
    held = threading.Event()

    def slow(body: bytes) -> tuple[int, bytes]:
        held.wait(20)
        return cosigning(body)

    found: list[Cosigned] = []
    with answering(slow) as told:
        cosigners = Cosigning([TrustedWitness("w1", witness(1).cosigner, told.url)])
        cosigners.start()
        cosigners.offer("log", checkpoint(10), tmp_path)
        eventually(lambda: len(told.bodies) == 1)
        for size in (20, 30, 50):
            cosigners.offer("log", checkpoint(size), tmp_path)
        held.set()
        eventually(lambda: len(collected(cosigners, found)) == 2)
        assert not cosigners.unanswered
        cosigners.stop()
    assert [each.signed.checkpoint.size for each in found] == [10, 50]
    assert [each.answer.outcome for each in found] == ["cosigned", "cosigned"]
    assert told.bodies[1].startswith(b"old 10\n"), "what it cosigned before is remembered"


def test_newest_after_a_witness_was_away(tmp_path: Path) -> None:
    grown(tmp_path, to=50).close()
    away = threading.Event()

    def answer(body: bytes) -> tuple[int, bytes]:
        return cosigning(body) if away.is_set() else (503, b"")

    found: list[Cosigned] = []
    with answering(answer) as told:
        cosigners = Cosigning([TrustedWitness("w1", witness(1).cosigner, told.url)])
        cosigners.start()
        cosigners.offer("log", checkpoint(10), tmp_path)
        eventually(lambda: len(collected(cosigners, found)) == 1)
        assert found[0].answer.outcome == "unavailable"
        cosigners.offer("log", checkpoint(50), tmp_path)
        away.set()
        eventually(lambda: collected(cosigners, found)[-1].answer.outcome == "cosigned")
        cosigners.stop()
    assert found[-1].signed.checkpoint.size == 50


def test_apart(tmp_path: Path) -> None:
    grown(tmp_path, to=10).close()
    held = threading.Event()

    def never(_: bytes) -> tuple[int, bytes]:
        held.wait(20)
        return 503, b""

    found: list[Cosigned] = []
    with answering(never) as silent, answering(cosigning) as quick:
        cosigners = Cosigning(
            [
                TrustedWitness("silent", witness(2).cosigner, silent.url),
                TrustedWitness("quick", witness(1).cosigner, quick.url),
                TrustedWitness("without-url", witness(3).cosigner),
            ]
        )
        cosigners.start()
        cosigners.offer("log", checkpoint(10), tmp_path)
        eventually(lambda: len(collected(cosigners, found)) == 1)
        assert found[0].witness == "quick"
        assert cosigners.unanswered
        begun = time.monotonic()
        cosigners.stop()
        assert time.monotonic() - begun < 5, "nothing waits for a request that is under way"
        held.set()
