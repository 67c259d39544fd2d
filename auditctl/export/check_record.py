#!/usr/bin/env python3
"""Check one record with nothing but Python 3.9 or newer, offline:

    python3 -I check_record.py PROOF POLICY LINE

PROOF is a c2sp.org/tlog-proof@v1, POLICY a c2sp.org/tlog-policy of whoever checks, LINE a file with
the record's line.  Exits with 0 and says when it was witnessed, or with 1 and says why not.
Nothing here is secret, so nothing has to take the same time for every input.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import NoReturn

Point = tuple[int, int, int, int]
VerifierKey = tuple[str, bytes, int, bytes]  # name, id, type, public key
Groups = dict[str, tuple[int, list[str]]]

# Ed25519 (RFC 8032): points on a curve over the integers modulo P, in extended coordinates.
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def refuse(why: str) -> NoReturn:
    print(f"FAILED: {why}")
    sys.exit(1)


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
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * ROOT % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


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
    data = base64.b64decode(text)
    if base64.b64encode(data).decode() != text:
        refuse("a base64 value is malformed")
    return data


def key_of(vkey: str) -> VerifierKey:
    name, identity, material = vkey.split("+", 2)
    raw = decoded(material)
    digest = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if digest.hex() != identity or len(raw) != 33:
        refuse(f"the key of {name} is malformed")
    return name, digest, raw[0], raw[1:]


def policy_of(text: str) -> tuple[dict[str, VerifierKey], dict[str, VerifierKey], Groups, str]:
    logs: dict[str, VerifierKey] = {}
    witnesses: dict[str, VerifierKey] = {}
    groups: Groups = {}
    quorum = ""
    for line in text.split("\n"):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "log" and len(words) in (2, 3):
            key = key_of(words[1])
            logs[key[0]] = key
        elif words[0] == "witness" and len(words) in (3, 4) and words[1] not in witnesses:
            witnesses[words[1]] = key_of(words[2])
        elif words[0] == "group" and len(words) > 3 and words[1] not in groups:
            need = {"any": 1, "all": len(words) - 3}.get(words[2]) or int(words[2])
            if not 1 <= need <= len(words) - 3 or len(set(words[3:])) < len(words) - 3:
                refuse(f"the group {words[1]} of the policy is malformed")
            groups[words[1]] = need, words[3:]
        elif words[0] == "quorum" and len(words) == 2 and not quorum:
            quorum = words[1]
        else:
            refuse(f"a line of the policy is not understood: {line[:60]}")
    keys = [key[3] for key in witnesses.values()]
    if len(set(keys)) < len(keys) or not quorum:
        refuse("two witnesses of the policy share a key, or it has no quorum")
    return logs, witnesses, groups, quorum


def enough(name: str, groups: Groups, seen: dict[str, int]) -> bool:
    if name not in groups:
        return name in seen
    need, members = groups[name]
    return sum(enough(member, groups, seen) for member in members) >= need


def signers(
    text: bytes, lines: str, keys: dict[tuple[str, bytes], tuple[str, VerifierKey]]
) -> dict[str, int]:
    """Return the signers by their names in the policy (the log: ""), each with its stated time."""
    seen: dict[str, int] = {}
    for line in lines.removesuffix("\n").split("\n"):
        dash, name, blob = line.split(" ")
        raw = decoded(blob)
        if dash != "\u2014":
            refuse("a signature line is malformed")
        if (name, raw[:4]) not in keys:
            continue
        who, key = keys[name, raw[:4]]
        message, signature, at = text, raw[4:], 0
        if key[2] == 4:
            at, signature = int.from_bytes(raw[4:12], "big"), raw[12:]
            message = b"cosignature/v1\ntime %d\n%b" % (at, text)
        if not signed(key[3], message, signature):
            refuse(f"the signature of {name} does not verify")
        seen[who] = at
    return seen


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
    proof = Path(proof_path).read_bytes().decode()
    logs, witnesses, groups, quorum = policy_of(Path(policy_path).read_bytes().decode())
    line = Path(line_path).read_bytes()
    head, _, note = proof.partition("\n\n")
    title, index_line, *hashes = head.split("\n")
    text, empty, signatures = note.rpartition("\n\n")
    if title != "c2sp.org/tlog-proof@v1" or not empty or not signatures.endswith("\n"):
        refuse("this is not a proof")
    index, (origin, size_text, root) = int(index_line[6:]), text.split("\n")
    size = int(size_text)
    if str(size) != size_text or f"index {index}" != index_line or origin not in logs:
        refuse(f"the checkpoint is malformed, or the policy names no log {origin}")
    keys = {(key[0], key[1]): (name, key) for name, key in witnesses.items()}
    keys[logs[origin][:2]] = "", logs[origin]
    seen = signers(f"{text}\n".encode(), signatures, keys)
    if "" not in seen:
        refuse(f"the checkpoint is not signed by {origin}")
    del seen[""]
    if quorum != "none" and not enough(quorum, groups, seen):
        refuse(f"no quorum cosigned the checkpoint, only: {', '.join(seen) or 'nobody'}")
    leaf = hashlib.sha256(b"\0" + (line[:-1] if line.endswith(b"\n") else line)).digest()
    if root_of(leaf, index, size, [*map(decoded, hashes)]) != decoded(root):
        refuse(f"the line is not record {index + 1} of {origin}")
    said = f"ok: record {index + 1} of {origin}"
    if seen:
        at = datetime.fromtimestamp(max(seen.values()), timezone.utc)  # noqa: UP017  (Python 3.9)
        said += f"; witnessed at {at:%Y-%m-%dT%H:%M:%SZ} by {', '.join(sorted(seen))}"
    print(said)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (ValueError, UnicodeError, OSError, TypeError) as error:
        refuse(f"something is malformed or cannot be read ({type(error).__name__})")
