"""Damaged logs by the thousand: never an exception of the wrong type, never a wrong "ok".

What is right is known without the code under test: a damaged log may only pass for what is a
beginning of the true one.  AUDITLOG_FUZZ says how many inputs there are (20,000).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import auditlog
from auditlog.writer.torn_tail import scan_tail
from tests.support.logs import write_log

INPUTS = int(os.environ.get("AUDITLOG_FUZZ", "20000"))


def mutated(  # noqa: PLR0912  (one branch a kind of damage)
    content: bytes, rng: random.Random, foreign: bytes
) -> bytes:
    """One to three changes of a log's bytes, of the kinds that disks, tools and people make."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(changed) + 1)
        count = rng.choice((1, 1, 2, 10, 76, 512, 4096))
        lines = bytes(changed).splitlines(keepends=True)
        one, other = (rng.randrange(len(lines)) for _ in range(2)) if lines else (0, 0)
        kind = rng.randrange(14)
        if kind <= 2 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            changed[at:at] = rng.randbytes(count)
        elif kind == 4:
            del changed[at : at + count]
        elif kind == 5:
            del changed[at:]
        elif kind == 6:
            changed[at : at + count] = bytes(min(count, len(changed) - at))
        elif kind == 7:
            changed += bytes(count)
        elif kind == 8 and lines:
            lines[one], lines[other] = lines[other], lines[one]
            changed = bytearray(b"".join(lines))
        elif kind == 9 and lines:
            del lines[min(one, other) : max(one, other)]
            changed = bytearray(b"".join(lines))
        elif kind == 10 and lines:
            lines.insert(other, lines[one])
            changed = bytearray(b"".join(lines))
        elif kind == 11:
            changed[at:at] = b"\n"
        elif kind == 12:
            changed[at:at] = foreign
        elif kind == 13 and at < len(changed):
            changed[at] = rng.choice(b'\0\n\r"{}:,0af')
    return bytes(changed)


def whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def test_the_tail_scanner_never_lets_stand_what_is_not_the_log(
    places: Callable[[], Path],
) -> None:
    built = write_log(places() / "log", records=12)
    content, foreign = b"".join(built.lines), write_log(places() / "log", "rbee-hive@gpu1").lines[3]
    count = len(built.lines)
    runs = {b"".join(built.lines[i:j]) for i in range(count) for j in range(i, count + 1)}
    rng = random.Random(20261123)
    torn = damaged = 0
    for _ in range(INPUTS):
        start = rng.choice((0, 0, len(built.lines[0]) + 7))
        window = mutated(content[start:], rng, foreign)
        tail = scan_tail(window, start, built.log)
        assert start <= tail.end <= start + len(window)
        if tail.damage:
            damaged += 1
            continue
        torn += tail.end < start + len(window)
        rest = window[tail.end - start :]
        line = rest[: rest.find(b"\n") + 1]
        assert not line or b"\0" in line, "a whole line is evidence and never torn"
        stands = window[: tail.end - start]
        # Of a window inside a segment the first, incomplete line is passed over.  Records removed
        # from a segment's beginning are for verify to find: opening reads the end alone.
        assert (stands if start == 0 else stands[stands.find(b"\n") + 1 :]) in runs
        if tail.last is not None:
            assert stands.endswith(f'"hash":"{tail.last.hash}"}}\n'.encode())
    assert damaged > INPUTS // 4
    assert torn > INPUTS // 50


def test_verify_never_calls_a_changed_log_ok(places: Callable[[], Path]) -> None:
    directory = places() / "log"
    built = write_log(directory, records=5, segments=2)
    foreign = write_log(places() / "log", "rbee-hive@gpu1").lines[3]
    contents = [path.read_bytes() for path in built.paths]
    rng = random.Random(20261124)
    passed = 0
    for _ in range(INPUTS // 2):
        which = rng.randrange(2)
        damaged = mutated(contents[which], rng, foreign)
        built.paths[which].write_bytes(damaged)
        report = auditlog.verify(directory)
        if report.ok:
            passed += 1
            # Cut at the very end a log is a shorter log; what follows no LF is a torn tail.
            assert (
                damaged == contents[0]
                if which == 0
                else contents[1].startswith(whole_lines(damaged))
            )
        else:
            assert report.findings
            assert report.logs[0].verified_through_seq <= 10
        report.to_json()
        built.paths[which].write_bytes(contents[which])
    assert auditlog.verify(directory).ok
    assert 0 < passed < INPUTS // 4


def test_opening_a_damaged_log_goes_on_or_changes_nothing(places: Callable[[], Path]) -> None:
    """Through the whole of recovery: what stands is a beginning of the log, or it is refused."""
    built = write_log(places() / "log", records=6)
    content = b"".join(built.lines)
    foreign = write_log(places() / "log", "rbee-hive@gpu1").lines[3]
    rng = random.Random(20261125)
    opened = refused = 0
    for _ in range(INPUTS // 40):
        directory = places()
        segment = directory / built.active.name
        damaged = mutated(content, rng, foreign)
        segment.write_bytes(damaged)
        try:
            auditlog.open(directory, service="queen-rbee", host="hive1").close()
        except auditlog.LogDamaged:
            refused += 1
            assert segment.read_bytes() == damaged
            assert list((directory / ".auditlog").glob("*.torn")) == []
            continue
        opened += 1
        stands = segment.read_bytes()[: len(content)]
        kept = [path.read_bytes() for path in (directory / ".auditlog").glob("*.torn")]
        whole = damaged[: len(damaged) - len(b"".join(kept))]
        assert whole in content
        assert stands.startswith(whole)
        assert auditlog.verify(directory).ok == content.startswith(whole)
    assert opened > 10
    assert refused > 10
