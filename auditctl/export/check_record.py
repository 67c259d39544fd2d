#!/usr/bin/env python3
"""Check one record offline, using only Python 3.9 or newer.

    python3 -I check_record.py PROOF POLICY LINE

PROOF is a c2sp.org/tlog-proof@v1, POLICY a c2sp.org/tlog-policy of whoever checks, LINE a file with
the record's line.  Exits with 0 and says when it was witnessed, or with 1 and says why not.
A policy may name several keys of one log, and have lines `revoked <vkey> <time>`: what that key
alone signed counts as far as a quorum of witnesses cosigned it before the time.
In an export, check.py uses it for signatures and policies.
Nothing here is secret, so nothing has to take the same time for every input.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple, NoReturn

Point = tuple[int, int, int, int]

# Ed25519 (RFC 8032): points on a curve over the integers modulo P, in extended coordinates.
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


class NotProven(ValueError):
    """Says in words why something is not proven."""


class RevokedAlone(NotProven):
    """Only revoked keys signed it, which whoever stole one can do at any time."""


class VerifierKey(NamedTuple):
    """A public key: its name, its id in signatures, and 1 for a log or 4 for a witness."""

    name: str
    id: bytes
    kind: int
    public: bytes


class AuditorPolicy(NamedTuple):
    """Keys of logs by origin, of witnesses by their names; groups with (need, members).

    ``revoked`` has the time of a revocation, in seconds, by the public key.
    """

    logs: dict[str, list[VerifierKey]]
    witnesses: dict[str, VerifierKey]
    groups: dict[str, tuple[int, list[str]]]
    members: set[str]  # of any group, each of one
    quorum: str
    revoked: dict[bytes, int]


class TreeHead(NamedTuple):
    """A checkpoint that its log signed; ``seen``: the witnesses, each with its time in seconds."""

    origin: str
    size: int
    root: bytes
    seen: dict[str, int]
    has_quorum: bool


def refuse(why: str) -> NoReturn:
    raise NotProven(why)


def content(path: str | Path, most: int = 1 << 20) -> bytes:
    with Path(path).open("rb") as file:
        data = file.read(most + 1)
    return data if len(data) <= most else refuse(f"{path} is longer than {most} bytes")


def add(a: Point, b: Point) -> Point:
    x, y = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    z, t = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = y - x, t - z, t + z, y + x
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number: int, point: Point) -> Point:
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


def point_of(data: bytes) -> Point | None:
    """Decode a point; None where there is none, and for the few of small order, which sign all."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * ROOT % P
    if len(data) != 32 or y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    point = (x, y, 1, x * y % P)
    return point if times(8, point)[0] else None


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key: bytes, text: bytes, signature: bytes) -> bool:
    a, r = point_of(key), point_of(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= ORDER or BASE is None:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + text).digest(), "little") % ORDER
    left, right = times(s, BASE), add(r, times(h, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


def decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text)
    except ValueError:
        data = b""
    return (
        data if base64.b64encode(data).decode() == text else refuse("a base64 value is malformed")
    )


def check_name(name: str) -> None:
    if not name or "+" in name or not name.isprintable() or re.search(r"\s", name):
        refuse("the name of a key is malformed")


def key_of(vkey: str, *kinds: int) -> VerifierKey:
    name, _, rest = vkey.partition("+")
    identity, _, material = rest.partition("+")
    raw = decoded(material)
    check_name(name)
    digest = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if digest.hex() != identity or len(raw) != 33 or raw[0] not in kinds:
        refuse(f"the key of {name} is malformed, or not of a {'log' if 1 in kinds else 'witness'}")
    return VerifierKey(name, digest, raw[0], raw[1:])


def is_taken(name: str, policy: AuditorPolicy) -> bool:
    return name == "none" or name in policy.witnesses or name in policy.groups


def take(fields: list[str], policy: AuditorPolicy) -> str:
    """Take a line of a policy; return the name of a quorum line.  Names are defined before use."""
    if fields[0] == "log" and len(fields) in (2, 3):
        key = key_of(fields[1], 1)
        keys = policy.logs.setdefault(key.name, [])
        if key not in keys:
            keys.append(key)
            return ""
    elif fields[0] == "revoked" and len(fields) == 3:
        public = key_of(fields[1], 1, 4).public
        known = {each.public for keys in policy.logs.values() for each in keys}
        if public in known and public not in policy.revoked:
            policy.revoked[public] = seconds_of(fields[2])
            return ""
    elif fields[0] == "witness" and len(fields) in (3, 4):
        key = key_of(fields[2], 4)
        known = {each.public for each in policy.witnesses.values()}  # no key counts twice
        if not is_taken(fields[1], policy) and key.public not in known:
            policy.witnesses[fields[1]] = key
            return ""
    elif fields[0] == "group" and len(fields) > 3:
        members = fields[3:]
        need = {"any": "1", "all": str(len(members))}.get(fields[2], fields[2])
        for member in members:
            if member in policy.members or member == "none" or not is_taken(member, policy):
                refuse(f"{member} is a member already, or not defined before")
            policy.members.add(member)
        number = re.fullmatch(r"[1-9][0-9]{0,3}", need, re.ASCII)
        if not is_taken(fields[1], policy) and number and int(need) <= len(members):
            policy.groups[fields[1]] = int(need), members
            return ""
    elif fields[0] == "quorum" and len(fields) == 2 and is_taken(fields[1], policy):
        return fields[1]
    refuse("it is not understood, or repeats or lacks something")


def policy_of(data: bytes) -> AuditorPolicy:
    policy = AuditorPolicy({}, {}, {}, set(), "", {})
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        fields = [each for each in re.split(r"[ \t]", line) if each]
        if not fields or fields[0].startswith("#"):
            continue
        try:
            if re.search(r"[\0-\x08\x0b-\x1f\x7f]", line):
                refuse("there is a control character in it")
            if quorum := take(fields, policy):
                if policy.quorum:
                    refuse("there is a second quorum line")
                policy = policy._replace(quorum=quorum)
        except NotProven as error:
            refuse(f"line {number} of the policy: {error}")
    return policy if policy.quorum else refuse("the policy has no quorum line")


def is_enough(seen: dict[str, int], policy: AuditorPolicy) -> bool:
    held = {"none", *seen}
    for name, (need, members) in policy.groups.items():  # each only has members defined before it
        if sum(member in held for member in members) >= need:
            held.add(name)
    return policy.quorum in held


def head_of(note: bytes, policy: AuditorPolicy) -> TreeHead:
    """Check a signed checkpoint; whether a quorum cosigned it is for the caller to look at."""
    text, empty, lines = note.decode("utf-8").rpartition("\n\n")
    parts = text.split("\n")
    if not empty or not lines.endswith("\n") or re.search(r"[\0-\x09\x0b-\x1f]", note.decode()):
        refuse("a checkpoint is not a signed note")
    if len(parts) != 3 or not re.fullmatch(r"0|[1-9][0-9]{0,18}", parts[1], re.ASCII):
        refuse("a checkpoint is malformed")
    origin, size, root = parts[0], int(parts[1]), decoded(parts[2])
    if origin not in policy.logs:
        refuse(f"the policy names no log {origin}")
    if len(root) != 32 or len(note) > 1 << 16 or lines.count("\n") > 100:
        refuse("a checkpoint is malformed")
    keys = policy.logs[origin]
    found = signers(f"{text}\n".encode(), lines, [*keys, *policy.witnesses.values()])
    publics = [key.public for key in keys if key in found]
    if not publics:
        refuse(f"the checkpoint is not signed by {origin}")
    seen = {name: found[key] for name, key in policy.witnesses.items() if key in found}
    if all(public in policy.revoked for public in publics):
        until = max(policy.revoked[public] for public in publics)
        seen = {name: at for name, at in seen.items() if at < until}
        if not seen or not is_enough(seen, policy):
            raise RevokedAlone(
                f"the key of {origin} is revoked as of {when(until)}, and no quorum cosigned the"
                " checkpoint before"
            )
    return TreeHead(origin, size, root, seen, is_enough(seen, policy))


def signers(text: bytes, lines: str, keys: list[VerifierKey]) -> dict[VerifierKey, int]:
    """Return which keys signed, each with the time it states; a wrong signature is refused."""
    known = {(key.name, key.id): key for key in keys}
    seen: dict[VerifierKey, int] = {}
    for line in lines.removesuffix("\n").split("\n"):
        name, _, blob = line.removeprefix("\u2014 ").partition(" ")
        raw = decoded(blob)
        check_name(name)
        if not line.startswith("\u2014 ") or len(raw) < 5:
            refuse("a signature line is malformed")
        key = known.get((name, raw[:4]))
        if key is None or key in seen:
            continue
        message, signature, at = text, raw[4:], 0
        if key.kind == 4:
            at, signature = int.from_bytes(raw[4:12], "big"), raw[12:]
            message = b"cosignature/v1\ntime %d\n%b" % (at, text)
            when(at)
        if not signed(key.public, message, signature):
            refuse(f"the signature of {name} does not verify")
        seen[key] = at
    return seen


def seconds_of(time: str) -> int:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time, re.ASCII):
        refuse("a time is like 2026-11-23T07:12:00Z")
    try:
        return int(datetime.fromisoformat(f"{time[:-1]}+00:00").timestamp())
    except ValueError:
        refuse(f"there is no time {time}")


def when(seconds: int) -> str:
    try:
        at = datetime.fromtimestamp(seconds, timezone.utc)  # noqa: UP017  (Python 3.9)
    except (OverflowError, ValueError, OSError):
        refuse(f"a cosignature states the impossible time {seconds}")
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def root_of(leaf: bytes, index: int, size: int, hashes: list[bytes]) -> bytes:
    """The root that the hashes lead to (RFC 9162, 2.1.3.2); b"" where they do not fit the size."""
    place, last, found = index, size - 1, leaf
    for node in hashes:
        if last == 0 or len(node) != 32:
            return b""
        if place & 1 or place == last:
            found = hashlib.sha256(b"\1" + node + found).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + node).digest()
        place, last = place >> 1, last >> 1
    return found if 0 <= index < size and last == 0 else b""


def main(proof_path: str, policy_path: str, line_path: str) -> None:
    proof, policy = content(proof_path), policy_of(content(policy_path))
    line = content(line_path)
    top, _, note = proof.partition(b"\n\n")
    title, index_line, *hashes = top.decode("ascii").split("\n")
    if title != "c2sp.org/tlog-proof@v1" or len(hashes) > 63:
        refuse("this is not a proof")
    if not re.fullmatch(r"index (0|[1-9][0-9]{0,18})", index_line, re.ASCII):
        refuse("the proof is malformed")
    index, head = int(index_line[6:]), head_of(note, policy)
    if not head.has_quorum:
        refuse(f"no quorum cosigned the checkpoint, only: {', '.join(head.seen) or 'nobody'}")
    leaf = hashlib.sha256(b"\0" + (line[:-1] if line.endswith(b"\n") else line)).digest()
    if root_of(leaf, index, head.size, [*map(decoded, hashes)]) != head.root:
        refuse(f"the line is not record {index + 1} of {head.origin}")
    said = f"ok: record {index + 1} of {head.origin}"
    if head.seen:
        said += f"; witnessed at {when(max(head.seen.values()))} by {', '.join(sorted(head.seen))}"
    print(said)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text stream
    try:
        main(*sys.argv[1:])
    except NotProven as error:
        print(f"FAILED: {error}")
        sys.exit(1)
    except (ValueError, OSError) as error:
        print(f"FAILED: something is malformed or cannot be read ({type(error).__name__})")
        sys.exit(1)
