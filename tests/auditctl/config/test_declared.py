from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from auditctl.config.declared import Named, declared, effective, to_tables


def _even(value: object) -> int:
    number = int(str(value))
    if number % 2:
        raise ValueError("it has to be even")
    return number


@dataclass(frozen=True)
class Oven:
    door: Annotated[Literal["open", "shut"], "position of the door"]
    heat: Annotated[int, _even, "degrees"] = 200
    bake: Annotated[dt.timedelta, "time"] = dt.timedelta(minutes=90)
    room_bytes: Annotated[int, Named("room"), "space"] = 3 << 20
    book: Annotated[Path | None, "recipes", "grandmother's"] = None
    secret: int = 7


SETTINGS = declared(Oven)


def test_declared_once() -> None:
    """declared_once: name, converter, default and meaning come from the field alone"""
    assert list(SETTINGS) == ["door", "heat", "bake", "room", "book"]
    assert [setting.toml for setting in SETTINGS.values()] == ["", "200", '"90m"', '"3MiB"', ""]
    assert (SETTINGS["door"].required, SETTINGS["door"].default) == (True, "required")
    assert SETTINGS["book"].default == "grandmother's"
    assert SETTINGS["room"].convert("1KiB") == 1024
    assert SETTINGS["book"].convert("/a") == Path("/a")
    for name, wrong in (("heat", 3), ("door", "ajar"), ("bake", "soon")):
        with pytest.raises(ValueError, match=r"\w"):
            SETTINGS[name].convert(wrong)


def test_effective_values_are_those_set_or_by_default() -> None:
    assert dict(effective(Oven("open", heat=2), SETTINGS)) == {
        "door": "open",
        "heat": 2,
        "bake": dt.timedelta(minutes=90),
        "room": 3 << 20,
    }


def test_tables_name_what_is_wrong() -> None:
    convert = to_tables(SETTINGS)
    assert convert([{"door": "open"}]) == ({"door": "open"},)
    for wrong, says in (
        ([{}], "door is missing"),
        ([{"door": "open", "beak": "1h"}], "the nearest is bake"),
        ([{"door": "open", "heat": 1}], "heat: it has to be even"),
        ({}, "double brackets"),
    ):
        with pytest.raises(ValueError, match=says):
            convert(wrong)
