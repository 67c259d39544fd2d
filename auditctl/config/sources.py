"""Which sources are shipped besides the audit logs, as the configuration names them.

    [[sources.ndjson]]
    name = "worker"
    paths = ["/var/log/llama-orch/worker/*.ndjson*"]

    [[sources.journald]]
    name = "journal"
    units = ["queen-rbee.service", "rbee-hive.service"]

A file in conf.d adds its sources to the others'; one of the same kind and name has its settings
replaced one by one.

Invariants (tests of the same name in tests/auditctl/config/test_sources.py):
  named        every source has a name of its own that can stand in an index name
  unknown_key  an unknown kind or key is an error that names the file and the nearest known one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from auditctl.config.origins import Key, Setting, nearest
from auditctl.config.values import Converter, to_path, to_size, to_text, to_texts
from auditctl.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SOURCES", "SourceConfig", "build_sources", "is_source"]


def to_patterns(value: Any) -> tuple[str, ...]:
    patterns = to_texts(value)
    if not all(pattern.startswith("/") for pattern in patterns):
        raise ValueError("each path has to begin with /")
    return patterns


SOURCES: Final[Mapping[str, Mapping[str, Converter]]] = {
    "ndjson": {
        "name": to_text,
        "paths": to_patterns,
        "timestamp_field": to_text,
        "max_line_bytes": to_size,
    },
    "journald": {
        "name": to_text,
        "units": to_texts,
        "directory": to_path,
        "since": to_text,
    },
}
"""By kind: the settings of a source."""

_NEEDED: Final = {"ndjson": "paths", "journald": "units"}


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One source; what its kind does not have, or nobody set, is None."""

    kind: str
    name: str
    origin: str
    paths: tuple[str, ...] | None = None
    timestamp_field: str | None = None
    max_line_bytes: int | None = None
    units: tuple[str, ...] | None = None
    directory: Path | None = None
    since: str | None = None

    def given(self) -> dict[str, Any]:
        """The settings that have a value, as the kind's options take them."""
        values = {name: getattr(self, name) for name in SOURCES[self.kind]}
        return {name: value for name, value in values.items() if value is not None}


def is_source(key: Key) -> bool:
    """Whether the setting is one of a source."""
    return key[0] == "sources"


def build_sources(settings: Mapping[Key, Setting]) -> tuple[SourceConfig, ...]:
    """The sources of the settings, in the order of their names.  Raises ConfigError."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    origins: dict[tuple[str, str], str] = {}
    for key, setting in settings.items():
        if not is_source(key) or (len(key) < 3 and setting.value in ({}, [])):
            continue
        kind, name, field = _parts(key, setting)
        table = tables.setdefault((kind, name), {})
        origins[kind, name] = setting.origin
        try:
            table[field] = SOURCES[kind][field](setting.value)
        except ValueError as error:
            raise _wrong(kind, name, setting.origin, f"{field}: {error}") from error
    names: dict[str, str] = {}
    for (kind, name), table in tables.items():
        _check_name(kind, name, origins[kind, name])
        if names.setdefault(name, kind) != kind:
            raise _wrong(kind, name, origins[kind, name], "another source has this name")
        if _NEEDED[kind] not in table:
            raise _wrong(kind, name, origins[kind, name], f"{_NEEDED[kind]} is missing")
    return tuple(
        SourceConfig(kind, origin=origins[kind, name], **table)
        for (kind, name), table in sorted(tables.items(), key=lambda item: item[0][1])
    )


def _parts(key: Key, setting: Setting) -> tuple[str, str, str]:
    kind = key[1] if len(key) > 1 else ""
    if kind not in SOURCES:
        hint = "Write [[sources.ndjson]] or [[sources.journald]]."
        raise ConfigError(
            f"{'.'.join(key[:2])} is no kind of source", path=setting.origin, hint=hint
        )
    if len(key) != 4:
        raise ConfigError(
            f"sources.{kind} has to be tables that have a name",
            path=setting.origin,
            hint=f'Write [[sources.{kind}]] and name = "…" below, for each source.',
        )
    if key[3] not in SOURCES[kind]:
        raise ConfigError(
            f"there is no setting {key[3]} of a source of kind {kind}",
            path=setting.origin,
            hint=f"The nearest is {nearest(key[3], SOURCES[kind])}.",
        )
    return kind, key[2], key[3]


def _check_name(kind: str, name: str, origin: str) -> None:
    from shippers.document import check_source_name  # noqa: PLC0415  (only who has sources needs it)

    try:
        check_source_name(name)
    except ValueError as error:
        raise _wrong(kind, name, origin, str(error)) from error


def _wrong(kind: str, name: str, origin: str, reason: str) -> ConfigError:
    return ConfigError(f"sources.{kind} {name!r}: {reason}", path=origin)
