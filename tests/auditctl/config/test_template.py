from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from auditctl.config.archive import ARCHIVE
from auditctl.config.model import SINK, TOP, load
from auditctl.config.policies import RETENTION
from auditctl.config.template import template

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result

COMMENTED = re.findall(r"^# (?:\w+ = .*|\[sinks\.copy\])$", template(), re.MULTILINE)


def test_usable(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(template())
    config = load(path, environ={})
    assert [sink.name for sink in config.sinks] == ["main"]
    assert str(config.directories[0]) == "/var/log/llama-orch/audit"


@pytest.mark.parametrize("line", [line for line in COMMENTED if "sqlite" not in line])
def test_usable_with_a_comment_taken_away(tmp_path: Path, line: str) -> None:
    """A setting is used together with those that it requires."""
    together = {
        "# username": ["# password_file = "],
        "# password_file": ["# username = "],
        "# [sinks.copy]": ['# kind = "sqlite"', "# path = "],
        "# path": ["# [sinks.copy]", '# kind = "sqlite"'],
        "# bucket": ["# [archive]"],
        "# mode": ["# [archive]", "# bucket = "],
        "# retain": ["# [archive]", "# bucket = "],
        "# manifest_every": ["# [archive]", "# bucket = "],
        "# late_after": ["# [archive]", "# bucket = "],
    }
    wanted = [line, *together.get(line.split(" = ", maxsplit=1)[0], [])]
    text = "\n".join(
        each.removeprefix("# ") if any(each.startswith(one) for one in wanted) else each
        for each in template().splitlines()
    )
    path = tmp_path / "config.toml"
    assert text != template(), "nothing was taken away"
    path.write_text(text)
    load(path, environ={})


def test_complete() -> None:
    text = template()
    for names in (TOP, SINK, RETENTION, ARCHIVE):
        assert [
            name for name in names if not re.search(rf"^(# +)?{name}( = |: )", text, re.MULTILINE)
        ] == []


def test_init_prints_it_or_writes_it_and_replaces_nothing(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    assert run("config", "init").out == template()
    path = tmp_path / "config.toml"
    result = run("config", "init", "-o", path)
    assert (result.code, result.out) == (0, "")
    assert path.read_text() == template()
    assert path.stat().st_mode & 0o777 == 0o644
    path.write_text("mine")
    again = run("config", "init", "-o", path)
    assert (again.code, "it is there already" in again.err) == (2, True)
    assert path.read_text() == "mine"
