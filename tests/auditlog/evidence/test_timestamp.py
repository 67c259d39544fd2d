"""Time stamps of a real authority (openssl ts), verified by the package and by openssl."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditlog.evidence import timestamp
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.timestamp import TimeStampAuthority, attested_at, request_der
from tests.support.programs import require
from tests.support.tsa import Authority, authority
from tests.support.witnesses import answering

CONTENT = b"audit.example.com/hive1/queen-rbee@hive1\n7\nAAAA\n"
OPENSSL = ("openssl", "ts", "-verify", "-CAfile")
NONCE = 1 << 62 | 12345


@pytest.fixture
def tsa(tmp_path: Path) -> Iterator[Authority]:
    require("openssl")
    with authority(tmp_path / "tsa") as serving:
        yield serving


@pytest.fixture(params=["package", "openssl"])
def verifier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "openssl":
        monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    return str(request.param)


def test_the_request_is_what_openssl_makes_of_the_same(tmp_path: Path) -> None:
    require("openssl")
    (tmp_path / "query").write_bytes(request_der(CONTENT, NONCE))
    shown = subprocess.run(
        ["openssl", "ts", "-query", "-in", tmp_path / "query", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Hash Algorithm: sha256" in shown
    assert f"Nonce: 0x{NONCE:016X}" in shown
    assert "Certificate required: yes" in shown


@pytest.mark.parametrize("chain", [False, True])
def test_verified(tsa: Authority, verifier: str, chain: bool) -> None:
    """With and without the CA's certificate in the reply; the package refuses some of these."""
    tsa.chain = chain
    stamp = TimeStampAuthority(tsa.url, tsa.ca_file).stamp(CONTENT)
    assert abs(stamp.at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
    assert attested_at(stamp.reply, CONTENT, tsa.ca_file) == stamp.at


def test_verified_by_an_auditor_with_openssl_alone(tsa: Authority, tmp_path: Path) -> None:
    stamp = TimeStampAuthority(tsa.url, tsa.ca_file).stamp(CONTENT)
    (tmp_path / "reply").write_bytes(stamp.reply)
    for content, right in ((CONTENT, True), (CONTENT + b"x", False)):
        (tmp_path / "data").write_bytes(content)
        done = subprocess.run(
            [*OPENSSL, tsa.ca_file, "-data", tmp_path / "data", "-in", tmp_path / "reply"],
            capture_output=True,
            check=False,
        )
        assert (done.returncode == 0) == right


def test_verified_is_no_reply_for_other_bytes_another_nonce_or_of_another_authority(
    tsa: Authority, verifier: str, tmp_path: Path
) -> None:
    reply = tsa.reply(request_der(CONTENT, NONCE))
    attested_at(reply, CONTENT, tsa.ca_file, NONCE)
    with pytest.raises(BadEvidence):
        attested_at(reply, CONTENT + b"x", tsa.ca_file, NONCE)
    with pytest.raises(BadEvidence):
        attested_at(reply, CONTENT, tsa.ca_file, NONCE + 1)
    with authority(tmp_path / "other") as other, pytest.raises(BadEvidence):
        attested_at(reply, CONTENT, other.ca_file, NONCE)


def test_every_bit(tsa: Authority) -> None:
    """Few bits of a reply are not signed, as of names in the chain; none changes what it says."""
    reply = tsa.reply(request_der(CONTENT, NONCE))
    said, same = attested_at(reply, CONTENT, tsa.ca_file, NONCE), 0
    for bit in range(len(reply) * 8):
        changed = bytearray(reply)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            at = timestamp._by_package(bytes(changed), CONTENT, tsa.ca_file, NONCE)
        except BadEvidence:
            continue
        assert at == said
        same += 1
    assert same < len(reply)


def test_bounded_by_what_an_authority_sends(tsa: Authority) -> None:
    with answering(lambda _: (200, bytes(1 << 20))) as told, pytest.raises(BadEvidence):
        TimeStampAuthority(told.url, tsa.ca_file).stamp(CONTENT)
    with answering(lambda _: (503, b"")) as told, pytest.raises(OSError, match="503"):
        TimeStampAuthority(told.url, tsa.ca_file).stamp(CONTENT)
    with pytest.raises(OSError, match="refused"):
        TimeStampAuthority("http://127.0.0.1:9/tsa", tsa.ca_file).stamp(CONTENT)
