"""ARCHITECTURE.md names what is there, and passes nothing over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TEXT: Final = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
NO_NEWS: Final = {"__init__.py", "__main__.py"}
"""Modules that only collect or start others."""


def test_every_path_it_names_exists() -> None:
    named = re.findall(r"`((?:auditlog|shippers|retention|auditctl)/[\w/.]+)`", TEXT)
    assert len(named) > 30
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_every_name_in_code_type_is_one_of_ours() -> None:
    """`Log.emit`, `Ticket`, `Commit`: each is defined in a module it names."""
    sources = "\n".join(path.read_text("utf-8") for path in ROOT.glob("auditlog/**/*.py"))
    names = set(re.findall(r"`([A-Z]\w+)(?:\.\w+)?`", TEXT.partition("## Where to look")[0]))
    assert names
    missing = [name for name in names if f"class {name}" not in sources]
    assert not missing
    methods = re.findall(r"`[A-Z]\w+\.(\w+)`", TEXT)
    assert all(f"def {method}(" in sources for method in methods)


def test_every_answer_of_where_to_look_is_defined_there() -> None:
    section = TEXT.partition("## Where to look")[2].partition("##")[0]
    rows = re.findall(r"^\| [^|]+\? \| `([\w/.]+)`[^|]* \| `(\w+)` \|$", section, re.MULTILINE)
    assert len(rows) == section.count("?")
    for path, name in rows:
        source = (ROOT / path).read_text("utf-8")
        pattern = rf"^(class |def )?{name}\b"
        assert re.search(pattern, source, re.MULTILINE), f"{path} does not define {name}"


def test_the_modules_it_calls_pure_say_so() -> None:
    section = TEXT.partition("## Pure modules")[2].partition("##")[0]
    named: list[Path] = []
    for package, names in re.findall(r"In\s+`(\w+)`: ([\w,\s]+)\.", section):
        for name in re.split(r",\s+", names):
            named += (ROOT / package).rglob(f"{name.strip()}.py")
    assert len(named) >= 15
    silent = [path.name for path in named if "Pure" not in path.read_text("utf-8")[:400]]
    assert not silent


def test_every_module_is_named_in_the_row_of_its_room() -> None:
    """A module that is moved, renamed, made or removed changes its room's row."""
    rows = re.findall(r"^\| `([\w/]+)/` \| (\S.*) \| ([\w, ]+) \|$", TEXT, re.MULTILINE)
    named = {f"{room}/{name}.py" for room, _, names in rows for name in names.split(", ")}
    there = {
        path.relative_to(ROOT).as_posix()
        for package in ("auditlog", "shippers", "retention", "auditctl")
        for path in (ROOT / package).rglob("*.py")
        if path.name not in NO_NEWS
    }
    assert sorted(there - named) == [], "add these to the rows of their rooms in ARCHITECTURE.md"
    assert sorted(named - there) == [], "take these out of their rows in ARCHITECTURE.md"


def test_the_picture_names_rooms_that_are_there() -> None:
    (picture,) = re.findall(r"```mermaid\n(.*?)```", TEXT, re.DOTALL)
    rooms = re.findall(r"[a-z]+(?:/[a-z_]+)*/", picture)
    assert len(rooms) > 10
    there = [f"{path.relative_to(ROOT).as_posix()}/" for path in ROOT.glob("*/**/")]
    assert [room for room in rooms if not any(each.endswith(room) for each in there)] == []
