"""Obtain and verify RFC 3161 time stamps from an authority.

The request is 69 bytes of DER, made here.  A reply is verified before it is kept: by the package
rfc3161-client, or by ``openssl ts`` where the package is missing, or refuses it, as it does replies
that carry several certificates.  Whoever keeps the stamped bytes and the reply can verify the pair
with openssl alone, years later:

    openssl ts -verify -data 42.checkpoint -in 42.tsr -CAfile tsa.pem

Invariants (tests of the same name in tests/auditlog/evidence/test_timestamp.py):
  verified   a reply for other bytes, of another authority or with another nonce is refused
  every_bit  a reply with any bit changed is refused, or says the same of the same bytes
  bounded    an authority that does not answer, or never stops, costs bounded time and memory
"""

from __future__ import annotations

import datetime as dt
import secrets
import shutil
import subprocess
import tempfile
import urllib.request
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509

from auditlog.evidence.errors import BadEvidence

__all__ = ["TimeStamp", "TimeStampAuthority", "attested_at", "request_der"]

_TIMEOUT_SECONDS: Final = 10.0
_MAX_REPLY_BYTES: Final = 1 << 16
_SHA256: Final = bytes.fromhex("300d06096086480165030402010500")


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """The whole reply of the authority, and the time that it attests."""

    reply: bytes
    at: dt.datetime


def request_der(content: bytes, nonce: int) -> bytes:
    """A TimeStampReq (RFC 3161, 2.4.1) for the SHA-256 of the content, with the certificate.

    ``nonce`` has its highest bit clear and the next one set: eight bytes, whatever it is.
    """
    imprint = b"\x30\x31" + _SHA256 + b"\x04\x20" + sha256(content).digest()
    body = b"\x02\x01\x01" + imprint + b"\x02\x08" + nonce.to_bytes(8, "big") + b"\x01\x01\xff"
    return b"\x30" + bytes([len(body)]) + body


@dataclass(frozen=True, slots=True)
class TimeStampAuthority:
    """``ca_file`` has the certificates that its own leads to, in PEM."""

    url: str
    ca_file: Path

    def stamp(self, content: bytes) -> TimeStamp:
        """Raises BadEvidence for a reply that does not verify, OSError when nobody answers."""
        nonce = secrets.randbits(62) | 1 << 62
        request = urllib.request.Request(  # noqa: S310  (the configuration allows http and https)
            self.url,
            request_der(content, nonce),
            {"Content-Type": "application/timestamp-query"},
        )
        try:
            answer = urllib.request.urlopen(  # noqa: S310  (see above)
                request, timeout=_TIMEOUT_SECONDS
            )
            with answer:
                reply = answer.read(_MAX_REPLY_BYTES)
        except ValueError as error:
            raise OSError(f"{self.url}: {error}") from error
        return TimeStamp(reply, attested_at(reply, content, self.ca_file, nonce))


def attested_at(
    reply: bytes, content: bytes, ca_file: Path, nonce: int | None = None
) -> dt.datetime:
    """When the content existed, by the reply.  Raises BadEvidence unless it verifies, OSError."""
    try:
        return _by_package(reply, content, ca_file, nonce)
    except ImportError:
        return _by_openssl(reply, content, ca_file, nonce, "the package rfc3161-client is missing")
    except BadEvidence as refused:
        return _by_openssl(reply, content, ca_file, nonce, refused.reason)


def _by_package(reply: bytes, content: bytes, ca_file: Path, nonce: int | None) -> dt.datetime:
    """Raises ImportError without the package."""
    import rfc3161_client as package  # noqa: PLC0415  (optional)

    try:
        certificates = x509.load_pem_x509_certificates(ca_file.read_bytes())
        builder = package.VerifierBuilder(
            roots=[each for each in certificates if each.issuer == each.subject],
            intermediates=[each for each in certificates if each.issuer != each.subject],
            nonce=nonce,
        )
        decoded = package.decode_timestamp_response(reply)
        builder.build().verify_message(decoded, content)
        return decoded.tst_info.gen_time.astimezone(dt.UTC)
    except (package.VerificationError, ValueError) as error:
        raise BadEvidence(f"the time stamp does not verify: {error}") from None


def _by_openssl(
    reply: bytes, content: bytes, ca_file: Path, nonce: int | None, before: str
) -> dt.datetime:
    program = shutil.which("openssl")
    if program is None:
        raise BadEvidence(f"no time stamp can be verified: {before}, and there is no openssl")
    with tempfile.TemporaryDirectory() as place:
        query, answer, data = (Path(place, name) for name in ("query", "reply", "data"))
        answer.write_bytes(reply)
        data.write_bytes(content)
        what = ["-data", str(data)]
        if nonce is not None:
            query.write_bytes(request_der(content, nonce))
            what = ["-queryfile", str(query)]
        ca = str(ca_file)
        checked = _openssl(
            program, "-verify", *what, "-in", str(answer), "-CAfile", ca, "-untrusted", ca
        )
        if checked.returncode != 0 or "Verification: OK" not in checked.stdout + checked.stderr:
            raise BadEvidence(f"the time stamp does not verify: {before}; openssl refuses it, too")
        shown = _openssl(program, "-reply", "-in", str(answer), "-text").stdout
    found = [line for line in shown.splitlines() if line.startswith("Time stamp: ")]
    try:
        text = found[0].removeprefix("Time stamp: ").partition(".")[0].removesuffix(" GMT")
        year = found[0].removesuffix(" GMT").rpartition(" ")[2]
        text = text if text.endswith(year) else f"{text} {year}"
        return dt.datetime.strptime(text, "%b %d %H:%M:%S %Y").replace(tzinfo=dt.UTC)
    except (IndexError, ValueError):
        raise BadEvidence("the time stamp has no time that can be read") from None


def _openssl(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  (its path is looked up, its arguments are files)
            [program, "ts", *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            env={"LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise BadEvidence("openssl did not end in time") from error
