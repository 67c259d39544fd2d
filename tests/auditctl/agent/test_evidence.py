"""The agent signs what is written; that it cannot is told, and stops nothing else."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

from auditctl.agent.metrics import About, metric_families
from auditctl.agent.services import Services
from auditctl.config.evidence import EvidenceSettings
from auditlog.evidence.note import Signer
from tests.auditctl.agent.test_services import config_of, shipped
from tests.support.logs import write_log
from tests.support.ports import free_port
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

LOG = "queen-rbee@hive1"
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
ABOUT = About("1", NOW, NOW)


def make_key(place: Path) -> None:
    (place / "state").mkdir(exist_ok=True)
    signer = Signer("audit.example.com/hive1", bytes(range(32)))
    (place / "state/evidence.key").write_text(signer.secret_text())


def test_signs(tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", LOG, records=10)
    make_key(tmp_path)
    services = Services(config_of(tmp_path), retain=False)
    services.start()
    evidence = services.evidence()
    assert evidence is not None
    eventually(lambda: any(e.log == LOG and e.signed_seq == 10 for e in evidence.status().logs))
    eventually(lambda: shipped(tmp_path) >= 10)
    assert evidence.unready() == []
    assert "signs" in list(services.describe())
    log.append(5)
    eventually(lambda: any(e.log == LOG and e.read_seq == 15 for e in evidence.status().logs))
    services.stop()
    assert next(e.signed_seq for e in evidence.status().logs if e.log == LOG) == 15


def test_signs_nothing_without_a_key(tmp_path: Path) -> None:
    write_log(tmp_path / "audit", LOG, records=1)
    services = Services(config_of(tmp_path), retain=False)
    assert services.evidence() is None
    services.close()


def test_apart(tmp_path: Path) -> None:
    write_log(tmp_path / "audit", LOG, records=10)
    make_key(tmp_path)
    (tmp_path / "state/proofs").mkdir()
    (tmp_path / "state/proofs/machine-id").write_text("another\n")
    services = Services(config_of(tmp_path), retain=False)
    services.start()
    evidence = services.evidence()
    assert evidence is not None
    eventually(lambda: "another machine" in evidence.trouble)
    eventually(lambda: shipped(tmp_path) == 10)
    assert services.running
    assert "another machine" in evidence.unready()[0]
    services.stop()


def test_apart_from_a_witness_that_refuses_connections(tmp_path: Path) -> None:
    """Everything is shipped and signed; the metric, the reasons and the status say the rest."""
    log = write_log(tmp_path / "audit", LOG, records=10)
    make_key(tmp_path)
    witness = Signer("witness.example/w1", bytes(32)).cosigner
    policy = tmp_path / "policy"
    policy.write_text(f"witness w1 {witness} http://127.0.0.1:{free_port()}\nquorum w1\n")
    config = replace(config_of(tmp_path), evidence=EvidenceSettings(policy=policy))
    services = Services(config, retain=False)
    services.start()
    evidence = services.evidence()
    assert evidence is not None
    eventually(lambda: any("cannot be reached" in reason for reason in evidence.unready()))
    log.append(5)
    # The log of the checkpoints is shipped as well.
    eventually(lambda: shipped(tmp_path) >= 15)
    eventually(lambda: any(e.log == LOG and e.read_seq == 15 for e in evidence.status().logs))
    served = {
        family.name: family.samples
        for family in metric_families(ABOUT, None, None, None, NOW, evidence=evidence.status())
    }
    assert served["auditlog_evidence_troubled"][0][1] >= 1
    assert ((LOG,), 0) in served["auditlog_evidence_witnessed_records"]
    assert services.running
    services.stop()
    signed = next(e for e in evidence.status().logs if e.log == LOG)
    assert (signed.signed_seq, signed.witnessed_seq, signed.witnessed_at) == (15, 0, None)
