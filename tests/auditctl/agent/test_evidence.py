"""The agent signs what is written; that it cannot is told, and stops nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditctl.agent.services import Services
from auditlog.evidence.note import Signer
from tests.auditctl.agent.test_services import config_of, shipped
from tests.support.logs import write_log
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

LOG = "queen-rbee@hive1"


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
