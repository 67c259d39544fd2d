"""When a worker that keeps dying is left alone for a while.  Pure: the time is an argument.

closed      restarts are allowed and counted
open        ``restarts`` of them came within ``window``: none until ``cooldown`` has passed
half open   then one is tried; if that worker dies as well within the window, it opens again
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["Breaker"]


@dataclass(slots=True)
class Breaker:
    """Times are seconds of one monotonic clock."""

    restarts: int
    window: float
    cooldown: float
    activations: int = 0
    _recent: deque[float] = field(default_factory=deque)
    _open_until: float | None = None

    def died(self, now: float) -> bool:
        """A worker died; whether that opened the breaker."""
        while self._recent and now - self._recent[0] > self.window:
            self._recent.popleft()
        self._recent.append(now)
        if len(self._recent) <= self.restarts:
            return False
        self._recent.popleft()  # after the cooldown one more death opens it again
        self._open_until = now + self.cooldown
        self.activations += 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until a restart is allowed; 0 when it is."""
        if self._open_until is None or now >= self._open_until:
            self._open_until = None
            return 0.0
        return self._open_until - now
