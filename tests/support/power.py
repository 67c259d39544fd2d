"""A disk that loses power: what may be left of the file operations a trace recorded.

    disk = Disk(root)                     the directory the trace worked in, durable and empty
    disk.apply(operation)                 one system call after the other, as parse_trace gives them
    for state in disk.after_power_loss(rng, 20): state.put(directory)

Pages that were written and not synced are there, or not, each for itself; the file has its old
size, its new one, or one between; a last sector may be torn.  A name that was created or renamed
is there or not, until its directory is synced.  A failed sync leaves the pages clean and unwritten
(fsync(2), NOTES).  What was synced is there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

__all__ = ["TRACED", "Disk", "Operation", "State", "parse_trace"]

TRACED = "trace=openat,write,pwrite64,writev,fdatasync,fsync,rename,ftruncate,unlink,close,mkdir"
PAGE = 4096
SECTOR = 512

_CALL = re.compile(r"(\d+)\s+(\w+)\((.*)\)\s+= (-?\d+)(.*)")
_UNFINISHED = re.compile(r"(\d+)\s+(\w+)\((.*?)\s*<unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+)\s+<\.\.\. (\w+) resumed>(.*)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Operation:
    """One system call that returned: ``strings`` are its decoded string arguments."""

    process: str
    name: str
    arguments: str
    strings: tuple[bytes, ...]
    result: int

    @property
    def fd(self) -> int:
        return int(self.arguments.split(",")[0].rstrip(")"))

    @property
    def last_number(self) -> int:
        return int(self.arguments.rsplit(",", 1)[1])


def parse_trace(text: str) -> Iterator[Operation]:
    """The calls of an ``strace -f -xx`` trace in the order in which they returned."""
    begun: dict[str, str] = {}
    process = text.split(" ", 1)[0]  # all threads share the first one's descriptors
    for line in text.splitlines():
        if match := _UNFINISHED.match(line):
            begun[match[1]] = f"{match[1]} {match[2]}({match[3]}"
            continue
        if match := _RESUMED.match(line):
            line = begun.pop(match[1]) + match[3]  # noqa: PLW2901  (the call as one line)
        if match := _CALL.match(line):
            strings = tuple(
                bytes.fromhex(found.replace("\\x", "")) for found in _STRING.findall(match[3])
            )
            yield Operation(process, match[2], match[3], strings, int(match[4]))


@dataclass(slots=True)
class _File:
    durable: bytes = b""
    cached: bytes = b""
    dirty: set[int] = field(default_factory=set)

    def write(self, data: bytes, offset: int) -> None:
        head = self.cached[:offset].ljust(offset, b"\0")
        self.cached = head + data + self.cached[offset + len(data) :]
        self.dirty.update(range(offset // PAGE, (offset + len(data) - 1) // PAGE + 1))

    def truncate(self, size: int) -> None:
        self.cached = self.cached[:size].ljust(size, b"\0")
        self.dirty = {page for page in self.dirty if page * PAGE < size}

    def left(self, pages: Iterable[int], size: int) -> bytes:
        """The content when of the dirty pages only these reached the disk, and this size did."""
        content = bytearray(self.durable[:size].ljust(size, b"\0"))
        for page in pages:
            start, end = page * PAGE, min((page + 1) * PAGE, size, len(self.cached))
            if end > start:
                content[start:end] = self.cached[start:end]
        return bytes(content)

    @property
    def unsynced(self) -> bool:
        return bool(self.dirty) or len(self.cached) < len(self.durable)

    def sync(self, *, failed: bool) -> None:
        if self.unsynced and not failed:
            self.durable = self.left(self.dirty, len(self.cached))
        self.dirty = set()

    def choices(self, rng: random.Random) -> list[bytes]:
        """Return possible contents after a power loss: with all, none or some unsynced bytes."""
        if not self.unsynced:
            return [self.durable, self.durable]
        found = [self.durable, self.left(self.dirty, len(self.cached))]
        old, new = sorted((len(self.durable), len(self.cached)))
        sectors = range(old // SECTOR * SECTOR + SECTOR, new, SECTOR)
        cuts = [*rng.sample(sectors, min(3, len(sectors))), rng.randint(old, new)]
        found += [self.left(self.dirty, cut) for cut in cuts]
        pages = sorted(self.dirty)
        some = [pages[:0], pages[:1], pages[-1:], pages[1:], pages[:-1]]
        some += [[page for page in pages if rng.random() < 0.5] for _ in range(3)]
        found += [self.left(chosen, len(self.cached)) for chosen in some]
        return found


@dataclass(slots=True)
class _Directory:
    durable: dict[str, _Node] = field(default_factory=dict)
    pending: list[dict[str, _Node | None]] = field(default_factory=list)

    def names(self, changes: Iterable[dict[str, _Node | None]]) -> dict[str, _Node]:
        merged: dict[str, _Node | None] = {**self.durable}
        for change in changes:
            merged.update(change)
        return {name: node for name, node in merged.items() if node is not None}

    @property
    def cached(self) -> dict[str, _Node]:
        return self.names(self.pending)

    def sync(self, *, failed: bool) -> None:
        if not failed:
            self.durable, self.pending = self.cached, []

    def choices(self, rng: random.Random) -> list[dict[str, _Node]]:
        """The names that may be left: none of what is not synced, all, and some in between."""
        some = [[], self.pending]
        some += [self.pending[:count] for count in range(1, len(self.pending))]
        some += [[change] for change in self.pending]
        some += [[change for change in self.pending if rng.random() < 0.5]]
        return [self.names(changes) for changes in some]


_Node = _File | _Directory


@dataclass(frozen=True, slots=True)
class State:
    """Files by their path, None for a directory, as they are after the power came back."""

    files: tuple[tuple[PurePosixPath, bytes | None], ...]

    def put(self, directory: Path) -> None:
        for path, content in self.files:
            if content is None:
                directory.joinpath(path).mkdir(mode=0o700, parents=True)
            else:
                directory.joinpath(path).write_bytes(content)
                directory.joinpath(path).chmod(0o600)


class Disk:
    """A directory as processes see it, and the part of it that is durable."""

    def __init__(self, root: Path) -> None:
        self._root = PurePosixPath(root)
        self._top = _Directory()
        self._open: dict[tuple[str, int], _Node] = {}

    def apply(self, operation: Operation) -> bool:
        """Do it; says whether what a power loss can leave is another now."""
        if operation.name in ("fsync", "fdatasync"):
            node = self._open.get((operation.process, operation.fd))
            if node is not None:
                node.sync(failed=operation.result < 0)
            return node is not None
        if operation.result < 0 or operation.name not in _EFFECTS:
            return False
        return _EFFECTS[operation.name](self, operation)

    def after_power_loss(self, rng: random.Random, count: int) -> list[State]:
        """``count`` of the states that may be left, nothing and everything kept among them."""
        states = [State(tuple(self._left(self._top, lambda: 0, rng)))]
        states.append(State(tuple(self._left(self._top, lambda: 1, rng))))
        states += [
            State(tuple(self._left(self._top, lambda: rng.randrange(999), rng)))
            for _ in range(count - 2)
        ]
        return list(dict.fromkeys(states))

    def _left(
        self, directory: _Directory, pick: Callable[[], int], rng: random.Random
    ) -> Iterator[tuple[PurePosixPath, bytes | None]]:
        names = directory.choices(rng)
        for name, node in names[pick() % len(names)].items():
            path = PurePosixPath(name)
            if isinstance(node, _File):
                contents = node.choices(rng)
                yield path, contents[pick() % len(contents)]
            else:
                yield path, None
                for below, content in self._left(node, pick, rng):
                    yield path / below, content

    def _find(self, path: bytes) -> tuple[_Directory, str] | None:
        """The directory and the name in it that a path means; None outside of the root."""
        try:
            parts = PurePosixPath(path.decode()).relative_to(self._root).parts
        except ValueError:
            return None
        directory = self._top
        for part in parts[:-1]:
            below = directory.cached[part]
            assert isinstance(below, _Directory)
            directory = below
        return directory, parts[-1] if parts else ""

    def _openat(self, operation: Operation) -> bool:
        place = self._find(operation.strings[0])
        if place is None:
            return False
        directory, name = place
        node = directory.cached.get(name) if name else directory
        created = node is None
        if node is None:
            node = _File()
            directory.pending.append({name: node})
        self._open[operation.process, operation.result] = node
        cut = "O_TRUNC" in operation.arguments and isinstance(node, _File) and bool(node.cached)
        if cut and isinstance(node, _File):
            node.truncate(0)
        return created or cut

    def _close(self, operation: Operation) -> bool:
        self._open.pop((operation.process, operation.fd), None)
        return False

    def _write(self, operation: Operation) -> bool:
        node = self._open.get((operation.process, operation.fd))
        if not isinstance(node, _File):
            return False
        appended = operation.name == "write"  # everything but the lock's text is appended
        offset = len(node.cached) if appended else operation.last_number
        node.write(operation.strings[0][: operation.result], offset)
        return True

    def _ftruncate(self, operation: Operation) -> bool:
        node = self._open.get((operation.process, operation.fd))
        if isinstance(node, _File):
            node.truncate(operation.last_number)
        return node is not None

    def _mkdir(self, operation: Operation) -> bool:
        place = self._find(operation.strings[0])
        if place is not None:
            place[0].pending.append({place[1]: _Directory()})
        return place is not None

    def _rename(self, operation: Operation) -> bool:
        source, target = (self._find(path) for path in operation.strings)
        if source is None or target is None:
            return False
        assert source[0] is target[0], "a rename between directories"
        source[0].pending.append({source[1]: None, target[1]: source[0].cached[source[1]]})
        return True

    def _unlink(self, operation: Operation) -> bool:
        place = self._find(operation.strings[0])
        if place is not None:
            place[0].pending.append({place[1]: None})
        return place is not None


_EFFECTS: dict[str, Callable[[Disk, Operation], bool]] = {
    "openat": Disk._openat,
    "close": Disk._close,
    "write": Disk._write,
    "pwrite64": Disk._write,
    "ftruncate": Disk._ftruncate,
    "mkdir": Disk._mkdir,
    "rename": Disk._rename,
    "unlink": Disk._unlink,
}
