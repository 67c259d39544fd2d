"""Read, sign and verify signed notes and cosignatures.  Pure.

c2sp.org/signed-note: a text, an empty line, and signature lines
``— <name> base64(key id || signature)``.  A key is written as
``<name>+<key id>+base64(type || key)`` (a *vkey*).  Two types are known: Ed25519 of the text (1),
and cosignature/v1 (4, c2sp.org/tlog-cosignature), which signs the text together with the time.

Invariants (tests of the same name in tests/auditlog/evidence/test_note.py):
  round_trip   what is signed is read back and verifies
  every_bit    a note with any bit changed verifies with none of its keys, or is refused
  unknown      a signature of an unknown key is ignored; a wrong one of a known key is refused
"""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auditlog.evidence.errors import BadEvidence

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "MAX_NOTE_BYTES",
    "Key",
    "Note",
    "Signature",
    "Signer",
    "Verified",
    "decode_base64",
    "encode_base64",
]

ED25519: Final = 1
COSIGNATURE: Final = 4

MAX_NOTE_BYTES: Final = 1 << 16
_MAX_SIGNATURES: Final = 100
_DASH: Final = "— "
_SEED_PREFIX: Final = "PRIVATE+KEY+"


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Raises BadEvidence for everything that encode_base64 would write in another way."""
    try:
        data = base64.b64decode(text)
    except ValueError:
        data = b""
    if encode_base64(data) != text:
        raise BadEvidence("a base64 value is malformed")
    return data


def _check_name(name: str) -> None:
    if not name or "+" in name or not name.isprintable() or re.search(r"\s", name):
        raise BadEvidence(
            f"{name!r} cannot name a key",
            hint="A name is like example.com/log: no space, no plus, no control character.",
        )


def _cosigned(text: bytes, seconds: int) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (seconds, text)


@dataclass(frozen=True, slots=True)
class Key:
    """A public key under a name, for one type of signature."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.kind not in (ED25519, COSIGNATURE):
            raise BadEvidence(f"the key of {self.name} has the unknown type {self.kind}")
        if len(self.public) != 32:
            raise BadEvidence(f"the key of {self.name} is not 32 bytes long")

    @property
    def id(self) -> bytes:
        material = b"%b\n%c%b" % (self.name.encode(), self.kind, self.public)
        return sha256(material).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode_base64(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> Key:
        """Raises BadEvidence, also when the key id is not that of name and key."""
        name, _, rest = vkey.partition("+")
        key_id, _, material = rest.partition("+")
        raw = decode_base64(material)
        if not raw:
            raise BadEvidence("a key is malformed", hint="It is like NAME+0123abcd+BASE64.")
        key = cls(name, raw[0], raw[1:])
        if key.id.hex() != key_id:
            raise BadEvidence(f"the key id of {name} does not fit the key")
        return key

    def fingerprint(self) -> str:
        """Return the fingerprint for comparison by people: the SHA-256 of the public key."""
        return sha256(self.public).hexdigest()

    def renamed(self, name: str) -> Key:
        return Key(name, self.kind, self.public)

    def check(self, text: bytes, signature: bytes) -> int | None:
        """Verify a signature of the text.  Returns the seconds a cosignature names, else None.

        Raises BadEvidence when it does not verify.
        """
        seconds = None
        if self.kind == COSIGNATURE:
            if len(signature) != 72:
                raise BadEvidence(f"the cosignature of {self.name} is not 72 bytes long")
            (seconds,) = struct.unpack(">Q", signature[:8])
            text, signature = _cosigned(text, seconds), signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            raise BadEvidence(f"the signature of {self.name} does not verify") from None
        return seconds


class Signer:
    """A private Ed25519 key under a name.  Its text form holds the secret; its repr does not."""

    def __init__(self, name: str, seed: bytes) -> None:
        if len(seed) != 32:
            raise BadEvidence("a private key is not 32 bytes long")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        public = self._private.public_key().public_bytes_raw()
        self.key = Key(name, ED25519, public)
        self.cosigner = Key(name, COSIGNATURE, public)

    @property
    def name(self) -> str:
        return self.key.name

    @classmethod
    def parse(cls, text: str) -> Signer:
        """Read the form PRIVATE+KEY+<name>+<key id>+<base64>.  Raises BadEvidence."""
        name, _, rest = text.strip().removeprefix(_SEED_PREFIX).partition("+")
        key_id, _, material = rest.partition("+")
        if not text.startswith(_SEED_PREFIX):
            raise BadEvidence("this is not a private key of a signed note")
        raw = decode_base64(material)
        if raw[:1] not in (b"\1", b"\4"):
            raise BadEvidence("the private key is malformed or has an unknown type")
        signer = cls(name, raw[1:])
        if signer.key.id.hex() != key_id:
            raise BadEvidence("the key id of the private key does not fit it")
        return signer

    def secret_text(self) -> str:
        material = encode_base64(bytes([ED25519]) + self._seed)
        return f"{_SEED_PREFIX}{self.name}+{self.key.id.hex()}+{material}\n"

    def renamed(self, name: str) -> Signer:
        """The same key for another log: the name is part of a signature's key id."""
        return Signer(name, self._seed)

    def sign(self, text: bytes) -> Signature:
        return Signature(self.name, self.key.id, self._private.sign(text))

    def cosign(self, text: bytes, seconds: int) -> Signature:
        signed = self._private.sign(_cosigned(text, seconds))
        return Signature(self.name, self.cosigner.id, struct.pack(">Q", seconds) + signed)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.blob)}\n"

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read a line without its LF.  Raises BadEvidence."""
        name, space, material = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space:
            raise BadEvidence("a signature line of the note is malformed")
        _check_name(name)
        raw = decode_base64(material)
        if len(raw) < 5:
            raise BadEvidence("a signature of the note is too short")
        return cls(name, raw[:4], raw[4:])


@dataclass(frozen=True, slots=True)
class Verified:
    """A key whose signature was found right; ``seconds`` since the epoch where it names a time."""

    key: Key
    seconds: int | None


@dataclass(frozen=True, slots=True)
class Note:
    """A text, LF at its end, with the signatures that stand below it."""

    text: bytes
    signatures: tuple[Signature, ...]

    def to_bytes(self) -> bytes:
        return self.text + b"\n" + "".join(map(str, self.signatures)).encode()

    def lines(self) -> list[str]:
        """Return the note as lines, for the details of a record."""
        return self.to_bytes().decode().removesuffix("\n").split("\n")

    @classmethod
    def of_lines(cls, lines: list[str]) -> Note:
        """Raises BadEvidence."""
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise BadEvidence("a note on record is not a list of lines")
        return cls.parse("".join(f"{line}\n" for line in lines).encode())

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Raises BadEvidence; nothing is verified yet."""
        if len(data) > MAX_NOTE_BYTES:
            raise BadEvidence(f"a note of {len(data):,} bytes is too long")
        try:
            decoded = data.decode("utf-8")
        except UnicodeDecodeError:
            raise BadEvidence("the note is not valid UTF-8") from None
        text, empty, signed = decoded.rpartition("\n\n")
        if not empty or not signed.endswith("\n") or re.search(r"[\0-\x09\x0b-\x1f]", decoded):
            raise BadEvidence("this is not a signed note")
        lines = signed.removesuffix("\n").split("\n")
        if len(lines) > _MAX_SIGNATURES:
            raise BadEvidence(f"the note has {len(lines)} signatures")
        return cls(f"{text}\n".encode(), tuple(map(Signature.parse, lines)))

    def verified(self, keys: Iterable[Key]) -> tuple[Verified, ...]:
        """Return the keys that signed.  Raises BadEvidence when a signature of one is invalid."""
        known = {(key.name, key.id): key for key in keys}
        found: dict[tuple[str, bytes], Verified] = {}
        for signature in self.signatures:
            place = signature.name, signature.key_id
            if place in known and place not in found:
                key = known[place]
                found[place] = Verified(key, key.check(self.text, signature.blob))
        return tuple(found.values())

    def with_signatures(self, more: Iterable[Signature]) -> Note:
        """Return the note with these signatures added; one of the same key is replaced."""
        by_key = {(each.name, each.key_id): each for each in (*self.signatures, *more)}
        return Note(self.text, tuple(by_key.values()))
