"""Checkpoints of the evidence log are stamped every hour, and nothing waits for the authority."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.checkpoint_file import Signed
from auditlog.evidence.note import Signer
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.service import EvidenceOptions, EvidenceService
from auditlog.evidence.stamping import Stamping, newest_stamp
from auditlog.evidence.timestamp import TimeStampAuthority, attested_at
from tests.support.logs import write_log
from tests.support.programs import require
from tests.support.trees import ORIGIN, leaves_of, signed
from tests.support.tsa import authority
from tests.support.waiting import eventually
from tests.support.witnesses import answering

KEY = Signer(ORIGIN, bytes(range(32)))
HOUR = dt.timedelta(hours=1)


def checkpoint_of(size: int, at: dt.datetime) -> Signed:
    note = signed(leaves_of(size), KEY)
    return Signed(at, Checkpoint.parse(note.text), note)


def test_hourly(tmp_path: Path) -> None:
    require("openssl")
    now = dt.datetime.now(dt.UTC)
    with authority(tmp_path / "tsa") as tsa:
        stamping = Stamping(TimeStampAuthority(tsa.url, tsa.ca_file))
        for size, later in ((3, 0), (4, 59), (5, 61)):
            at = now + dt.timedelta(minutes=later)
            stamping.offer(checkpoint_of(size, at), tmp_path, at)
            stamping.join(60)
            assert stamping.trouble == ""
        kept = sorted(path.name for path in (tmp_path / "timestamps").iterdir())
        assert kept == ["3.checkpoint", "3.tsr", "5.checkpoint", "5.tsr"]
        newest = newest_stamp(tmp_path)
        assert newest is not None
        assert newest.size == 5
        content = (tmp_path / "timestamps/5.checkpoint").read_bytes()
        assert content == checkpoint_of(5, now).note.to_bytes()
        attested_at(newest.reply.read_bytes(), content, tsa.ca_file)
        # Another process goes on from what is kept.
        another = Stamping(TimeStampAuthority(tsa.url, tsa.ca_file))
        for size, later in ((6, 50), (7, 62)):
            at = newest.kept_at + dt.timedelta(minutes=later)
            another.offer(checkpoint_of(size, at), tmp_path, at)
            another.join(60)
        newest = newest_stamp(tmp_path)
        assert newest is not None
        assert newest.size == 7


def test_apart(tmp_path: Path) -> None:
    """The authority hangs, then it refuses; it is asked again after five minutes."""
    asked, go_on = threading.Event(), threading.Event()
    now = dt.datetime.now(dt.UTC)

    def hang(_: bytes) -> tuple[int, bytes]:
        asked.set()
        go_on.wait(60)
        return 503, b""

    with answering(hang) as told:
        stamping = Stamping(TimeStampAuthority(told.url, tmp_path / "ca.pem"))
        for _ in range(3):
            stamping.offer(checkpoint_of(3, now), tmp_path, now)
        assert asked.wait(60)
        go_on.set()
        eventually(lambda: "503" in stamping.trouble)
        assert newest_stamp(tmp_path) is None
        assert len(told.bodies) == 1
        for minutes, count in ((4, 1), (6, 2)):
            stamping.join(60)
            at = now + dt.timedelta(minutes=minutes)
            stamping.offer(checkpoint_of(3, at), tmp_path, at)
            stamping.join(60)
            assert len(told.bodies) == count


def test_the_service_stamps_the_log_of_checkpoints_and_tells_of_trouble(tmp_path: Path) -> None:
    require("openssl")
    write_log(tmp_path / "audit", "queen-rbee@hive1", records=5)

    def run(url: str, ca_file: Path) -> dict[str, str]:
        state = ProofState(tmp_path / "state", machine="")
        stamping = Stamping(TimeStampAuthority(url, ca_file))
        key = Signer("audit.example.com/hive1", bytes(range(32)))
        service = EvidenceService(
            [tmp_path / "audit"], state, key, EvidenceOptions(), host="hive1", stamping=stamping
        )
        return {each.log: each.trouble for each in service.run_once(dt.timedelta(seconds=60))}

    own = tmp_path / "state/proofs/evidence@hive1"
    with authority(tmp_path / "tsa") as tsa:
        told = run("http://127.0.0.1:9/tsa", tsa.ca_file)
        assert told["queen-rbee@hive1"] == ""
        assert "the time-stamping authority" in told["evidence@hive1"]
        assert newest_stamp(own) is None
        assert set(run(tsa.url, tsa.ca_file).values()) == {""}
    stamp = newest_stamp(own)
    assert stamp is not None
    assert stamp.size > 0
    assert newest_stamp(tmp_path / "state/proofs/queen-rbee@hive1") is None
