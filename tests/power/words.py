"""Words that a guest program says of its disk, from one boot to the cut."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Words"]


@dataclass
class Words:
    """Return the lines printed so far; guest programs list the words in their headers."""

    lines: list[str] = field(default_factory=list)
    single: set[str] = field(default_factory=set)
    damaged: bool = False
    doubled: int = 0
    found: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    entries: set[str] = field(default_factory=set)
    signed: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.damaged |= line in ("FAILED", "UNMOUNTABLE")
        match line.split():
            case [word]:
                self.single.add(word)
            case ["FOUND", seq, digest]:
                self.doubled += seq in self.found
                self.found[seq] = digest
            case ["ACK", seq, digest]:
                self.acknowledged[seq] = digest
            case ["SIGNED", size, root]:
                self.signed.append((size, root))
            case ["ENTRY", *entry]:
                self.entries.add(" ".join(entry))
            case ["COUNTS", *pairs]:
                self.counts = {name: int(n) for name, n in (pair.split("=") for pair in pairs)}
            case ["DAMAGED", *_]:
                self.damaged = True
