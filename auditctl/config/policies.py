"""Build the retention policy from ``[retention]`` and its subtables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from auditctl.config.declared import Setting, declared, to_tables
from auditctl.errors import ConfigError
from retention.errors import PolicyError
from retention.policy import ForeignPolicy, RetentionPolicy

__all__ = ["FOREIGN", "LOG", "RETENTION", "Schedule", "build_policy"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the agent runs retention, counted from its last success."""

    every: Annotated[dt.timedelta, "interval between the agent's runs"] = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Match:
    match: Annotated[str, "glob over log ids"]


LOG: Final = declared(RetentionPolicy, without=["max_total_bytes"])
"""The settings that a single log, or a pattern of foreign files, may have of its own."""

_INHERITED: Final = {
    name: replace(setting, default="as `[retention]`", toml="") for name, setting in LOG.items()
}
_INHERITED["compression"] = replace(LOG["compression"], toml='"gzip"')
FOREIGN: Final = {**declared(ForeignPolicy), **_INHERITED}

_LOGS: Final = to_tables({**declared(_Match), **LOG})
RETENTION: Final = {
    **declared(RetentionPolicy, Schedule),
    "logs": Setting(
        "logs",
        "overrides",
        _LOGS,
        "`[[retention.logs]]` tables with `match` and settings of this table, for some logs",
    ),
    "foreign": Setting(
        "foreign",
        "foreign",
        to_tables(FOREIGN),
        "`[[retention.foreign]]` tables, for files of an older set-up",
    ),
}


def build_policy(
    values: Mapping[str, Any], files: Sequence[tuple[str, tuple[str, ...]]]
) -> tuple[RetentionPolicy, Schedule]:
    """The policy and schedule of the converted settings.  Raises ConfigError.

    ``files`` are the names and patterns of the sources that ship files.
    """
    own = dict(values)
    schedule = Schedule(own.pop("every")) if "every" in own else Schedule()
    logs, foreign = own.pop("logs", ()), own.pop("foreign", ())
    try:
        policy = RetentionPolicy(**own)
        overrides = tuple(_of_logs(policy, table) for table in logs)
        adopted = tuple(_foreign(policy, table, files) for table in foreign)
        return replace(policy, overrides=overrides, foreign=adopted), schedule
    except PolicyError as error:
        raise ConfigError(f"retention: {error.reason}", hint=error.hint) from error


def _of_logs(policy: RetentionPolicy, table: Mapping[str, Any]) -> tuple[str, RetentionPolicy]:
    """The glob and its policy; settings that are left out are those of [retention]."""
    own = {name: value for name, value in table.items() if name in LOG}
    if own.get("compression", policy.compression) != policy.compression:
        own = {"level": None, "long_window_bytes": None, **own}  # a level of the other compressor
    return table["match"], replace(policy, **{"max_total_bytes": None, **own})


def _foreign(
    policy: RetentionPolicy, table: Mapping[str, Any], files: Sequence[tuple[str, tuple[str, ...]]]
) -> ForeignPolicy:
    """A policy for foreign files; settings that are left out are those of [retention].

    They become .gz by default, the form that is there already and that other tools read.
    """
    own = {name: value for name, value in table.items() if name in LOG}
    inherited = {"level": None, "long_window_bytes": None, "max_total_bytes": None}
    return ForeignPolicy(
        policy=replace(policy, **{"compression": "gzip", **inherited, **own}),
        sources=tuple(files),
        **{name: value for name, value in table.items() if name not in LOG},
    )
