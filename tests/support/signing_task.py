"""Run the signer of a log while its system calls are recorded (tests/durability)."""

from __future__ import annotations

import datetime as dt
import os
from contextlib import suppress
from pathlib import Path

from auditlog.errors import LogDamaged
from auditlog.evidence.note import Key, Signer, encode_base64
from auditlog.evidence.policy import TrustedWitness
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.service import EvidenceOptions, EvidenceService
from auditlog.evidence.signer import LogSigner
from auditlog.evidence.tree_appender import TreeAppender
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import scan
from tests.support.forked import at_barrier
from tests.support.logs import LogBuilder
from tests.support.witnesses import policy_of

__all__ = ["AT", "LOG", "cosigned", "opened", "service_of", "story"]

LOG = "queen-rbee@hive1"
AT = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
_KEY = Signer("audit.example.com/hive1", bytes(range(32)))


def opened(place: Path) -> tuple[LogSigner, TreeAppender]:
    signer = LogSigner(ProofState(place / "state", machine=""), LOG, _KEY)
    appender = TreeAppender(LOG, signer.tree, lambda: ())
    segments = scan(place / "audit").logs.get(LogId.parse(LOG), ())
    with suppress(LogDamaged):  # what nobody synced; its writer would cut it off
        if segments:
            appender.advance(segments)
    return signer, appender


def story(place: str, acks: str) -> None:
    """Write and sign by turns, with a restart of the signer between; each checkpoint is noted.

    The builder does not sync what it writes: nothing but the signer does.
    """
    at_barrier()
    noted = os.open(acks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    Path(place, "audit").mkdir()
    log = LogBuilder(Path(place, "audit"), LOG)
    for turn in range(5):
        log.append(60)
        if turn == 2:
            log.rotate()
            log.append(5)
        signer, appender = opened(Path(place))
        signed = signer.sign(AT)
        assert signed is not None
        root = encode_base64(signed.checkpoint.root)
        os.writev(noted, [f"ack {signed.checkpoint.size} {root}\n".encode()])
        appender.close()
        signer.close()


def service_of(place: Path, url: str, vkey: str) -> EvidenceService:
    """The signer of everything in the place, with one witness."""
    witness = TrustedWitness("w1", Key.parse(vkey), url)
    policy = policy_of([_KEY.renamed(f"{_KEY.name}/{LOG}").key], [witness])
    state = ProofState(place / "state", machine="")
    options = EvidenceOptions(dt.timedelta(0))
    return EvidenceService([place / "audit"], state, _KEY, options, policy=policy, host="hive1")


def cosigned(place: str, url: str, vkey: str) -> None:
    """From the leaf to the cosignature, once."""
    at_barrier()
    service_of(Path(place), url, vkey).run_once(dt.timedelta(seconds=60))
