from __future__ import annotations

import base64
import re
from pathlib import Path

import auditlog
from auditlog.writer.salts import SALT_BYTES, Salts


def test_distinct(tmp_path: Path) -> None:
    salts = Salts()
    drawn = [salts.member() for _ in range(1000)]
    assert len(set(drawn)) == 1000
    for _ in range(2):
        with auditlog.open(tmp_path, service="a", host="b") as log:
            log.emit("a.b")
    recorded = [record.fields["salt"] for record in auditlog.read(tmp_path, log_events=True)]
    assert len(set(recorded)) == len(recorded) >= 7


def test_a_salt_is_16_bytes_in_base64url_without_padding() -> None:
    found = re.fullmatch(rb',"salt":"([A-Za-z0-9_-]{22})"', Salts().member())
    assert found is not None
    assert len(base64.urlsafe_b64decode(found[1] + b"==")) == SALT_BYTES
    assert base64.urlsafe_b64encode(base64.urlsafe_b64decode(found[1] + b"==")) == found[1] + b"=="


def test_the_salt_is_the_last_member_before_the_hash_and_the_chain_verifies(tmp_path: Path) -> None:
    with auditlog.open(tmp_path, service="a", host="b") as log:
        log.emit("a.b", details={"x": 1})
    lines = next(tmp_path.glob("*.ndjson")).read_bytes().splitlines()
    assert all(
        re.search(rb',"salt":"[A-Za-z0-9_-]{22}","hash":"[0-9a-f]{64}"\}$', line) for line in lines
    )
    assert auditlog.verify(tmp_path).ok
