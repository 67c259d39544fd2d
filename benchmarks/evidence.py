"""Measure the cost of a signed record in the agent: CPU time beside shipping alone, and memory."""

from __future__ import annotations

import datetime as dt
import os
import resource
import tempfile
from hashlib import sha256
from pathlib import Path

from auditlog.evidence.note import Signer
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.signer import LogSigner
from auditlog.evidence.tree_appender import TreeAppender
from auditlog.evidence.tree_store import TreeStore
from auditlog.reading.inventory import scan
from benchmarks import verify
from benchmarks.cost import ship_nowhere
from benchmarks.harness import Case, Ratio
from benchmarks.verify import setting

RECORDS = verify.RECORDS
TITLE = f"Evidence: what a signed record costs the agent, {RECORDS:,} records"
UNIT = "us or MB"
_STEP = 100_000
__all__ = ["CASES", "RATIOS", "TITLE", "UNIT", "setting"]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _sign() -> float:
    """Microseconds of CPU a record: read it, hash it, keep the tree durable, sign."""
    directory = Path(os.environ["BENCHMARK_LOG"])
    [(log, segments)] = scan(directory).logs.items()
    key = Signer("audit.example.com/hive1", bytes(32))
    with tempfile.TemporaryDirectory() as place:
        before = _cpu_seconds()
        signer = LogSigner(ProofState(Path(place), machine=""), str(log), key)
        appender = TreeAppender(str(log), signer.tree, lambda: ())
        while appender.advance(segments):
            pass
        signed = signer.sign(dt.datetime.now(dt.UTC))
        appender.close()
        signer.close()
        if signed is None or signed.checkpoint.size < RECORDS:
            raise RuntimeError("not every record was signed")
        return (_cpu_seconds() - before) / signed.checkpoint.size * 1e6


def _leaves(first: int) -> list[bytes]:
    return [sha256(b"%d" % number).digest() for number in range(first, first + _STEP)]


def _memory(records: int) -> float:
    """MB that the process's peak grew by while a tree of so many records did."""
    with tempfile.TemporaryDirectory() as place:
        store = TreeStore(Path(place), 0)
        store.begin("2026-11-23.0001")
        store.extend(_leaves(0))
        store.sync()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for first in range(_STEP, records, _STEP):
            store.extend(_leaves(first))
            store.sync()
        store.close()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


CASES = {
    "ship": Case("read, chain verified, cursor durable; nothing signed", ship_nowhere),
    "sign": Case(
        "what signing adds: read, leaves and tree durable, checkpoint signed (aim: 2)", _sign
    ),
    "memory, 10^6": Case("growth of the peak over a tree of 10^6 records", lambda: _memory(10**6)),
    "memory, 10^7": Case("the same over 10^7 records", lambda: _memory(10**7)),
}
RATIOS = (Ratio("sign", "ship", None, at_least=False),)
