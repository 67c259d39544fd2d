"""Define the options of a systemd journal source.

Each annotated field is a setting of `[[sources.journald]]` as well; see `auditctl.config.declared`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

from shippers.item import check_source_name

__all__ = ["JournaldOptions"]

_MACHINE_ID: Final = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True)
class JournaldOptions:
    """Which entries are read.  Raises ValueError for an unusable name or no unit."""

    kind: ClassVar = "journald"

    name: Annotated[str, "unique name of the source; its indices are `llama-orch-<name>-<day>`"]
    units: Annotated[tuple[str, ...], "units whose entries are shipped, as for `journalctl --unit`"]
    directory: Annotated[
        Path | None, "directory of journal files to read instead", "this host's journal"
    ] = None
    since: Annotated[
        str | None, "where to begin the first time, as for `journalctl --since`", "the oldest entry"
    ] = None
    program: str = "journalctl"

    def __post_init__(self) -> None:
        check_source_name(self.name)
        if not self.units or not all(self.units):
            raise ValueError("a source of the journal needs at least one unit")

    def command(self, *, follow: bool) -> list[str]:
        """The command that prints the entries as JSON, without shortening fields (--all)."""
        units = [f"--unit={unit}" for unit in self.units]
        onwards = ["--follow", "--no-tail"] if follow else []
        if self.directory is not None:
            where = [f"--directory={self.directory}"]
        else:
            # With --follow, journalctl shows the current boot alone unless it merges; merging takes
            # the journals of other machines, too, which the match leaves out.
            where = ["--merge", *_this_machine()]
        return [self.program, "--output=json", "--all", "--quiet", *where, *units, *onwards]


def _this_machine() -> list[str]:
    """The match for entries of this machine; none where it has no identity."""
    try:
        return [f"_MACHINE_ID={_MACHINE_ID.read_text('ascii').strip()}"]
    except (OSError, UnicodeDecodeError):
        return []
