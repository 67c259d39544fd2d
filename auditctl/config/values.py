"""Convert a setting's TOML or environment value to its type.

A converter returns the value, or raises ValueError with a reason that never quotes the value, which
may be a secret.

Invariants (tests of the same name in tests/auditctl/config/test_values.py):
  both_sources   a value reads the same from TOML and from the environment
  refused        a value of the wrong type or range is refused, and the error says what is expected
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin

from retention.policy import format_duration, parse_duration

__all__ = [
    "Converter",
    "by_type",
    "one_of",
    "plain",
    "to_duration",
    "to_paths",
    "to_size",
    "to_text",
]

Converter = Callable[[Any], Any]

_UNITS: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def to_text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("it has to be a text in quotes")
    return value


def to_texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):  # from the environment
        value = value.split(",")
    if not isinstance(value, list) or not value:
        raise ValueError('it has to be a list of texts, ["…", "…"]')
    return tuple(to_text(item) for item in value)


def to_path(value: Any) -> Path:
    return Path(to_text(value)).expanduser().absolute()


def to_paths(value: Any) -> tuple[Path, ...]:
    """A list; in the environment a text with colons, as PATH has."""
    paths = value.split(":") if isinstance(value, str) else value
    return tuple(to_path(item) for item in to_texts(paths))


def to_duration(value: Any) -> dt.timedelta:
    duration = parse_duration(to_text(value))
    if not duration:
        raise ValueError("it has to be longer than zero")
    return duration


def to_size(value: Any) -> int:
    """Bytes, as a number or as a text with B, KiB, MiB or GiB.  Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,15}) ?(B|KiB|MiB|GiB)?", str(value), re.ASCII)
    if match is None or isinstance(value, (bool, float)):
        raise ValueError('it has to be a size like "32MiB"')
    return int(match[1]) * _UNITS[match[2] or ""]


def to_integer(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        return int(value)
    if type(value) is not int:
        raise ValueError("it has to be a whole number")
    return value


def to_number(value: Any) -> float:
    if isinstance(value, str) and re.fullmatch(r"[0-9]*\.?[0-9]+", value, re.ASCII):
        return float(value)
    if type(value) not in (int, float):
        raise ValueError("it has to be a number")
    return float(value)


def to_flag(value: Any) -> bool:
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if type(value) is not bool:
        raise ValueError("it has to be true or false")
    return value


_BY_TYPE: Final[dict[Any, Converter]] = {
    str: to_text,
    tuple[str, ...]: to_texts,
    Path: to_path,
    tuple[Path, ...]: to_paths,
    dt.timedelta: to_duration,
    int: to_integer,
    float: to_number,
    bool: to_flag,
}


def by_type(annotation: Any, name: str) -> Converter:
    """The converter for a field's type; a whole number whose name ends in _bytes is a size."""
    if isinstance(annotation, UnionType):  # T | None: leaving it out is None
        (annotation,) = (kind for kind in get_args(annotation) if kind is not NoneType)
    if get_origin(annotation) is Literal:
        return one_of(get_args(annotation))
    return to_size if annotation is int and name.endswith("_bytes") else _BY_TYPE[annotation]


def one_of(allowed: tuple[str, ...]) -> Converter:
    def convert(value: Any) -> str:
        if value not in allowed:
            raise ValueError("it has to be " + " or ".join(f'"{each}"' for each in allowed))
        return str(value)

    return convert


def plain(value: Any) -> Any:
    """Return the value for JSON: durations as ``90d``, paths and addresses as strings."""
    match value:
        case tuple():
            return [plain(item) for item in value]
        case dt.timedelta():
            return format_duration(value)
        case None | bool() | int() | float():
            return value
        case _:
            return str(value)
