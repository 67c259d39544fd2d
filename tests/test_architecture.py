"""ARCHITECTURE.md names what is there, and passes nothing over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TEXT: Final = (ROOT / "ARCHITECTURE.md").read_text("utf-8")


def test_every_path_it_names_exists() -> None:
    named = re.findall(r"`((?:auditlog|shippers|retention|auditctl)/[\w/.]+)`", TEXT)
    assert len(named) > 30
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_every_name_in_code_type_is_one_of_ours() -> None:
    """`Log.emit`, `Ticket`, `Commit`: each is defined in a module it names."""
    sources = "\n".join(path.read_text("utf-8") for path in ROOT.glob("auditlog/**/*.py"))
    names = set(re.findall(r"`([A-Z]\w+)(?:\.\w+)?`", TEXT))
    assert names
    missing = [name for name in names if f"class {name}" not in sources]
    assert not missing
    methods = re.findall(r"`[A-Z]\w+\.(\w+)`", TEXT)
    assert all(f"def {method}(" in sources for method in methods)


def test_the_modules_it_calls_pure_say_so() -> None:
    section = TEXT.partition("## What is pure")[2].partition("##")[0]
    named: list[Path] = []
    for package, names in re.findall(r"In\s+`(\w+)`: ([\w,\s]+)\.", section):
        for name in re.split(r",\s+", names):
            named += (ROOT / package).rglob(f"{name.strip()}.py")
    assert len(named) >= 15
    silent = [path.name for path in named if "Pure" not in path.read_text("utf-8")[:400]]
    assert not silent
