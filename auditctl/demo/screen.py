"""Show the demo's progress: steps and notes, and on a terminal two progress bars."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from auditctl.demo.script import EVENTS, SERVICES

if TYPE_CHECKING:
    from auditctl.demo.stage import Show

__all__ = ["screen"]


class _Screen:
    def __init__(self, console: Console, bars: Progress | None) -> None:
        self._console = console
        self._bars = bars
        self._began = time.monotonic()
        total = EVENTS * len(SERVICES)
        self._tasks = (
            {}
            if bars is None
            else {name: bars.add_task(name, total=total) for name in ("acknowledged", "shipped")}
        )

    def step(self, text: str) -> None:
        seconds = time.monotonic() - self._began
        self._console.print(f"[bold cyan]{seconds:5.1f} s[/]  [bold]{text}[/]", highlight=False)

    def note(self, text: str) -> None:
        self._console.print(f"         {text}", highlight=False, markup=False)

    def progress(self, **counts: int) -> None:
        if self._bars is not None:
            for name, count in counts.items():
                total = max(count, EVENTS * len(SERVICES))
                self._bars.update(self._tasks[name], completed=count, total=total)


@contextmanager
def screen(stream: TextIO) -> Iterator[Show]:
    """Prints colours and bars on a terminal, and plain lines elsewhere."""
    console = Console(file=stream, soft_wrap=True)
    if not console.is_terminal:
        yield _Screen(console, None)
        return
    columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        yield _Screen(console, bars)
