"""Logs against checkpoints: what happened to them since they were signed."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditlog.evidence.collection import Candidate
from auditlog.evidence.merkle import leaf_hash
from auditlog.evidence.note import Signer
from auditlog.evidence.policy import TrustPolicy
from auditlog.evidence.proof_state import ProofState
from auditlog.evidence.signer import LogSigner
from auditlog.evidence.verification import EvidenceReport, verify_evidence
from retention.policy import RetentionPolicy
from retention.service import run_retention
from tests.auditlog.evidence.test_tree_appender import LOG, appender_of, segments_in
from tests.auditlog.verification.test_verify import delete
from tests.support.erasures import erase
from tests.support.logs import LogBuilder, write_log
from tests.support.trees import policy_text, signed

DAY = dt.timedelta(days=1)
NOW = dt.datetime.fromtimestamp(1_800_000_000, dt.UTC)
KEY = Signer("audit.example.com/hive1", bytes(range(32)))
ORIGIN = f"{KEY.name}/{LOG}"
POLICY = TrustPolicy.parse(policy_text(KEY, origin=ORIGIN).encode())


@dataclass
class Host:
    """A log of four segments with ten records each; 35 records were witnessed, 38 signed."""

    directory: Path
    log: LogBuilder
    candidates: list[Candidate]

    def verify(self, *, state_dir: Path | None = None, **options: object) -> EvidenceReport:
        return verify_evidence(
            [self.directory],
            POLICY,
            self.candidates,
            state_dir=state_dir,
            now=NOW,
            **options,  # type: ignore[arg-type]  # options are named by the tests
        )[LOG]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    log = write_log(tmp_path / "audit", LOG, records=10, segments=4)
    leaves = [leaf_hash(line[:-1]) for line in log.lines]
    notes = [signed(leaves[:20], KEY, origin=ORIGIN, witnesses=(1, 2, 3))]
    notes += [signed(leaves[:35], KEY, origin=ORIGIN, witnesses=(1, 3))]
    notes += [signed(leaves[:38], KEY, origin=ORIGIN, witnesses=(1,))]
    return Host(tmp_path / "audit", log, [Candidate(note, "kept") for note in notes])


def kinds(report: EvidenceReport) -> list[str]:
    return sorted(finding.kind for finding in report.findings)


def nothing(_: Host) -> None:
    pass


def grow(host: Host) -> None:
    host.log.append(25)


def compress(host: Host) -> None:
    host.log.compress(0)
    host.log.compress(1, ".gz")


def tear(host: Host) -> None:
    with host.log.paths[-1].open("ab") as stream:
        stream.write(host.log.make()[0][:50])


def erase_records(host: Host) -> None:
    erase(host.log, 1, 10, 11, 36, 40)


@pytest.mark.parametrize("change", [nothing, grow, compress, tear, erase_records])
def test_untouched(host: Host, change: Callable[[Host], None]) -> None:
    change(host)
    report = host.verify()
    assert report.ok, report.findings
    assert (report.witnessed_through_seq, report.signed_through_seq) == (35, 38)
    assert report.witnesses == ("w1", "w3")
    assert report.witnessed_at == NOW


def test_untouched_after_deletion_under_policy(host: Host, tmp_path: Path) -> None:
    """The leaves that the signer kept stand in for what is gone."""
    state = ProofState(tmp_path / "state", machine="")
    signer = LogSigner(state, LOG, KEY)
    appender = appender_of(host.directory, signer.tree)
    appender.advance(segments_in(host.directory))
    appender.close()
    signer.sign(NOW)
    signer.close()
    delete(host.directory, host.log, 0, 1)
    assert host.verify(state_dir=tmp_path / "state").ok
    assert kinds(host.verify()) == ["leaves_missing"], "without them it cannot be shown"


def test_untouched_after_deletion_under_policy_on_a_copy(host: Host) -> None:
    """The subtrees in the tombstones stand in for what is gone; a changed record is still found."""
    policy = RetentionPolicy(DAY, 2 * DAY, max_delete_fraction=1.0)
    run_retention(host.directory, policy, None, (), NOW, simulated=True, host="hive1")
    assert [path.exists() for path in host.log.paths] == [False, False, False, True]
    report = host.verify()
    assert report.ok, report.findings
    assert (report.witnessed_through_seq, report.signed_through_seq) == (35, 38)
    host.log.paths[3].write_bytes(host.log.paths[3].read_bytes().replace(b"task-34", b"task-99"))
    assert kinds(host.verify()) == ["root_mismatch"]
    leaves = [leaf_hash(line[:-1]) for line in host.log.lines[:15]]
    within = signed(leaves, KEY, origin=ORIGIN, witnesses=(1, 2))
    host.candidates = [Candidate(within, "kept")]
    assert kinds(host.verify()) == ["leaves_missing"], "it ends within a deleted segment"


def test_without_witnesses_nothing_is_witnessed(host: Host) -> None:
    """A policy may ask for no quorum; then a checkpoint is signed, and no more than that."""
    alone = TrustPolicy.parse(f"log {KEY.renamed(ORIGIN).key}\nquorum none\n".encode())
    report = verify_evidence([host.directory], alone, host.candidates, now=NOW)[LOG]
    assert report.ok
    assert (report.signed_through_seq, report.witnessed_through_seq) == (38, 0)
    assert report.witnessed_at is None


def rewrite(host: Host, first: int = 0) -> None:
    """Write the log anew from a record on, with hashes that fit."""
    kept = host.log.lines[:first]
    shutil.rmtree(host.directory)
    host.directory.mkdir()
    forged = LogBuilder(host.directory, LOG)
    for number in range(1, 41):
        if number <= first:
            forged.append()
        else:
            forged.append(details={"task_id": f"forged-{number}"})
        if number % 10 == 0:
            forged.rotate()
    assert forged.lines[:first] == kept
    assert forged.lines[first] != host.log.lines[first]


def edit(host: Host) -> None:
    path = host.log.paths[0]
    path.write_bytes(path.read_bytes().replace(b"task-3", b"task-8", 1))


def swap(host: Host) -> None:
    lines = host.log.lines
    host.log.paths[1].write_bytes(b"".join([*lines[10:14], lines[15], lines[14], *lines[16:20]]))


def insert(host: Host) -> None:
    lines = host.log.lines
    host.log.paths[1].write_bytes(b"".join([*lines[10:14], lines[3], *lines[14:20]]))


def remove(host: Host) -> None:
    lines = host.log.lines
    host.log.paths[1].write_bytes(b"".join([*lines[10:14], *lines[15:20]]))


def spoil(host: Host) -> None:
    host.log.paths[1].write_bytes(b"\0" * 400)


@pytest.mark.parametrize(
    "change", [rewrite, edit, swap, insert, remove, spoil, lambda h: h.log.paths[2].unlink()]
)
def test_rewritten(host: Host, change: Callable[[Host], None]) -> None:
    change(host)
    report = host.verify()
    assert "root_mismatch" in kinds(report)
    assert report.witnessed_through_seq <= 20


def test_rewritten_from_some_record_on_is_told_between_two_checkpoints(host: Host) -> None:
    rewrite(host, first=25)
    report = host.verify()
    assert kinds(report) == ["root_mismatch"]
    assert report.findings[0].seq == 21
    assert "a record from 21 to 35" in report.findings[0].detail
    assert "cosigned by w1, w3" in report.findings[0].detail
    assert report.witnessed_through_seq == 20


def test_rewritten_and_signed_with_the_stolen_key_is_told_as_exactly(host: Host) -> None:
    """A forged checkpoint that fits the forged files moves no bound of the finding."""
    rewrite(host, first=25)
    lines = b"".join(path.read_bytes() for path in host.log.paths).splitlines()
    forged = signed([leaf_hash(line) for line in lines], KEY, origin=ORIGIN)
    host.candidates.append(Candidate(forged, "the forger"))
    report = host.verify()
    assert report.findings[0].seq == 21
    assert report.witnessed_through_seq == 20


def test_rewritten_is_told_exactly_where_the_leaves_were_kept(host: Host, tmp_path: Path) -> None:
    state = ProofState(tmp_path / "state", machine="")
    signer = LogSigner(state, LOG, KEY)
    appender = appender_of(host.directory, signer.tree)
    appender.advance(segments_in(host.directory))
    appender.close()
    signer.sign(NOW)
    signer.close()
    rewrite(host, first=25)
    (finding,) = host.verify(state_dir=tmp_path / "state").findings
    assert (finding.kind, finding.seq) == ("root_mismatch", 26)


@pytest.mark.parametrize(("left", "expected"), [(39, 0), (37, 1), (12, 1), (0, 1)])
def test_cut(host: Host, left: int, expected: int) -> None:
    lines = host.log.lines[:left]
    for index, path in enumerate(host.log.paths):
        part = lines[index * 10 : index * 10 + 10]
        path.write_bytes(b"".join(part)) if part else path.unlink()
    report = host.verify()
    assert kinds(report) == ["signed_tail_missing"] * expected
    if expected:
        assert report.findings[0].seq == left + 1


def test_cut_to_nothing_with_the_directory(host: Host) -> None:
    shutil.rmtree(host.directory)
    assert kinds(host.verify()) == ["signed_tail_missing"]


def test_nothing(host: Host) -> None:
    host.candidates = []
    assert kinds(host.verify()) == ["quorum_missing"]
    empty = TrustPolicy.parse(b"quorum none\n")
    assert verify_evidence([host.directory], empty, [], now=NOW) == {}


def test_too_few_witnesses(host: Host) -> None:
    host.candidates = host.candidates[2:]
    report = host.verify()
    assert kinds(report) == ["quorum_missing"]
    assert "only w1" in report.findings[0].detail
    assert (report.witnessed_through_seq, report.signed_through_seq) == (0, 38)


def test_a_stale_checkpoint_is_told(host: Host) -> None:
    day = dt.timedelta(days=1)
    assert host.verify(max_age=day).ok
    report = verify_evidence(
        [host.directory], POLICY, host.candidates, now=NOW + 2 * day, max_age=day
    )
    assert kinds(report[LOG]) == ["checkpoint_stale"]


def test_a_checkpoint_that_the_log_did_not_sign_is_told(host: Host) -> None:
    thief = Signer(KEY.name, bytes(32))
    forged = signed([leaf_hash(b"x")], thief, origin=ORIGIN, witnesses=(1, 2))
    host.candidates.append(Candidate(forged, "the mail of somebody"))
    report = host.verify()
    assert kinds(report) == ["checkpoint_signature"]
    assert "the mail of somebody" in report.findings[0].detail


def test_two_roots_that_were_signed_at_one_size_are_told(host: Host) -> None:
    other = signed([leaf_hash(b"%d" % n) for n in range(35)], KEY, origin=ORIGIN, witnesses=(2, 3))
    host.candidates.append(Candidate(other, "another witness"))
    assert "root_mismatch" in kinds(host.verify())


def test_a_number_out_of_all_bounds_costs_nothing(host: Host) -> None:
    line = host.log.lines[5].replace(b'"seq":6,', b'"seq":999999999999999999,')
    host.log.paths[0].write_bytes(b"".join([*host.log.lines[:5], line]))
    assert "root_mismatch" in kinds(host.verify())
