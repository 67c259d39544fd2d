"""The program that auditors get: it agrees with ours, with nothing but Python."""

from __future__ import annotations

import dataclasses
import datetime as dt
import subprocess
import sys
from hashlib import sha512
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from auditctl.export import check_record
from auditlog.evidence.errors import BadEvidence, RevokedKey
from auditlog.evidence.note import Note, Signer
from auditlog.evidence.policy import TrustPolicy
from auditlog.evidence.proof import RecordProof
from tests.auditlog.evidence.test_note import flipped
from tests.auditlog.evidence.test_policy import MALFORMED
from tests.auditlog.evidence.test_proof import proof_of
from tests.support.trees import ORIGIN, leaves_of, policy_text, signed, witness

SIGNER = Signer(ORIGIN, bytes(range(32)))
PROGRAM = Path(check_record.__file__)


def write(place: Path, proof: bytes, line: bytes, rule: str = "2") -> list[str]:
    paths = [place / name for name in ("proof", "policy", "line")]
    contents = proof, policy_text(SIGNER, rule=rule).encode(), line
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", PROGRAM, *arguments],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def refused(arguments: list[str]) -> bool:
    """In this process, which takes a tenth of the time."""
    try:
        check_record.main(*arguments)
    except (SystemExit, ValueError, TypeError, UnicodeError):
        return True
    return False


@pytest.mark.parametrize(("index", "size"), [(0, 1), (4, 7), (41, 300)])
def test_a_proof_is_accepted_with_nothing_but_python(tmp_path: Path, index: int, size: int) -> None:
    line = b"record %d" % index
    arguments = write(tmp_path, proof_of(index, size).to_bytes(), line + b"\n")
    code, said = run(*arguments)
    assert code == 0
    assert said.startswith(f"ok: record {index + 1} of {ORIGIN}; witnessed at 2027-01-15T")
    assert said.endswith(" by w1, w2\n")
    Path(arguments[2]).write_bytes(line + b"0")
    assert run(*arguments) == (1, f"FAILED: the line is not record {index + 1} of {ORIGIN}\n")


@pytest.mark.parametrize(
    ("witnesses", "rule", "says"),
    [((1,), "2", "only: w1"), ((), "any", "only: nobody"), ((1, 2), "all", "only: w1, w2")],
)
def test_too_few_witnesses_are_refused(
    tmp_path: Path, witnesses: tuple[int, ...], rule: str, says: str
) -> None:
    proof = proof_of(4, 7, witnesses=witnesses).to_bytes()
    code, said = run(*write(tmp_path, proof, b"record 4", rule))
    assert code == 1
    assert says in said


def test_every_changed_byte_of_a_proof_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bit of each byte in turn: an Ed25519 in Python takes its time."""
    proof = proof_of(1, 2).to_bytes()
    for changed in flipped(proof)[::9]:
        arguments = write(tmp_path, changed, b"record 1")
        assert refused(arguments), changed
    capsys.readouterr()
    assert not refused(write(tmp_path, proof, b"record 1"))


def test_what_is_no_proof_gets_a_verdict_and_no_traceback(tmp_path: Path) -> None:
    proof = proof_of(1, 2)
    for content in (b"", b"\xff", b"c2sp.org/tlog-proof@v1\n", proof.checkpoint.to_bytes()):
        code, said = run(*write(tmp_path, content, b"record 1"))
        assert (code, said[:8]) == (1, "FAILED: ")
    assert run(str(tmp_path / "missing"), "x", "y")[0] == 1
    assert RecordProof.parse(proof.to_bytes()) == proof


# Ed25519 ------------------------------------------------------------------------------------------


VECTORS = [  # RFC 8032, 7.1: TEST 1, TEST 2, TEST 3, TEST SHA(abc): public key, text, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
            "f9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b"\x72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
            "f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"\xaf\x82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
            "4dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        sha512(b"abc").digest(),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c664"
            "31e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]
SMALL_ORDER = [  # points of order 1, 2, 4, 4, 8, 8, 8, 8
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(("key", "text", "signature"), VECTORS)
def test_the_vectors_of_the_rfc_verify_and_nothing_near_them(
    key: str, text: bytes, signature: str
) -> None:
    public, right = bytes.fromhex(key), bytes.fromhex(signature)
    assert check_record.signed(public, text, right)
    assert not check_record.signed(public, text + b"\0", right)
    for place in (0, 31, 32, 63):
        changed = bytearray(right)
        changed[place] ^= 1
        assert not check_record.signed(public, text, bytes(changed))
    for length in (0, 32, 63):
        assert not check_record.signed(public, text, right[:length])
    assert not check_record.signed(public, text, right + b"\0")
    assert not check_record.signed(public[:31], text, right)


@given(
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=80),
    st.sampled_from(["key", "text", "signature", "nothing"]),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_it_agrees_with_the_library_on_every_signature(
    seed: bytes, text: bytes, part: str, data: st.DataObject
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    parts = {
        "key": private.public_key().public_bytes_raw(),
        "text": text + b".",
        "signature": private.sign(text + b"."),
    }
    if part != "nothing":
        bit = data.draw(st.integers(0, len(parts[part]) * 8 - 1))
        changed = bytearray(parts[part])
        changed[bit // 8] ^= 1 << bit % 8
        parts[part] = bytes(changed)
    try:
        Ed25519PublicKey.from_public_bytes(parts["key"]).verify(parts["signature"], parts["text"])
    except InvalidSignature:
        right = False
    else:
        right = True
    assert right == (part == "nothing")
    assert check_record.signed(parts["key"], parts["text"], parts["signature"]) == right


def test_a_signature_has_no_second_form() -> None:
    """RFC 8032, 5.1.7: with the group's order added to it, S would verify as well."""
    public, text, right = bytes.fromhex(VECTORS[2][0]), VECTORS[2][1], bytes.fromhex(VECTORS[2][2])
    again = int.from_bytes(right[32:], "little") + ORDER
    assert not check_record.signed(public, text, right[:32] + again.to_bytes(32, "little"))


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_points_of_small_order_sign_nothing(point: str) -> None:
    """With such a key, the signature of one text is that of many; OpenSSL takes the first one."""
    small = bytes.fromhex(point)
    for text in (b"", b"a", b"b", b"c", b"d", b"e", b"f", b"g"):
        for first in map(bytes.fromhex, SMALL_ORDER):
            assert not check_record.signed(small, text, first + bytes(32))
    assert check_record.point_of(small) is None


def test_a_point_has_no_second_form() -> None:
    """RFC 8032, 5.1.3: y has to be below P.  A few small ones could be written with P added."""
    few = [y for y in range(19) if check_record.point_of(y.to_bytes(32, "little"))]
    assert len(few) > 5
    for y in few:
        assert check_record.point_of((y + check_record.P).to_bytes(32, "little")) is None


# Policies -----------------------------------------------------------------------------------------


def ours(policy: bytes, note: bytes) -> object:
    try:
        trusted = TrustPolicy.parse(policy).trust(Note.parse(note))
    except RevokedKey:
        return "revoked"
    except BadEvidence:
        return None
    seen = {name: int(at.timestamp()) for name, at in trusted.seen.items()}
    head = trusted.checkpoint
    return head.origin, head.size, head.root, seen, trusted.quorum


def theirs(policy: bytes, note: bytes) -> object:
    try:
        return tuple(check_record.head_of(note, check_record.policy_of(policy)))
    except check_record.RevokedAlone:
        return "revoked"
    except ValueError:
        return None


NOTE = signed(leaves_of(5), SIGNER, witnesses=(1, 2)).to_bytes()
POLICY = policy_text(SIGNER).encode()
SECONDS = 1_800_000_000
NEW, OTHER = Signer(ORIGIN, bytes(32)), Signer(ORIGIN, bytes([1] * 32))
BOTH = f"{policy_text(SIGNER)}log {NEW.key}\n"


def revoked(key: object, seconds: int = SECONDS) -> str:
    return f"revoked {key} {dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}\n"


ROTATED = f"{BOTH}{revoked(SIGNER.key)}".encode()
WORDS = (b"log", b"witness", b"group", b"quorum", b"w1", b"w2", b"w3", b"g", b"h", b"none", b"any")
PIECES = st.sampled_from(
    [
        *(*WORDS, b"all", b"0", b"1", b"2", b"01", b"\xd9\xa1", b" ", b"\t", b"\n", b"\r", b"#"),
        *(b"+", b"\xc2\xa0", b"\0", b"\xff", b"=", b"A", b"all-of-them", b"revoked"),
        *(b"2027-01-15T08:00:01Z", str(NEW.key).encode(), revoked(NEW.key).encode()),
        str(witness(4).cosigner).encode(),
    ]
)


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """The data with a few places overwritten, cut out, repeated or filled in."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        piece = draw(st.one_of(st.binary(max_size=3), PIECES, st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


@given(st.one_of(mutated(POLICY), mutated(ROTATED)), mutated(NOTE))
@settings(max_examples=150, deadline=None)
def test_it_agrees_with_the_product_on_every_policy_and_checkpoint(
    policy: bytes, note: bytes
) -> None:
    assert theirs(policy, NOTE) == ours(policy, NOTE)
    assert theirs(POLICY, note) == ours(POLICY, note)


@st.composite
def rotations(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A policy with keys of one log, and with revocations; a checkpoint that some of them signed.

    A witness may have the key of the log.  The times are few, so that they often are the same.
    """
    some, rarely = st.integers(SECONDS - 1, SECONDS + 1), st.integers(0, 9).map(lambda n: n == 5)
    text = policy_text(SIGNER, rule=draw(st.sampled_from(["any", "2"])))
    if draw(rarely):
        text = text.replace("group", f"witness w4 {NEW.cosigner}\ngroup").replace(
            " w3\nq", " w4\nq"
        )
    keys = [SIGNER, *draw(st.lists(st.sampled_from([NEW, OTHER]), unique=True))]
    text += "".join(f"log {key.key}\n" for key in keys[1:])
    for key in draw(st.lists(st.sampled_from(keys), max_size=2, unique=not draw(rarely))):
        named = (witness(1) if draw(rarely) else key).renamed(draw(st.sampled_from([ORIGIN, "a"])))
        text += revoked(draw(st.sampled_from([named.key, named.cosigner])), draw(some))
    if draw(rarely):
        text = text.replace(":00Z", draw(st.sampled_from([":60Z", "Z", ":00z", ":0\u0660Z", ""])))
    head = signed(leaves_of(5), SIGNER).text
    signers = draw(st.sets(st.sampled_from([*keys, OTHER] if draw(rarely) else keys), min_size=1))
    cosigners = draw(st.sets(st.sampled_from([*map(witness, (1, 2, 3)), NEW]), min_size=1))
    note = Note(head, ()).with_signatures(
        [
            *(key.sign(head) for key in signers),
            *(each.cosign(head, draw(some)) for each in cosigners),
        ]
    )
    return text.encode(), note.to_bytes()


@given(rotations())
@settings(max_examples=100, deadline=None)
def test_it_agrees_with_the_product_on_rotated_and_revoked_keys(
    drawn: tuple[bytes, bytes],
) -> None:
    policy, note = drawn
    assert theirs(policy, note) == ours(policy, note)


@pytest.mark.parametrize(
    ("policy", "signers", "seconds", "says"),
    [
        (BOTH, (SIGNER,), 0, "ok: "),
        (BOTH, (NEW,), 0, "ok: "),
        (BOTH, (SIGNER, NEW), 0, "ok: "),
        (BOTH, (OTHER,), 0, "FAILED: the checkpoint is not signed by"),
        (BOTH + revoked(SIGNER.key), (SIGNER,), -1, "ok: "),
        (BOTH + revoked(SIGNER.key), (SIGNER,), 0, f"FAILED: the key of {ORIGIN} is revoked as of"),
        (BOTH + revoked(SIGNER.key), (SIGNER, NEW), 0, "ok: "),
        (BOTH + revoked(SIGNER.cosigner.renamed("any")), (SIGNER,), 0, "FAILED: the key of "),
        (BOTH + revoked(OTHER.key), (NEW,), 0, "FAILED: line 8 of the policy: "),
    ],
)
def test_a_proof_under_a_rotated_key_gets_the_verdict_of_the_product(
    tmp_path: Path, policy: str, signers: tuple[Signer, ...], seconds: int, says: str
) -> None:
    proof = proof_of(4, 7)
    text = proof.checkpoint.text
    note = Note(text, ()).with_signatures(
        [
            *(signer.sign(text) for signer in signers),
            *(witness(number).cosign(text, SECONDS + seconds) for number in (1, 2)),
        ]
    )
    content = dataclasses.replace(proof, checkpoint=note).to_bytes()
    arguments = write(tmp_path, content, b"record 4")
    Path(arguments[1]).write_text(policy)
    code, said = run(*arguments)
    assert (code, said[: len(says)]) == (not says.startswith("ok"), says)
    assert code == 0 or "Traceback" not in said


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), max_size=8))
@settings(max_examples=150, deadline=None)
def test_it_agrees_with_the_product_on_every_rule(rules: list[list[bytes]]) -> None:
    rest = [b" ".join(words) for words in rules]
    policy = POLICY.rpartition(b"group")[0] + b"\n".join(rest)
    assert theirs(policy, NOTE) == ours(policy, NOTE)


@pytest.mark.parametrize("lines", MALFORMED)
def test_a_malformed_policy_is_refused(lines: list[str]) -> None:
    with pytest.raises(check_record.NotProven):
        check_record.policy_of("\n".join([*lines, ""]).encode())


def test_it_agrees_with_the_product_on_groups_of_groups() -> None:
    assert theirs(POLICY, NOTE) == ours(POLICY, NOTE)
    deep = "".join(f"group g{n} any {f'g{n - 1}' if n else 'w1'}\n" for n in range(20_000))
    policy = f"{POLICY.decode().partition('group')[0]}{deep}quorum g19999\n".encode()
    head = check_record.head_of(NOTE, check_record.policy_of(policy))
    assert head.has_quorum
    assert TrustPolicy.parse(policy).trust(Note.parse(NOTE)).quorum


def test_files_are_read_to_a_bound_and_named_where_they_are_longer(tmp_path: Path) -> None:
    arguments = write(tmp_path, proof_of(1, 2).to_bytes(), b"record 1")
    with Path(arguments[0]).open("wb") as file:
        file.truncate(1 << 40)
    code, said = run(*arguments)
    assert (code, "is longer than 1048576 bytes" in said) == (1, True)
