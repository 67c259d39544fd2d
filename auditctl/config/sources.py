"""Parse the settings of other sources from ``[[sources.KIND]]`` tables.

    [[sources.ndjson]]
    name = "worker"
    paths = ["/var/log/llama-orch/worker/*.ndjson*"]

    [[sources.journald]]
    name = "journal"
    units = ["queen-rbee.service", "rbee-hive.service"]

A file in conf.d adds its sources to the others; for a source of the same kind and name it replaces
single settings.

Invariants (tests of the same name in tests/auditctl/config/test_sources.py):
  named        every source has a name of its own that can stand in an index name
  unknown_key  an unknown kind or key is an error that names the file and the nearest known one
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from auditctl.config.declared import Setting, declared
from auditctl.config.origins import Given, SettingKey, nearest
from auditctl.errors import ConfigError
from shippers.sources.journald.options import JournaldOptions
from shippers.sources.ndjson.options import NdjsonOptions

__all__ = ["SOURCES", "SourceConfig", "build_sources"]

SourceConfig = NdjsonOptions | JournaldOptions

_CLASSES: Final[Mapping[str, type[SourceConfig]]] = {
    "ndjson": NdjsonOptions,
    "journald": JournaldOptions,
}
SOURCES: Final[Mapping[str, Mapping[str, Setting]]] = {
    kind: declared(options) for kind, options in _CLASSES.items()
}
"""By kind: the settings of a source."""


def build_sources(given: Mapping[SettingKey, Given], host: str) -> tuple[SourceConfig, ...]:
    """The sources, in the order of their names.  Raises ConfigError."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    origins: dict[tuple[str, str], str] = {}
    for key, each in given.items():
        if len(key) < 3 and each.value in ({}, []):
            continue
        kind, name, field = _parts(key, each)
        origins[kind, name] = each.origin
        try:
            value = SOURCES[kind][field].convert(each.value)
        except ValueError as error:
            raise _wrong(kind, name, each.origin, f"{field}: {error}") from error
        tables.setdefault((kind, name), {})[field] = value
    names: dict[str, str] = {}
    found = []
    for (kind, name), table in sorted(tables.items(), key=lambda item: item[0][1]):
        origin = origins[kind, name]
        if names.setdefault(name, kind) != kind:
            raise _wrong(kind, name, origin, "another source has this name")
        for setting in SOURCES[kind].values():
            if setting.required and setting.name not in table:
                raise _wrong(kind, name, origin, f"{setting.name} is missing")
        own: dict[str, Any] = {"host": host} if kind == NdjsonOptions.kind else {}
        try:
            found.append(_CLASSES[kind](**table, **own))
        except ValueError as error:
            raise _wrong(kind, name, origin, str(error)) from error
    return tuple(found)


def _parts(key: SettingKey, given: Given) -> tuple[str, str, str]:
    kind = key[1] if len(key) > 1 else ""
    if kind not in SOURCES:
        hint = "Write [[sources.ndjson]] or [[sources.journald]]."
        raise ConfigError(
            f"{'.'.join(key[:2])} is not a kind of source", path=given.origin, hint=hint
        )
    if len(key) != 4:
        raise ConfigError(
            f"sources.{kind} has to be tables that have a name",
            path=given.origin,
            hint=f'Write [[sources.{kind}]] and name = "…" below, for each source.',
        )
    if key[3] not in SOURCES[kind]:
        raise ConfigError(
            f"there is no setting {key[3]} of a source of kind {kind}",
            path=given.origin,
            hint=f"The nearest is {nearest(key[3], SOURCES[kind])}.",
        )
    return kind, key[2], key[3]


def _wrong(kind: str, name: str, origin: str, reason: str) -> ConfigError:
    return ConfigError(f"sources.{kind} {name!r}: {reason}", path=origin)
