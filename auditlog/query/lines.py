"""Find the lines of one segment that may match, block by block, forwards or backwards.

Only lines with one of the needles are taken out of a block; without needles, all of them.

Invariants (tests of the same name in tests/auditlog/query/test_lines.py):
  same        needles give the lines, with their offsets, that contain one; none missing, none twice
  backwards   the same lines in the opposite order, also of what can be read forwards only
  bounded     memory does not grow with the size of the segment, nor with a line that never ends
"""

from __future__ import annotations

import os
import tempfile
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditlog.errors import LogDamaged
from auditlog.format.record import MAX_RECORD_BYTES
from auditlog.query.byte_search import SearchBuffer
from auditlog.query.needles import ESCAPES
from auditlog.reading.decompression import NotWhole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from auditlog.query.needles import Needles

__all__ = ["BLOCK_BYTES", "Block", "backward", "forward", "last_block", "turned_round"]

BLOCK_BYTES: Final = 1 << 20
_MIN_BYTES: Final = 4 * MAX_RECORD_BYTES
_FIRST_BYTES: Final = 1 << 16  # small, so that the newest answer comes at once
_TOO_LONG_BYTES: Final = MAX_RECORD_BYTES + 2  # kept of an endless line: longer than any record
_SPOOL_BYTES: Final = 8 << 20  # of the lines that are to be turned round, kept in memory


@dataclass(frozen=True, slots=True)
class Block:
    """Lines as (offset, line with its LF), and the line at which the block ends in its order.

    ``edge`` tells how far the reading has come; it is b"" where that is not known.
    """

    lines: list[tuple[int, bytes]]
    edge: bytes


def forward(
    stream: BinaryIO,
    needles: Needles,
    *,
    path: Path,
    end: int | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Block]:
    """The blocks of a stream from its beginning up to byte ``end``.

    What follows the last LF comes as a line without one, and so does the beginning of a line that
    is far too long for a record.  Raises LogDamaged where compressed bytes are not whole, OSError.
    """
    buffer = SearchBuffer(max(block_bytes, _MIN_BYTES))
    size = len(buffer.bytes)
    begin = have = 0  # the offset of the buffer's first byte, and how many there are
    too_long = False  # what the buffer begins with is the rest of such a line
    while True:
        room = size - have if end is None else min(size - have, end - begin - have)
        read = _read(stream, buffer.view[have : have + room], path, begin + have) if room else 0
        have += read
        cut = buffer.bytes.find(b"\n", 0, have) + 1 if too_long else 0
        whole = buffer.bytes.rfind(b"\n", 0, have) + 1
        if too_long and not cut:
            cut = have
        if whole > cut:
            lines = _take(buffer, cut, whole, needles)
            yield Block([(begin + at, line) for at, line in lines], _line_before(buffer, whole))
        too_long = too_long and not whole
        done = max(cut, whole)
        if not done and have == size:
            yield Block([(begin, bytes(buffer.view[:_TOO_LONG_BYTES]))], b"")
            done, too_long = have, True
        buffer.bytes[: have - done] = buffer.bytes[done:have]
        begin, have = begin + done, have - done
        if not read:
            break
    if have:
        yield Block([(begin + at, line) for at, line in _take(buffer, 0, have, needles)], b"")


def backward(
    fd: int, end: int, needles: Needles, *, block_bytes: int = BLOCK_BYTES
) -> Iterator[Block]:
    """The blocks of a plain segment's first ``end`` bytes from the last one on, lines reversed.

    Lines that are not records come as from forward.  Raises OSError.
    """
    buffer = SearchBuffer(max(block_bytes, _MIN_BYTES))
    size = len(buffer.bytes)
    kept = 0  # bytes of a line whose beginning lies further ahead
    step = min(_FIRST_BYTES, size)
    too_long = False  # what ends where the next block ends is such a line
    while end > 0:
        step = min(step, end, size - kept)
        buffer.bytes[step : step + kept] = buffer.bytes[:kept]
        _pread_all(fd, buffer.view[:step], end - step)
        end, have, step = end - step, step + kept, size
        if too_long:
            have = buffer.bytes.rfind(b"\n", 0, have) + 1
            too_long = not have and end > 0
            if not too_long:
                yield Block([(end + have, b"")], b"")
        begin = 0 if end == 0 else buffer.bytes.find(b"\n", 0, max(0, have - 1)) + 1
        if have and (begin or end == 0):
            lines = [(end + at, line) for at, line in _take(buffer, begin, have, needles)]
            edge = bytes(buffer.view[begin : buffer.bytes.find(b"\n", begin, have) + 1])
            yield Block(lines[::-1], edge)
            have = begin
        elif have == size:
            have, too_long = 0, True
        kept = have


def last_block(
    stream: BinaryIO, *, path: Path, end: int | None = None, block_bytes: int = BLOCK_BYTES
) -> tuple[Block, int]:
    """All lines at the end of a stream, reversed, and the byte at which they begin.

    Of what was compressed this is read without keeping or looking at the rest.  Raises as forward.
    """
    size = max(block_bytes, _MIN_BYTES)
    older, newer = memoryview(bytearray(size)), memoryview(bytearray(size))
    at = had = have = 0
    while read := _read(stream, older[: size if end is None else end - at], path, at):
        older, newer = newer, older
        at, had, have = at + read, have, read
    text = bytes(older[:had]) + bytes(newer[:have])
    begin = at - len(text)
    # It begins within a line, most likely.
    cut = (text.find(b"\n") + 1 or len(text)) if begin else 0
    lines = _all_lines(text[cut:], begin + cut)
    return Block(lines[::-1], lines[0][1] if lines else b""), begin + cut


def turned_round(blocks: Iterator[Block]) -> Iterator[Block]:
    """Turn the blocks of forward round, so that the last line comes first.

    All of it is read before the first is given.  Damage is raised at the end, as by forward.
    """
    kept: list[tuple[int, array[int], array[int], bytes]] = []  # place, offsets, sizes, edge
    damage: LogDamaged | None = None
    edge = b""
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        try:
            for block in blocks:
                if block.lines:
                    offsets = array("Q", (offset for offset, _ in block.lines))
                    sizes = array("L", (len(line) for _, line in block.lines))
                    kept.append((spool.tell(), offsets, sizes, edge))
                    spool.writelines(line for _, line in block.lines)
                edge = block.edge
        except LogDamaged as error:
            damage = error
        for place, offsets, sizes, edge in reversed(kept):
            spool.seek(place)
            lines = [
                (offset, spool.read(size)) for offset, size in zip(offsets, sizes, strict=True)
            ]
            yield Block(lines[::-1], edge)
    if damage is not None:
        raise damage


def _read(stream: BinaryIO, target: memoryview, path: Path, offset: int) -> int:
    try:
        return stream.readinto(target)  # type: ignore[attr-defined, no-any-return]  # BufferedReader
    except NotWhole as error:
        raise LogDamaged(
            f"the compressed segment cannot be decompressed ({error})",
            path=path,
            offset=offset,
            hint="Restore it from a copy, or from the index.",
        ) from error


def _pread_all(fd: int, target: memoryview, offset: int) -> None:
    """Fill the target; bytes that were cut off meanwhile read as LFs, which are not records."""
    while target and (read := os.preadv(fd, [target], offset)):
        target, offset = target[read:], offset + read
    target[:] = b"\n" * len(target)


def _take(buffer: SearchBuffer, begin: int, end: int, needles: Needles) -> list[tuple[int, bytes]]:
    """Of the lines in [begin, end) those that have a needle, each with its place."""
    if not needles:
        return _all_lines(bytes(buffer.view[begin:end]), begin)
    if buffer.bytes.find(b"\\", begin, end) >= 0:
        needles = (*needles, *ESCAPES)
    nexts = dict.fromkeys(needles, -1)
    found: list[tuple[int, bytes]] = []
    at = begin
    while nexts:
        for needle in [needle for needle, hit in nexts.items() if hit < at]:
            nexts[needle] = buffer.find(needle, at, end)
            if nexts[needle] < 0:
                del nexts[needle]
        if nexts:
            hit = min(nexts.values())
            start = buffer.bytes.rfind(b"\n", at, hit) + 1 or at
            at = buffer.bytes.find(b"\n", hit, end) + 1 or end
            found.append((start, bytes(buffer.view[start:at])))
    return found


def _all_lines(text: bytes, offset: int) -> list[tuple[int, bytes]]:
    found = []
    *lines, rest = text.split(b"\n")
    for line in lines:
        found.append((offset, line + b"\n"))
        offset += len(line) + 1
    if rest:
        found.append((offset, rest))
    return found


def _line_before(buffer: SearchBuffer, end: int) -> bytes:
    begin = buffer.bytes.rfind(b"\n", 0, end - 1) + 1
    return bytes(buffer.view[begin:end])
