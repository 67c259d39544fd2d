"""Where a host of the tests has its logs, its state, its configuration and its trust policy."""

from __future__ import annotations

from pathlib import Path

__all__ = ["HostPlaces"]


class HostPlaces:
    """The paths of a host below ``place``."""

    place: Path

    @property
    def audit(self) -> Path:
        return self.place / "audit"

    @property
    def state(self) -> Path:
        return self.place / "state"

    @property
    def policy(self) -> Path:
        return self.place / "trust.policy"

    @property
    def config(self) -> Path:
        return self.place / "config.toml"
