"""Define options of an NDJSON source.

Each annotated field is a setting of `[[sources.ndjson]]` as well; see `auditctl.config.declared`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from shippers.item import check_source_name

__all__ = ["NdjsonOptions"]


@dataclass(frozen=True, slots=True)
class NdjsonOptions:
    """Which files are read, and how their lines are understood.

    host   whose files they are, a part of the documents' ids

    Raises ValueError for an unusable name, no path or a relative one, or an impossible size.
    """

    kind: ClassVar = "ndjson"

    name: Annotated[str, "unique name of the source; its indices are `llama-orch-<name>-<day>`"]
    paths: Annotated[tuple[str, ...], "absolute glob patterns of files, `**` included"]
    host: str
    exclude: Annotated[
        tuple[str, ...],
        "patterns of files to leave out, and of directories that the agent may not list; "
        "without a slash, of their names",
    ] = ()
    timestamp_field: Annotated[
        str, "member that holds the time of the event; dots separate nested members"
    ] = "@timestamp"
    max_line_bytes: Annotated[int, "longer lines are cut"] = 1 << 20
    redact: Annotated[
        bool, "take secrets out of the lines, by the rules for events, before they are shipped"
    ] = False

    def __post_init__(self) -> None:
        check_source_name(self.name)
        if not self.paths or not all(path.startswith("/") for path in self.paths):
            raise ValueError("a source needs at least one path, and each has to begin with /")
        if not all(path.startswith("/") or "/" not in path for path in self.exclude):
            raise ValueError("a pattern in exclude has to begin with /, or has no / at all")
        if not 1 << 10 <= self.max_line_bytes <= 64 << 20:
            raise ValueError("max_line_bytes has to be between 1 KiB and 64 MiB")
