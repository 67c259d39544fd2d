"""`auditctl verify --policy`: what a host's administrator did to the past is found."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from auditlog.evidence.note import Key
from tests.support.host_places import HostPlaces
from tests.support.logs import write_log
from tests.support.witnesses import our_witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from auditlog.evidence.policy import TrustedWitness
    from tests.auditctl.conftest import Result

LOG = "queen-rbee@hive1"


@dataclass
class Host(HostPlaces):
    """A host with root access to everything but its witness."""

    place: Path
    witness: TrustedWitness


@pytest.fixture
def host(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Host]:
    """Forty records that are witnessed."""
    write_log(tmp_path / "audit", LOG, records=20, segments=2)
    config, policy = tmp_path / "config.toml", tmp_path / "trust.policy"
    config.write_text(
        f'directories = ["{tmp_path}/audit"]\nstate_dir = "{tmp_path}/state"\nhost = "hive1"\n'
        f'[evidence]\npolicy = "{policy}"\n'
    )
    monkeypatch.setenv("AUDITLOG_CONFIG", str(config))
    keys = run("evidence", "init", "--origin", "audit.example.com/hive1").out
    parsed = [Key.parse(line.removeprefix("log ")) for line in keys.splitlines()]
    with our_witness(tmp_path / "w1", parsed) as witness:
        policy.write_text(f"{keys}witness w1 {witness.key} {witness.url}\nquorum w1\n")
        assert run("evidence", "sign", "--wait", "60s").code == 0
        yield Host(tmp_path, witness)


def kinds(result: Result) -> set[str]:
    logs = result.json["logs"]
    return {finding["kind"] for log in logs for finding in log["findings"] if log["log"] == LOG}


def verified(run: Callable[..., Result], host: Host, *options: object) -> Result:
    return run("verify", "--policy", host.policy, "--json", *options)


def test_an_untouched_log_is_witnessed_and_what_came_later_only_chained(
    run: Callable[..., Result], host: Host
) -> None:
    found = verified(run, host)
    assert found.code == 0
    log = found.json["logs"][-1]
    assert (log["log"], log["witnessed_through_seq"], log["witnesses"]) == (LOG, 40, ["w1"])
    run("emit", host.audit, "--service", "queen-rbee", "--host", "hive1", "task.late")
    text = run("verify", "--policy", host.policy)
    assert text.code == 0, text.out
    assert "witnessed through seq 40 at " in text.out
    assert "after that " in text.out
    assert " only chained" in text.out


def test_a_log_that_was_written_anew_with_the_hosts_own_key_is_found(
    run: Callable[..., Result], host: Host
) -> None:
    """With hashes that fit, the state, the checkpoints on record and the cursors included."""
    key = (host.state / "evidence.key").read_bytes()
    shutil.rmtree(host.audit)
    shutil.rmtree(host.state)
    write_log(host.audit, LOG, records=20, segments=2, details={"task_id": "forged"})
    host.state.mkdir()
    (host.state / "evidence.key").write_bytes(key)
    assert run("verify").code == 0, "the chain alone does not show it"
    assert run("evidence", "sign", "--wait", "60s").code == 1, "the witness refuses"
    found = verified(run, host)
    assert found.code == 1
    assert "root_mismatch" in kinds(found)
    assert found.json["logs"][-1]["witnessed_through_seq"] == 0
    text = run("verify", "--policy", host.policy).out
    assert "a record from 1 to 40 is not what it was when" in text
    assert "(cosigned by w1)" in text


def test_a_tail_that_was_cut_off_is_found(run: Callable[..., Result], host: Host) -> None:
    segments = sorted(host.audit.glob(f"{LOG}*"))
    segments[-1].write_bytes(b"".join(segments[-1].read_bytes().splitlines(keepends=True)[:15]))
    shutil.rmtree(host.state)
    assert run("verify").code == 0
    found = verified(run, host)
    assert (found.code, kinds(found)) == (1, {"signed_tail_missing"})


def test_a_log_that_was_deleted_whole_is_found(run: Callable[..., Result], host: Host) -> None:
    for path in [*host.audit.glob(f"{LOG}*"), *host.audit.glob(f".auditlog/{LOG}*")]:
        path.unlink()
    shutil.rmtree(host.state)
    found = verified(run, host)
    assert found.code == 1
    assert "signed_tail_missing" in kinds(found)
    assert f"FAILED {LOG}: there is no such log" in run("verify", "--policy", host.policy).out


def test_without_the_witness_a_checkpoint_that_the_auditor_kept_shows_it(
    run: Callable[..., Result], host: Host
) -> None:
    from auditlog.evidence.witness_client import fetch_checkpoint

    note = fetch_checkpoint(host.witness.url, f"audit.example.com/hive1/{LOG}")
    assert note is not None
    kept = host.place / "kept.checkpoint"
    kept.write_bytes(note.to_bytes())
    shutil.rmtree(host.state)
    segments = sorted(host.audit.glob(f"{LOG}*"))
    segments[-1].unlink()
    found = verified(run, host, "--offline", "--checkpoint", kept)
    assert "signed_tail_missing" in kinds(found)
    kept.write_bytes(note.to_bytes().replace(b"\n40\n", b"\n20\n"))
    found = verified(run, host, "--offline", "--checkpoint", kept)
    assert "checkpoint_signature" in kinds(found)


def test_nothing_to_verify_is_no_proof(run: Callable[..., Result], host: Host) -> None:
    host.policy.write_text("quorum none\n")
    empty = run("verify", "--policy", host.policy)
    assert empty.code == 1
    assert "nothing is proven" in empty.err
    assert run("verify", "--max-age", "1h").code == 2
    assert run("verify", "--proof", host.policy).code == 2


def test_a_witness_that_does_not_answer_is_said(run: Callable[..., Result], host: Host) -> None:
    host.policy.write_text(host.policy.read_text().replace(host.witness.url, "http://127.0.0.1:9"))
    found = run("verify", "--policy", host.policy)
    assert found.code == 0, "the state has what it cosigned"
    assert "witness w1: " in found.err


def test_an_erasure_leaves_the_proof_of_every_other_record(
    run: Callable[..., Result], host: Host
) -> None:
    """Proofs made before it hold, and new ones can be made; the record itself has none."""
    lines = [
        line
        for path in sorted(host.audit.glob(f"{LOG}*"))
        for line in path.read_bytes().splitlines(keepends=True)
    ]
    before = host.place / "before.tlog-proof"
    assert run("prove", LOG, "7", "-o", before).code == 0
    order = ("--reason", "request 17", "--by", "dpo@example.org", "--confirm")
    erased = run("erase", LOG, "5", *order)
    assert erased.code == 0, erased.err
    whole = verified(run, host)
    assert whole.code == 0, whole.out
    after = host.place / "after.tlog-proof"
    assert run("prove", LOG, "6", "-o", after).code == 0
    for proof, seq in ((before, 7), (after, 6)):
        line = host.place / f"{seq}.ndjson"
        line.write_bytes(lines[seq - 1])
        assert run("verify", "--proof", proof, "--policy", host.policy, line).code == 0
    wrong = host.place / "stub.ndjson"
    (path, *_) = sorted(host.audit.glob(f"{LOG}*"))
    wrong.write_bytes(path.read_bytes().splitlines(keepends=True)[4])
    assert wrong.read_bytes() != lines[4]
    assert run("verify", "--proof", after, "--policy", host.policy, wrong).code == 1
