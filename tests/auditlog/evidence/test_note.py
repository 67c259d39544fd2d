"""Signed notes: what is signed verifies, and nothing else does."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.note import (
    COSIGNATURE,
    ED25519,
    Key,
    Note,
    Signature,
    Signer,
    decode_base64,
)
from tests.support.trees import witness

SIGNER = Signer("example.com/log", bytes(range(32)))
TEXT = b"example.com/log\n42\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1).filter(
    lambda text: "+" not in text
)


def flipped(data: bytes) -> list[bytes]:
    """The data with each of its bits changed, one at a time."""
    changed = []
    for position in range(len(data) * 8):
        copy = bytearray(data)
        copy[position // 8] ^= 1 << position % 8
        changed.append(bytes(copy))
    return changed


@given(NAMES, st.binary(min_size=32, max_size=32), st.integers(0, 1 << 62))
def test_round_trip(name: str, seed: bytes, seconds: int) -> None:
    signer = Signer(name, seed)
    assert Signer.parse(signer.secret_text()).key == signer.key
    keys = [Key.parse(str(signer.key)), Key.parse(str(signer.cosigner))]
    note = Note(TEXT, (signer.sign(TEXT), signer.cosign(TEXT, seconds)))
    again = Note.parse(note.to_bytes())
    assert again == note
    assert [each.seconds for each in again.verified(keys)] == [None, seconds]


def test_every_bit() -> None:
    note = Note(TEXT, (SIGNER.sign(TEXT), witness(1).cosign(TEXT, 1_800_000_000)))
    keys = [SIGNER.key, witness(1).cosigner]
    assert len(note.verified(keys)) == 2
    for changed in flipped(note.to_bytes()):
        try:
            assert len(Note.parse(changed).verified(keys)) < 2
        except BadEvidence:
            continue


def test_every_bit_of_a_key_is_covered_by_its_id() -> None:
    for changed in flipped(str(SIGNER.key).encode()):
        try:
            key = Key.parse(changed.decode())
        except (BadEvidence, UnicodeDecodeError):
            continue
        assert key != SIGNER.key


def test_unknown() -> None:
    stranger = Signature("example.com/other", b"1234", b"whatever")
    note = Note(TEXT, (SIGNER.sign(TEXT), stranger))
    assert [each.key for each in note.verified([SIGNER.key])] == [SIGNER.key]
    wrong = Note(TEXT, (Signature(SIGNER.name, SIGNER.key.id, bytes(64)), stranger))
    with pytest.raises(BadEvidence, match="does not verify"):
        wrong.verified([SIGNER.key])


def test_a_newer_signature_of_a_key_replaces_the_older_one() -> None:
    note = Note(TEXT, (witness(1).cosign(TEXT, 100),)).with_signatures(
        [witness(1).cosign(TEXT, 200)]
    )
    assert [each.seconds for each in note.verified([witness(1).cosigner])] == [200]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n- name AAAAAAA=\n",
        "text\n\n— name AAAAAAA\n".encode(),
        "text\n\n— name AAAAAAA=".encode(),
        "text\n\n— na+me AAAAAAA=\n".encode(),
        b"text\n\nname AAAAAAA=\n",
        "text\n\n— nameAAAAAAA=\n".encode(),
        "text\n\n— name AAAAAA==\n".encode(),
        "te\rxt\n\n— name AAAAAAA=\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        TEXT + b"\n" + "— name AAAAAAA=\n".encode() * 101,
        TEXT * 1000,
    ],
)
def test_what_is_not_a_note_is_refused(data: bytes) -> None:
    with pytest.raises(BadEvidence):
        Note.parse(data)


SHORTEST = "— name AAAAAAA=\n".encode()  # one byte behind the key id


def test_a_note_may_have_a_hundred_signatures() -> None:
    assert len(Note.parse(TEXT + b"\n" + SHORTEST * 100).signatures) == 100
    with pytest.raises(BadEvidence, match="101 signatures"):
        Note.parse(TEXT + b"\n" + SHORTEST * 101)


def test_a_note_may_have_64_kib() -> None:
    room = 65_536 - len(b"\n\n" + SHORTEST)
    assert len(Note.parse(b"x" * room + b"\n\n" + SHORTEST).to_bytes()) == 65_536
    with pytest.raises(BadEvidence, match="65,537 bytes is too long"):
        Note.parse(b"x" * (room + 1) + b"\n\n" + SHORTEST)


def test_the_types_of_keys_are_those_of_the_public_formats() -> None:
    assert (ED25519, COSIGNATURE) == (1, 4)
    for key, kind in ((SIGNER.key, 1), (SIGNER.cosigner, 4)):
        assert decode_base64(str(key).split("+", 2)[2]) == bytes([kind]) + SIGNER.key.public
    with pytest.raises(BadEvidence, match="unknown type 2"):
        Key("name", 2, SIGNER.key.public)


def test_a_key_under_another_name_is_another_key_with_the_same_fingerprint() -> None:
    key, signer = SIGNER.key.renamed("other"), SIGNER.renamed("other")
    assert key == signer.key == Key("other", ED25519, SIGNER.key.public)
    assert key.id != SIGNER.key.id
    assert key.fingerprint() == sha256(SIGNER.key.public).hexdigest()
    assert Note(TEXT, (signer.sign(TEXT),)).verified([key])


def test_a_note_on_record_is_a_list_of_its_lines() -> None:
    note = Note(TEXT, (SIGNER.sign(TEXT), witness(1).cosign(TEXT, 5)))
    lines = note.lines()
    assert lines[:4] == [*TEXT.decode().splitlines(), ""]
    assert len(lines) == 6
    assert Note.of_lines(lines) == note


@pytest.mark.parametrize("lines", [None, "a note", 7, [1], [*TEXT.decode().splitlines(), None], {}])
def test_what_is_not_a_list_of_lines_is_no_note(lines: object) -> None:
    with pytest.raises(BadEvidence, match="not a list of lines"):
        Note.of_lines(lines)  # type: ignore[arg-type]  # as it was read from a record


def test_no_secret_is_in_a_repr_or_in_an_error() -> None:
    secret = SIGNER.secret_text().split("+")[-1].strip()
    assert secret not in repr(SIGNER)
    with pytest.raises(BadEvidence) as refused:
        Signer.parse(SIGNER.secret_text().replace("example.com", "example.org"))
    assert secret not in str(refused.value)
