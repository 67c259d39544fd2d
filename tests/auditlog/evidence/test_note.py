"""Signed notes: what is signed verifies, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.note import Key, Note, Signature, Signer
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
        "te\rxt\n\n— name AAAAAAA=\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAA=\n",
        TEXT + b"\n" + "— name AAAAAAA=\n".encode() * 101,
        TEXT * 1000,
    ],
)
def test_what_is_not_a_note_is_refused(data: bytes) -> None:
    with pytest.raises(BadEvidence):
        Note.parse(data)


def test_no_secret_is_in_a_repr_or_in_an_error() -> None:
    secret = SIGNER.secret_text().split("+")[-1].strip()
    assert secret not in repr(SIGNER)
    with pytest.raises(BadEvidence) as refused:
        Signer.parse(SIGNER.secret_text().replace("example.com", "example.org"))
    assert secret not in str(refused.value)
