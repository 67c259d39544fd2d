"""Parse a trust policy (c2sp.org/tlog-policy) and decide which checkpoints it accepts.  Pure.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <name>…
    quorum <name>|none
    revoked <vkey> <time>

A checkpoint is valid when the log that its origin names signed it, and witnesses cosigned it by the
rule of the quorum.  Logs of one host share a key under several names; witnesses that share a key
are refused, since one of them could then count twice.

A log may have several keys: during a rotation it signs with the old one and the new one.  The line
``revoked`` is ours (docs/adr/0015-revocation-is-a-line-of-the-trust-policy.md): what was signed
with that key alone, for whatever log, counts as far as witnesses cosigned it before that time.
Other programs refuse a policy with such a line, which is better than to ignore it.

Invariants (tests of the same name in tests/auditlog/evidence/test_policy.py):
  quorum      a checkpoint is accepted exactly when the signatures present satisfy the rule
  every_bit   a checkpoint is refused under a policy with any bit changed
  revoked     of a revoked key, a checkpoint counts exactly when a quorum cosigned it before
  malformed   a line that is not understood refuses the policy, naming the line
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.errors import BadEvidence, RevokedKey
from auditlog.evidence.note import COSIGNATURE, ED25519, Key, Note

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_POLICY_BYTES", "TrustPolicy", "Trusted", "TrustedWitness", "WitnessGroup"]

MAX_POLICY_BYTES: Final = 1 << 20
NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class TrustedWitness:
    """A witness of the policy; ``url`` is where checkpoints are submitted, "" when not given."""

    name: str
    key: Key
    url: str = ""


@dataclass(frozen=True, slots=True)
class WitnessGroup:
    """Satisfied when ``threshold`` of the members are."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trusted:
    """A checkpoint whose log signature is valid.

    ``seen`` says which witnesses (by their names in the policy) cosigned it, and when; ``quorum``
    whether that is enough.
    """

    checkpoint: Checkpoint
    note: Note
    seen: Mapping[str, dt.datetime]
    quorum: bool

    @property
    def witnessed_at(self) -> dt.datetime | None:
        """Time of the newest cosignature: the checkpoint existed then."""
        return max(self.seen.values(), default=None)


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A parsed policy; ``logs`` has the keys by origin.  URLs of logs are ignored, as are no logs.

    ``revoked`` has the time of a revocation by the public key.
    """

    logs: Mapping[str, tuple[Key, ...]]
    witnesses: Mapping[str, TrustedWitness]
    groups: Mapping[str, WitnessGroup] = field(default_factory=dict)
    quorum: str = NONE
    revoked: Mapping[bytes, dt.datetime] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> TrustPolicy:
        """Raises BadEvidence, naming the line."""
        if len(data) > MAX_POLICY_BYTES:
            raise BadEvidence(f"a policy of {len(data):,} bytes is too long")
        # Octets of any encoding are allowed, and compared as they are.
        text = data.decode("utf-8", "surrogateescape")
        builder = _Builder()
        for number, line in enumerate(text.split("\n"), 1):
            fields = line.strip(" \t").replace("\t", " ").split(" ")
            fields = [each for each in fields if each]
            if not fields or fields[0].startswith("#"):
                continue
            try:
                builder.take(fields, line)
            except BadEvidence as error:
                raise BadEvidence(
                    f"line {number} of the trust policy: {error.reason}", hint=error.hint
                ) from None
        return builder.policy()

    def trust(self, note: Note) -> Trusted:
        """Verify a signed checkpoint; ``quorum`` of the result still has to be looked at.

        Raises BadEvidence when it is malformed, of a log the policy does not name, not signed by
        that log, or cosigned wrongly by a witness of the policy; RevokedKey when it is signed with
        revoked keys alone and no quorum cosigned it before.
        """
        checkpoint = Checkpoint.parse(note.text)
        keys = self.logs.get(checkpoint.origin)
        if keys is None:
            raise BadEvidence(f"the trust policy names no log {checkpoint.origin}")
        signers = [each.key.public for each in note.verified(keys)]
        if not signers:
            raise BadEvidence(f"the checkpoint is not signed by {checkpoint.origin}")
        seen = self.cosigned(note)
        if all(public in self.revoked for public in signers):
            until = max(self.revoked[public] for public in signers)
            seen = {name: at for name, at in seen.items() if at < until}
            if not seen or not self.satisfied(frozenset(seen)):
                raise RevokedKey(
                    f"the key of {checkpoint.origin} is revoked as of {until:%Y-%m-%dT%H:%M:%SZ},"
                    " and no quorum cosigned the checkpoint before"
                )
        return Trusted(checkpoint, note, seen, self.satisfied(frozenset(seen)))

    def cosigned(self, note: Note) -> dict[str, dt.datetime]:
        """Return the time of each cosignature by a witness of the policy.  Raises BadEvidence."""
        names = {witness.key: name for name, witness in self.witnesses.items()}
        return {
            names[each.key]: _instant(each.seconds)
            for each in note.verified(names)
            if each.seconds is not None
        }

    def satisfied(self, seen: frozenset[str]) -> bool:
        """Whether cosignatures of these witnesses are enough."""
        held = {NONE, *seen}
        for name, group in self.groups.items():  # a group has only members defined before it
            if sum(member in held for member in group.members) >= group.threshold:
                held.add(name)
        return self.quorum in held


def _instant(seconds: int) -> dt.datetime:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, ValueError, OSError):
        raise BadEvidence(f"a cosignature of the impossible time {seconds}") from None


class _Builder:
    """Collects the lines in order; a line may only name logs, witnesses and groups before it."""

    def __init__(self) -> None:
        self._logs: dict[str, tuple[Key, ...]] = {}
        self._revoked: dict[bytes, dt.datetime] = {}
        self._witnesses: dict[str, TrustedWitness] = {}
        self._groups: dict[str, WitnessGroup] = {}
        self._members: set[str] = set()
        self._quorum = ""

    def take(self, fields: list[str], line: str) -> None:
        if re.search(r"[\0-\x08\x0b-\x1f\x7f]", line):
            raise BadEvidence("there is a control character in it")
        match fields:
            case ["log", vkey] | ["log", vkey, _]:
                self._log(Key.parse(vkey))
            case ["witness", name, vkey]:
                self._witness(TrustedWitness(name, Key.parse(vkey)))
            case ["witness", name, vkey, url]:
                self._witness(TrustedWitness(name, Key.parse(vkey), url.rstrip("/")))
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name]:
                self._end(name)
            case ["revoked", vkey, time]:
                self._revoke(Key.parse(vkey), time)
            case _:
                raise BadEvidence(
                    "it is not understood",
                    hint="There are log, witness, group, quorum and revoked lines.",
                )

    def policy(self) -> TrustPolicy:
        if not self._quorum:
            raise BadEvidence("the trust policy has no quorum line")
        return TrustPolicy(self._logs, self._witnesses, self._groups, self._quorum, self._revoked)

    def _log(self, key: Key) -> None:
        if key.kind != ED25519:
            raise BadEvidence(f"the key of {key.name} is not a log's")
        keys = self._logs.get(key.name, ())
        if key in keys:
            raise BadEvidence(f"the log {key.name} is named twice with one key")
        self._logs[key.name] = (*keys, key)

    def _revoke(self, key: Key, time: str) -> None:
        if not any(key.public == each.public for keys in self._logs.values() for each in keys):
            raise BadEvidence(f"no line before it has the key of {key.name}")
        if key.public in self._revoked:
            raise BadEvidence(f"the key of {key.name} is revoked twice")
        if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time, re.ASCII) is None:
            raise BadEvidence(f"{time!r} is not a time", hint="It is like 2026-11-23T07:12:00Z.")
        try:
            self._revoked[key.public] = dt.datetime.fromisoformat(time)
        except ValueError:
            raise BadEvidence(f"{time!r} is not a time") from None

    def _witness(self, witness: TrustedWitness) -> None:
        self._new_name(witness.name)
        if witness.key.kind != COSIGNATURE:
            raise BadEvidence(f"the key of the witness {witness.name} does not cosign")
        if any(witness.key.public == other.key.public for other in self._witnesses.values()):
            raise BadEvidence(f"the key of the witness {witness.name} is another witness's, too")
        self._witnesses[witness.name] = witness

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        self._new_name(name)
        for member in members:
            self._known(member)
            if member in self._members:
                raise BadEvidence(f"{member} is a member twice")
            self._members.add(member)
        count = {"any": "1", "all": str(len(members))}.get(threshold, threshold)
        if re.fullmatch(r"[1-9][0-9]{0,3}", count, re.ASCII) is None or int(count) > len(members):
            raise BadEvidence(f"{threshold} of {len(members)} is not a threshold")
        self._groups[name] = WitnessGroup(int(count), tuple(members))

    def _end(self, name: str) -> None:
        if self._quorum:
            raise BadEvidence("there is a second quorum line")
        if name != NONE:
            self._known(name)
        self._quorum = name

    def _new_name(self, name: str) -> None:
        if name == NONE or name in self._witnesses or name in self._groups:
            raise BadEvidence(f"the name {name!r} is taken")

    def _known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise BadEvidence(f"no line before it defines {name!r}")
