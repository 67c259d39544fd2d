"""Find the archived segments of each log, for retention's ``not_archived`` rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditlog.archived import archived_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditctl.config.model import Config
    from auditlog.archived import ArchivedSpan

__all__ = ["archived_segments"]


def archived_segments(config: Config) -> Mapping[str, Mapping[str, ArchivedSpan]] | None:
    """Return the archived segments of each log; None where no archive is configured.

    Raises ConfigError, ArchiveMemoryDamaged.
    """
    return None if config.archive is None else archived_in(config.state_directory())
