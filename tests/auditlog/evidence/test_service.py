"""The service over logs that real writers write, with real witnesses."""

from __future__ import annotations

import datetime as dt
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import auditlog
from auditlog.evidence.checkpoint import Checkpoint, origin_of
from auditlog.evidence.collection import from_logs
from auditlog.evidence.errors import SigningStopped
from auditlog.evidence.note import Key, Signer
from auditlog.evidence.policy import TrustedWitness
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.service import EvidenceOptions, EvidenceService, LogEvidence
from tests.auditlog.evidence.test_tree_appender import root_of
from tests.support.logs import LogBuilder, write_log
from tests.support.waiting import eventually
from tests.support.witnesses import answering, go_witness, our_witness, policy_of

LOG, OWN = "queen-rbee@hive1", "evidence@hive1"
FAST = EvidenceOptions(dt.timedelta(milliseconds=200), dt.timedelta(seconds=1))


def keys_of(key: Signer) -> list[Key]:
    return [key.renamed(origin_of(key.name, log)).key for log in (LOG, OWN)]


def service_of(
    tmp_path: Path, state: ProofState, key: Signer, *witnesses: TrustedWitness, slow: bool = False
) -> EvidenceService:
    policy = policy_of(keys_of(key), witnesses) if witnesses else None
    options = EvidenceOptions() if slow else FAST
    return EvidenceService([tmp_path / "audit"], state, key, options, policy=policy, host="hive1")


@contextmanager
def running(service: EvidenceService) -> Iterator[EvidenceService]:
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    try:
        yield service
    finally:
        stop.set()
        thread.join()


def of(service: EvidenceService, log: str = LOG) -> LogEvidence:
    return next(
        (each for each in service.status() if each.log == log),
        LogEvidence(log, "", 0, 0, None, 0, None, (), "not seen"),
    )


def test_signs(tmp_path: Path, state: ProofState, key: Signer) -> None:
    with running(service_of(tmp_path, state, key)) as service:
        with auditlog.open(tmp_path / "audit", service="queen-rbee", host="hive1") as log:
            for number in range(20):
                log.emit("task.started", actor={"user_id": "alice"}, details={"n": number})
            eventually(lambda: of(service).signed_seq >= 20)
        seq = log.emit  # closed: its last record is there
    del seq
    lines = [r.line for r in auditlog.read(tmp_path / "audit", log_events=True) if r.log == LOG]
    assert of(service).signed_seq == len(lines)
    newest = max(from_state_of(state), key=lambda each: each.size)
    assert newest.root == root_of(lines)


def from_state_of(state: ProofState, log: str = LOG) -> list[Checkpoint]:
    from auditlog.evidence.checkpoint_file import read_checkpoints

    return [each.checkpoint for each in read_checkpoints(state.directory(log) / "checkpoints")[0]]


def test_signs_at_once_for_a_critical_record_and_at_the_end(
    tmp_path: Path, state: ProofState, key: Signer
) -> None:
    """Otherwise a log that has a checkpoint gets its next one after a minute."""
    (tmp_path / "audit").mkdir()
    log = LogBuilder(tmp_path / "audit", LOG)
    log.append(3)
    with running(service_of(tmp_path, state, key, slow=True)) as service:
        eventually(lambda: of(service).signed_seq == 3)
        log.append(2)
        eventually(lambda: of(service).read_seq == 5)
        assert of(service).signed_seq == 3
        log.append(severity="critical")
        eventually(lambda: of(service).signed_seq == 6)
        log.append()
    assert of(service).signed_seq == 7


def test_recorded(tmp_path: Path, state: ProofState, key: Signer) -> None:
    write_log(tmp_path / "audit", LOG, records=5)
    service = service_of(tmp_path, state, key)
    service.run_once()
    found = [Checkpoint.parse(each.note.text) for each in from_logs(tmp_path / "audit")]
    assert found == from_state_of(state)
    assert of(service, OWN).signed_seq == of(service, OWN).read_seq > 0
    report = auditlog.verify(tmp_path / "audit")
    assert report.ok
    service_of(tmp_path, state, key).run_once()
    assert len(from_state_of(state)) == 1, "what did not grow is not signed again"


@pytest.mark.parametrize("kind", [our_witness, go_witness])
def test_a_quorum_of_witnesses_cosigns_what_is_written(
    tmp_path: Path, state: ProofState, key: Signer, kind: type
) -> None:
    log = write_log(tmp_path / "audit", LOG, records=5)
    (tmp_path / "w2").mkdir()
    with (
        our_witness(tmp_path / "w1", keys_of(key)) as first,
        kind(tmp_path / "w2", keys_of(key), "w2") as second,
        running(service_of(tmp_path, state, key, first, second)) as service,
    ):
        eventually(lambda: of(service).witnessed_seq == 5)
        assert of(service).witnesses == ("w1", "w2")
        log.append(300)
        eventually(lambda: of(service).witnessed_seq == 305)
        eventually(lambda: of(service, OWN).witnessed_seq > 0)
        assert of(service).trouble == ""


def test_conflict(tmp_path: Path, state: ProofState, key: Signer) -> None:
    """The log, its state and its sink are written anew: the witness remembers, and it ends."""
    write_log(tmp_path / "audit", LOG, records=50)
    with our_witness(tmp_path / "w1", keys_of(key)) as witness:
        with running(service_of(tmp_path, state, key, witness)) as service:
            eventually(lambda: of(service).witnessed_seq == 50)
        shutil.rmtree(state.path)
        shutil.rmtree(tmp_path / "audit")
        write_log(tmp_path / "audit", LOG, records=60, details={"task_id": "forged"})
        other = LogBuilder(tmp_path / "audit", "rbee-hive@hive1")
        other.append(3)
        with running(service_of(tmp_path, state, key, witness)) as service:
            eventually(lambda: "written anew" in of(service).trouble)
            eventually(lambda: of(service, "rbee-hive@hive1").signed_seq == 3)
    assert "written anew" in state.stopped(LOG)
    assert state.stopped("rbee-hive@hive1") == ""
    service = service_of(tmp_path, state, key)
    service.run_once()
    assert "not signed any more" in of(service).trouble


def test_conflict_of_a_log_that_was_rolled_back(
    tmp_path: Path, state: ProofState, key: Signer
) -> None:
    log = write_log(tmp_path / "audit", LOG, records=50)
    with our_witness(tmp_path / "w1", keys_of(key)) as witness:
        with running(service_of(tmp_path, state, key, witness)) as service:
            eventually(lambda: of(service).witnessed_seq == 50)
        shutil.rmtree(state.path)
        log.paths[0].write_bytes(b"".join(log.lines[:30]))
        with running(service_of(tmp_path, state, key, witness)) as service:
            eventually(lambda: "has a checkpoint of 50 records" in of(service).trouble)


def test_damaged(tmp_path: Path, state: ProofState, key: Signer) -> None:
    log = write_log(tmp_path / "audit", LOG, records=5, segments=3)
    content = log.paths[1].read_bytes()
    log.paths[1].unlink()
    with running(service_of(tmp_path, state, key)) as service:
        eventually(lambda: "records 6 to 10 are missing" in of(service).trouble)
        eventually(lambda: of(service).signed_seq == 5)
        log.paths[1].write_bytes(content)
        eventually(lambda: of(service).signed_seq == 15)
        assert of(service).trouble == ""


def test_a_clone_signs_nothing(tmp_path: Path, state: ProofState, key: Signer) -> None:
    write_log(tmp_path / "audit", LOG, records=5)
    service_of(tmp_path, state, key).run_once()
    clone = ProofState(state.path.parent, machine="another one")
    with pytest.raises(SigningStopped, match="another machine"):
        service_of(tmp_path, clone, key).run_once()


def test_a_witness_that_claims_more_records_stops_the_signing(
    tmp_path: Path, state: ProofState, key: Signer
) -> None:
    """Larger than the log ever was: it is never followed, and never asked about that log again."""
    log = write_log(tmp_path / "audit", LOG, records=5)
    public = Signer("witness.example/w1", bytes(32)).cosigner
    with answering(lambda _: (409, b"4000000\n")) as told:
        service = service_of(tmp_path, state, key, TrustedWitness("w1", public, told.url))
        with running(service):
            eventually(lambda: "has a checkpoint of 4000000 records" in of(service).trouble)
            eventually(lambda: "has a checkpoint of" in of(service, OWN).trouble)
            asked = len(told.bodies)
            log.append(10)
    assert len(told.bodies) == asked
    assert max(each.size for each in from_state_of(state)) == 5
    assert "4000000" in state.stopped(LOG)


def test_two_machines_with_one_key_are_found_by_the_witness(
    tmp_path: Path, state: ProofState, key: Signer
) -> None:
    """A clone of a virtual machine, machine-id included: the second history is a fork alarm."""
    log = write_log(tmp_path / "audit", LOG, records=5)
    with our_witness(tmp_path / "w1", keys_of(key)) as witness:
        with running(service_of(tmp_path, state, key, witness)) as service:
            eventually(lambda: of(service).witnessed_seq == 5)
            eventually(lambda: of(service, OWN).witnessed_seq > 0)
        clone = tmp_path / "clone"
        clone.mkdir()
        shutil.copytree(tmp_path / "audit", clone / "audit")
        shutil.copytree(state.path, clone / "state/proofs")
        log.append(10)
        with running(service_of(tmp_path, state, key, witness)) as service:
            eventually(lambda: of(service).witnessed_seq == 15)
        cloned = ProofState(clone / "state", machine_of(state))
        with auditlog.open(clone / "audit", service="queen-rbee", host="hive1") as other:
            for number in range(20):
                other.emit("task.started", actor={"user_id": "bob"}, details={"n": number})
        with running(service_of(clone, cloned, key, witness)) as service:
            eventually(lambda: "written anew" in of(service).trouble)
        with running(service_of(tmp_path, state, key, witness)) as service:
            log.append(1)
            eventually(lambda: of(service).witnessed_seq == 16)
    assert state.stopped(LOG) == ""


def machine_of(state: ProofState) -> str:
    return (state.path / "machine-id").read_text().strip()


def test_a_stolen_key_signs_no_second_history_that_a_witness_cosigns(
    tmp_path: Path, state: ProofState, key: Signer
) -> None:
    """The thief has the key and nothing else; the true log goes on."""
    log = write_log(tmp_path / "audit", LOG, records=50)
    thief = tmp_path / "thief"
    thief.mkdir()
    with our_witness(tmp_path / "w1", keys_of(key)) as witness:
        with running(service_of(tmp_path, state, key, witness)) as service:
            eventually(lambda: of(service).witnessed_seq == 50)
        for records, said in ((30, "has a checkpoint of 50"), (50, "another root"), (70, "anew")):
            place = thief / str(records)
            place.mkdir()
            write_log(place / "audit", LOG, records=records, details={"task_id": "forged"})
            with running(
                service_of(place, ProofState(place / "state", ""), key, witness)
            ) as service:
                eventually(lambda said=said: said in of(service).trouble)
        log.append(1)
        with running(service_of(tmp_path, state, key, witness)) as service:
            eventually(lambda: of(service).witnessed_seq == 51)


def test_a_witness_that_is_away_costs_nothing_but_freshness(
    tmp_path: Path, state: ProofState, key: Signer
) -> None:
    """Connections are refused: signing goes on, the trouble is told; it ends when it is back."""
    log = write_log(tmp_path / "audit", LOG, records=5)
    with our_witness(tmp_path / "w1", keys_of(key)) as witness:
        pass  # from here on nobody listens there
    with running(service_of(tmp_path, state, key, witness)) as service:
        eventually(lambda: "cannot be reached" in of(service).trouble)
        log.append(10)
        eventually(lambda: of(service).signed_seq == 15)
        assert (of(service).witnessed_seq, of(service).witnessed_at) == (0, None)
    with our_witness(tmp_path / "w1", keys_of(key)) as back:
        assert back.key == witness.key
        with running(service_of(tmp_path, state, key, back)) as service:
            eventually(lambda: of(service).witnessed_seq == 15)
            eventually(lambda: of(service).trouble == "")
