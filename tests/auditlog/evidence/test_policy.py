"""Trust policies: which checkpoints they accept, and what they refuse to be."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.evidence.errors import BadEvidence, RevokedKey
from auditlog.evidence.note import Signer
from auditlog.evidence.policy import TrustPolicy
from tests.auditlog.evidence.test_note import flipped
from tests.support.trees import ORIGIN, leaves_of, policy_text, signed, witness

SIGNER = Signer(ORIGIN, bytes(range(32)))
LEAVES = leaves_of(5)


def accepts(policy: str, witnesses: tuple[int, ...]) -> bool:
    parsed = TrustPolicy.parse(policy.encode())
    return parsed.trust(signed(LEAVES, SIGNER, witnesses=witnesses)).quorum


@given(st.sampled_from(["any", "all", "1", "2", "3"]), st.sets(st.integers(1, 4)))
def test_quorum(rule: str, seen: set[int]) -> None:
    """Witness 4 is not in the policy, and counts for nothing."""
    needed = {"any": 1, "all": 3}.get(rule) or int(rule)
    assert accepts(policy_text(SIGNER, rule=rule), tuple(sorted(seen))) == (
        len(seen - {4}) >= needed
    )


def test_quorum_of_groups_of_groups() -> None:
    lines = [f"log {SIGNER.key}"]
    lines += [f"witness {name} {witness(n).cosigner}" for n, name in enumerate("abcde", 1)]
    lines += ["group x 2 a b c", "group y any d e", "group both all x y", "quorum both", ""]
    policy = "\n".join(lines)
    for size in range(6):
        for seen in itertools.combinations(range(1, 6), size):
            expected = len(set(seen) & {1, 2, 3}) >= 2 and bool(set(seen) & {4, 5})
            assert accepts(policy, seen) == expected


def test_quorum_none_needs_the_signature_of_the_log_alone() -> None:
    policy = TrustPolicy.parse(f"# a comment\n\n\tlog  {SIGNER.key} \nquorum none\n".encode())
    assert policy.trust(signed(LEAVES, SIGNER)).quorum
    with pytest.raises(BadEvidence, match=r"does not verify|not signed"):
        policy.trust(signed(LEAVES, Signer(ORIGIN, bytes(32))))
    with pytest.raises(BadEvidence, match="names no log"):
        policy.trust(signed(LEAVES, SIGNER, origin="audit.example.com/x@y"))


def test_quorum_says_when_each_witness_saw_it() -> None:
    policy = TrustPolicy.parse(policy_text(SIGNER).encode())
    trusted = policy.trust(signed(LEAVES, SIGNER, witnesses=(1, 3)))
    assert sorted(trusted.seen) == ["w1", "w3"]
    assert trusted.witnessed_at is not None
    assert trusted.witnessed_at.timestamp() == 1_800_000_000


def test_every_bit() -> None:
    note = signed(LEAVES, SIGNER, witnesses=(1, 2))
    policy = policy_text(SIGNER).encode()
    assert TrustPolicy.parse(policy).trust(note).quorum
    for changed in flipped(policy):
        try:
            accepted = TrustPolicy.parse(changed).trust(note).quorum
        except BadEvidence:
            continue
        # The third witness did not sign; without it the rest of the line is as good.
        assert not accepted, changed


def test_every_bit_of_a_checkpoint() -> None:
    policy = TrustPolicy.parse(policy_text(SIGNER).encode())
    note = signed(LEAVES, SIGNER, witnesses=(1, 2))
    for changed in flipped(note.to_bytes()):
        try:
            accepted = policy.trust(type(note).parse(changed)).quorum
        except BadEvidence:
            continue
        assert not accepted, changed


KEY = str(SIGNER.key)
W1, W2 = str(witness(1).cosigner), str(witness(2).cosigner)
AGAIN = str(witness(1).cosigner.renamed("witness.example/other-name"))


MALFORMED: list[list[str]] = [
    [],
    ["quorum w1"],
    ["quorum none", "quorum none"],
    [f"log {KEY}", f"log {KEY}", "quorum none"],
    [f"log {W1}", "quorum none"],
    [f"witness w1 {KEY}", "quorum w1"],
    [f"witness w1 {W1}", f"witness w1 {W2}", "quorum w1"],
    [f"witness w1 {W1}", f"witness w2 {AGAIN}", "quorum w1"],
    [f"witness none {W1}", "quorum none"],
    [f"witness w1 {W1}", "group g 2 w1", "quorum g"],
    [f"witness w1 {W1}", "group g 0 w1", "quorum g"],
    [f"witness w1 {W1}", "group g 01 w1", "quorum g"],
    [f"witness w1 {W1}", "group g any", "quorum g"],
    [f"witness w1 {W1}", "group g any w2", "quorum g"],
    [f"witness w1 {W1}", "group g any none", "quorum g"],
    [f"witness w1 {W1}", "group g any w1 w1", "quorum g"],
    [f"witness w1 {W1}", "group g any w1", "group h any w1 g", "quorum h"],
    ["group g any g", "quorum g"],
    [f"witness w1 {W1} url too-many", "quorum w1"],
    [f"witness w1 {W1}\x0b", "quorum w1"],
    ["witness w1 rubbish", "quorum w1"],
    ["trust me", "quorum none"],
]


@pytest.mark.parametrize("lines", MALFORMED)
def test_malformed(lines: list[str]) -> None:
    with pytest.raises(BadEvidence):
        TrustPolicy.parse("\n".join([*lines, ""]).encode())


def test_malformed_names_the_line() -> None:
    with pytest.raises(BadEvidence, match="line 2 of the trust policy"):
        TrustPolicy.parse(f"log {KEY}\nwitless w1 {W1}\n".encode())


def test_a_policy_may_have_a_mebibyte() -> None:
    policy = policy_text(SIGNER).encode()
    padded = policy + b"#" * ((1 << 20) - len(policy))
    assert TrustPolicy.parse(padded) == TrustPolicy.parse(policy)
    with pytest.raises(BadEvidence, match="1,048,577 bytes is too long"):
        TrustPolicy.parse(padded + b"#")


@pytest.mark.parametrize(("cosigned_by", "also_new", "accepted"), [
    ((1, 2), False, True),
    ((1,), False, False),
    ((), False, False),
    ((), True, True),
])  # fmt: skip
def test_revoked(cosigned_by: tuple[int, ...], also_new: bool, accepted: bool) -> None:
    """Two witnesses are a quorum; the others of them cosigned after the revocation."""
    new = Signer(ORIGIN, bytes(32))
    time = dt.datetime.fromtimestamp(1_800_000_000, dt.UTC)
    text = policy_text(SIGNER, rule="2") + f"log {new.key}\n"
    text += f"revoked {SIGNER.renamed('any.example/log').key} {time:%Y-%m-%dT%H:%M:%SZ}\n"
    note = signed(leaves_of(3), SIGNER)
    note = note.with_signatures(
        witness(n).cosign(note.text, 1_800_000_000 - (n in cosigned_by)) for n in (1, 2, 3)
    )
    if also_new:
        note = note.with_signatures([new.sign(note.text)])
    policy = TrustPolicy.parse(text.encode())
    if accepted:
        trusted = policy.trust(note)
        assert trusted.quorum
        assert set(trusted.seen) == {f"w{n}" for n in (cosigned_by or (1, 2, 3))}
    else:
        with pytest.raises(RevokedKey, match="revoked as of 2027"):
            policy.trust(note)


@pytest.mark.parametrize("line", [
    "revoked {key}",
    "revoked {key} yesterday",
    "revoked {key} 2026-11-31T00:00:00Z",
    "revoked {key} 2026-11-30T00:00:00+01:00",
    "revoked {other} 2026-11-30T00:00:00Z",
    "revoked {key} 2026-11-30T00:00:00Z\nrevoked {key} 2026-11-30T00:00:00Z",
    "log {key}",
])  # fmt: skip
def test_revoked_is_a_key_of_the_policy_at_a_time_and_a_log_has_each_key_once(line: str) -> None:
    text = line.format(key=SIGNER.key, other=Signer(ORIGIN, bytes(32)).key)
    with pytest.raises(BadEvidence, match="of the trust policy"):
        TrustPolicy.parse(f"{policy_text(SIGNER)}{text}\n".encode())
