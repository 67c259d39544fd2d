"""Submit checkpoints to one witness: the client side of c2sp.org/tlog-witness.

    POST <url>/add-checkpoint           old size, consistency proof, checkpoint -> cosignatures
    GET  <url>/<sha256 of origin>/checkpoint    what our own witness remembers of a log

Every answer has its meaning: 200 is a cosignature to keep; 409 with a smaller size says from where
to prove; 409 with a larger size, and another root at the same size, say that the log was rolled
back or written anew, and end its signing; 403, 404 and other 4xx have to be mended by a person;
429, 5xx and silence are asked again later.

Invariants (tests of the same name in tests/auditlog/evidence/test_witness_client.py):
  answers   each answer of a witness leads to the outcome that it stands for
  bounded   an answer of any size or speed costs a bounded amount of memory and time
"""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.note import Note, Signature, encode_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditlog.evidence.policy import TrustedWitness

__all__ = ["Answer", "fetch_checkpoint", "fetch_note", "request_body", "submit"]

_TIMEOUT_SECONDS: Final = 10.0
_MAX_ANSWER_BYTES: Final = 1 << 16
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a submission.

    ``cosigned``     the witness signed; ``signature`` is its cosignature
    ``conflict``     the log and the witness contradict each other: never sign it again
    ``refused``      a person has to change something: ``reason`` says what
    ``unavailable``  nobody answered, or the witness is busy: ask again later
    """

    outcome: Literal["cosigned", "conflict", "refused", "unavailable"]
    reason: str = ""
    signature: Signature | None = None


def request_body(old: int, proof: Sequence[bytes], note: Note) -> bytes:
    hashes = "".join(f"{encode_base64(each)}\n" for each in proof)
    return f"old {old}\n{hashes}\n".encode() + note.to_bytes()


def submit(
    witness: TrustedWitness, note: Note, old: int, prove: Callable[[int, int], list[bytes]]
) -> Answer:
    """Submit a checkpoint.  ``old`` is the size that the witness is expected to have.

    ``prove`` returns the consistency proof between two sizes.
    """
    size = Checkpoint.parse(note.text).size
    old = min(old, size)
    for _ in range(_ATTEMPTS):
        body = request_body(old, prove(old, size), note)
        try:
            status, content = _request(f"{witness.url}/add-checkpoint", body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer("unavailable", f"it cannot be reached ({_text(error)})")
        if status == 200:
            return _cosigned(witness, note, content)
        if status != 409:
            return _unsigned(status)
        remembered = _size(content)
        if remembered is None or remembered > size or remembered == old:
            return _conflict(witness.name, remembered, size)
        old = remembered
    return Answer("unavailable", "the size that it has changes with every answer")


def _conflict(name: str, remembered: int | None, size: int) -> Answer:
    if remembered is None:
        return Answer("refused", "it answered 409 without the size that it has")
    if remembered > size:
        reason = f"the witness {name} has a checkpoint of {remembered} records; here are {size}"
        return Answer("conflict", reason)
    return Answer("conflict", f"the witness {name} has another root at {remembered} records")


def fetch_checkpoint(url: str, origin: str) -> Note | None:
    """The newest checkpoint that a witness of ours remembers; None when it has none.

    Raises BadEvidence for what is no checkpoint, OSError when nobody answers.
    """
    status, content = _get(f"{url}/{sha256(origin.encode()).hexdigest()}/checkpoint")
    return Note.parse(content) if status == 200 else None


def fetch_note(url: str) -> Note:
    """Raises BadEvidence for what is no signed note, OSError when nobody answers."""
    status, content = _get(url)
    if status != 200:
        raise BadEvidence(f"it answered {status}")
    return Note.parse(content)


def _get(url: str) -> tuple[int, bytes]:
    try:
        return _request(url, None)
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"{url}: {_text(error)}") from error


def _cosigned(witness: TrustedWitness, note: Note, content: bytes) -> Answer:
    try:
        answered = Note.parse(note.text + b"\n" + content)
        found = answered.verified([witness.key])
    except BadEvidence as error:
        return Answer("refused", f"its answer does not verify: {error.reason}")
    if not found:
        return Answer("refused", "it signed with another key than the trust policy names")
    own = witness.key.name, witness.key.id
    signature = next(e for e in answered.signatures if (e.name, e.key_id) == own)
    return Answer("cosigned", signature=signature)


def _unsigned(status: int) -> Answer:
    if status == 422:
        return Answer("conflict", "the consistency proof was refused: the log was written anew")
    if status == 429 or status >= 500:
        return Answer("unavailable", f"it answered {status}")
    reasons = {
        403: "it does not know the key of this log; give its administrator the vkey",
        404: "it does not know this log; give its administrator the vkey",
    }
    return Answer("refused", reasons.get(status, f"it answered {status}"))


def _request(url: str, body: bytes | None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise ValueError("the URL is not like https://witness.example")
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET" if body is None else "POST", parts.path, body)
        response = connection.getresponse()
        return response.status, response.read(_MAX_ANSWER_BYTES)
    finally:
        connection.close()


def _size(content: bytes) -> int | None:
    text = content.removesuffix(b"\n")
    return int(text) if text.isdigit() and len(text) < 20 else None


def _text(error: Exception) -> str:
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "no answer in time"
    return str(error) or type(error).__name__
