"""Collect settings and their origins: config.toml, conf.d/*.toml, environment, flags.

Each origin is flattened into ``{("retention", "delete_after"): Given(value, origin)}``; a later
origin replaces single settings of an earlier one.  The meaning of keys is in auditctl.config.model.

Invariants (tests of the same name in tests/auditctl/config/test_origins.py):
  precedence   flag over environment over conf.d (in the order of names) over config.toml
  one_file     a broken or unreadable file is an error naming it, never skipped
  no_stranger  an AUDITLOG_ variable that names no setting is an error
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["DEFAULT_PATH", "Given", "SettingKey", "nearest", "read_environment", "read_files"]

DEFAULT_PATH: Final = Path("/etc/auditlog/config.toml")

SettingKey = tuple[str, ...]
"""A setting's place: ("state_dir",), ("retention", "delete_after"), ("sinks", "main", "urls")."""

_PREFIX: Final = "AUDITLOG_"
# Not settings: where the configuration is, how errors are shown, secrets of a single command
# (auditctl.credentials), and what only tests read.
_RESERVED: Final = re.compile(r"AUDITLOG_(CONFIG|DEBUG|PASSWORD|API_KEY|TEST_\w+|REQUIRE_\w+)")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given (it may be a secret), and the file or variable it came from."""

    value: Any = field(repr=False)
    origin: str


def read_files(path: Path | None) -> dict[SettingKey, Given]:
    """Read the file and the conf.d directory beside it.

    None stands for the default path, which may be missing.  Raises ConfigError naming the file.
    """
    settings: dict[SettingKey, Given] = {}
    for file in _files(path or DEFAULT_PATH, required=path is not None):
        for key, value in _flatten(_parse(file)):
            settings[key] = Given(value, str(file))
    return settings


def _files(path: Path, *, required: bool) -> Iterator[Path]:
    try:
        if required or path.exists():
            yield path
        yield from sorted((path.parent / "conf.d").glob("*.toml"))
    except OSError as error:
        raise _unreadable(path, error) from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise ConfigError("the file is not UTF-8", path=path, offset=error.start) from error
    except tomllib.TOMLDecodeError as error:
        # Report the place only: the text of the error can quote the line, and so a secret.
        place = re.search(r"\(at [^()]*\)$", str(error))
        where = f" {place[0]}" if place else ""
        raise ConfigError(
            f"the file is not valid TOML{where}",
            path=path,
            hint="Texts need quotes, and each key may stand once.",
        ) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "the configuration cannot be read",
        path=error.filename or path,
        errno=error.errno,
        hint="Name another file with --config, or correct its path and permissions.",
    )


def _flatten(table: Mapping[str, Any], above: SettingKey = ()) -> Iterator[tuple[SettingKey, Any]]:
    for name, value in table.items():
        key = (*above, name)
        if isinstance(value, dict) and value:
            yield from _flatten(value, key)
        elif above and isinstance(value, list) and value and all(map(_has_name, value)):
            for item in value:  # [[sources.ndjson]]: a table of its own for each name
                yield from _flatten(item, (*key, item["name"]))
        else:
            yield key, value


def _has_name(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def read_environment(
    environ: Mapping[str, str],
    sections: Mapping[str, Collection[str]],
    sinks: Collection[str],
) -> dict[SettingKey, Given]:
    """The settings that AUDITLOG_ variables give.

    AUDITLOG_STATE_DIR is ``state_dir``, AUDITLOG_RETENTION_DELETE_AFTER is
    ``retention.delete_after``, AUDITLOG_SINKS_MAIN_PASSWORD is the password of the sink ``main``;
    ``sections`` are the known keys,
    with "" for the top level, and ``sinks`` the names known so far.  Raises ConfigError.
    """
    variables = {
        _variable(section, key): (section, key) if section else (key,)
        for section, keys in sections.items()
        if section != "sinks"
        for key in keys
    }
    settings: dict[SettingKey, Given] = {}
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or _RESERVED.fullmatch(name):
            continue
        key = variables.get(name) or _sink_key(name, sections["sinks"], sinks)
        if key is None:
            known = [*variables, *(_variable("sinks", "main", key) for key in sections["sinks"])]
            raise ConfigError(
                f"the environment variable {name} is not a setting",
                hint=f"The nearest is {nearest(name, known)}; unset it if it is not meant for us.",
            )
        settings[key] = Given(environ[name], f"environment {name}")
    return settings


def _variable(*key: str) -> str:
    return _PREFIX + "_".join(part for part in key if part).upper()


def _sink_key(name: str, keys: Collection[str], sinks: Collection[str]) -> SettingKey | None:
    rest = name.removeprefix(f"{_PREFIX}SINKS_")
    if rest == name:
        return None
    for key in sorted(keys, key=len, reverse=True):  # password_file before a sink "x_password"
        sink = rest.removesuffix(f"_{key.upper()}")
        if sink not in (rest, ""):
            written = {re.sub(r"[.-]", "_", known).upper(): known for known in sinks}
            return ("sinks", written.get(sink, sink.lower()), key)
    return None


def nearest(name: str, known: Collection[str]) -> str:
    """Return the known name that is most similar to the given one."""
    return max(known, key=lambda other: difflib.SequenceMatcher(None, name, other).ratio())
