"""A time-stamping authority: ``openssl ts`` behind HTTP, with certificates made here."""

from __future__ import annotations

import datetime as dt
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.posts import answering_posts

__all__ = ["Authority", "authority"]

_CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {place}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


@dataclass
class Authority:
    """With ``chain`` a reply carries the certificate of the CA, too."""

    place: Path
    chain: bool = False
    url: str = ""

    @property
    def ca_file(self) -> Path:
        return self.place / "ca.pem"

    def reply(self, query: bytes) -> bytes:
        (self.place / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-section", "one"]
        command += ["-queryfile", "query", "-signer", "tsa.pem", "-inkey", "tsa.key"]
        command += ["-out", "reply"] + (["-chain", "ca.pem"] if self.chain else [])
        subprocess.run(command, cwd=self.place, check=True, capture_output=True)
        return (self.place / "reply").read_bytes()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certify(place: Path) -> None:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    common = (now - dt.timedelta(days=1), now + dt.timedelta(days=1000))

    def made(subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name("A CA"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(common[0])
            .not_valid_after(common[1])
        )

    ca = (
        made("A CA", ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    tsa = (
        made("A TSA", key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (place / "ca.pem").write_bytes(ca.public_bytes(pem))
    (place / "tsa.pem").write_bytes(tsa.public_bytes(pem))
    (place / "tsa.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (place / "serial").write_text("01\n")
    (place / "tsa.cnf").write_text(_CONFIG.format(place=place))


@contextmanager
def authority(place: Path) -> Iterator[Authority]:
    """One that serves until the ``with`` ends."""
    place.mkdir()
    _certify(place)
    made, lock = Authority(place), threading.Lock()

    def answer(query: bytes) -> tuple[int, bytes]:
        with lock:
            return 200, made.reply(query)

    with answering_posts(answer, "application/timestamp-reply") as url:
        made.url = f"{url}/tsa"
        yield made
