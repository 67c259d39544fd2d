"""Derive settings (key, type, conversion, help text) from annotated dataclass fields.

A field is a setting when its annotation carries a description:

    keep_at_least: Annotated[int, "newest segments of a log that are never deleted"] = 1

The type chooses the converter; a function in the annotation is used instead.  What a type cannot
express, the class checks when it is made.  A second text describes a default that is not a value.
Reading files and the environment, error messages, ``config init``, ``config show`` and the tables
of docs/configuration.md all come from here, so that a setting is declared once.

Invariants (tests of the same name in tests/auditctl/config/test_declared.py):
  declared_once   name, converter, default and meaning of a setting come from its field alone
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Final, get_type_hints

from auditctl.config.origins import nearest
from auditctl.config.values import Converter, by_type, plain

__all__ = ["Named", "Setting", "declared", "effective", "to_tables"]

_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))


@dataclass(frozen=True, slots=True)
class Named:
    """Annotation with the setting's name, where it differs from the field's."""

    name: str


@dataclass(frozen=True, slots=True)
class Setting:
    """``toml`` is the default as a file has it, "" for one that no file can have.

    ``default`` is the same for people; ``required`` settings have none.
    """

    name: str
    field: str
    convert: Converter
    meaning: str
    default: str = "none"
    toml: str = ""
    required: bool = False


def declared(*classes: type, without: Sequence[str] = ()) -> dict[str, Setting]:
    """The settings of these dataclasses by name, in the order of their fields."""
    found = {}
    for each in classes:
        hints = get_type_hints(each, include_extras=True)
        for field in fields(each):
            notes = getattr(hints[field.name], "__metadata__", ())
            texts = [note for note in notes if isinstance(note, str)]
            if texts and field.name not in without:
                name = next((n.name for n in notes if isinstance(n, Named)), field.name)
                own = [note for note in notes if callable(note)]
                kind = hints[field.name].__origin__
                convert = own[0] if own else by_type(kind, field.name)
                toml = "" if len(texts) > 1 else _toml(field)
                required = field.default is MISSING and field.default_factory is MISSING
                default = "required" if required else toml or (*texts, "none")[1]
                found[name] = Setting(name, field.name, convert, texts[0], default, toml, required)
    return found


def _toml(field: Field[Any]) -> str:
    value = None if field.default is MISSING else field.default
    if value in (None, (), dt.timedelta(0)):
        return ""
    if field.name.endswith("_bytes") and isinstance(value, int):
        size, unit = next(each for each in _SIZES if value % each[0] == 0)
        value = f"{value // size}{unit}"
    return json.dumps(plain(value))  # TOML and JSON agree on strings, numbers, booleans and lists


def effective(holder: Any, settings: Mapping[str, Setting]) -> Iterator[tuple[str, Any]]:
    """Name and value of each setting that has a value in the object, set or by default."""
    for name, setting in settings.items():
        if (value := getattr(holder, setting.field, None)) not in (None, (), dt.timedelta(0)):
            yield name, value


def to_tables(settings: Mapping[str, Setting]) -> Converter:
    """A converter for tables in a list, like ``[[retention.logs]]``."""

    def convert(value: Any) -> tuple[dict[str, Any], ...]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ValueError("it has to be tables in double brackets, and only a file can have it")
        return tuple(table(item) for item in value)

    def table(item: Mapping[str, Any]) -> dict[str, Any]:
        for name, setting in settings.items():
            if setting.required and name not in item:
                raise ValueError(f"{name} is missing in one of the tables")
        converted = {}
        for name, value in item.items():
            if name not in settings:
                near = nearest(name, settings)
                raise ValueError(f"there is no {name} in it; the nearest is {near}")
            try:
                converted[name] = settings[name].convert(value)
            except ValueError as error:
                raise ValueError(f"{name}: {getattr(error, 'reason', error)}") from error
        return converted

    return convert
