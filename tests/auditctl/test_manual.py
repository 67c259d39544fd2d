from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from auditctl.cli import COMMANDS
from auditctl.manual import Page, markdown, pages, roff
from tests.support.programs import require

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result

PAGES = pages()


def test_complete(run: Callable[..., Result]) -> None:
    names = [page.name for page in PAGES]
    assert names[0] == "auditctl"
    assert {f"auditctl {name}" for name in COMMANDS} <= set(names)
    assert "auditctl config show" in names
    text = markdown(PAGES)
    for page in PAGES:
        shown = run(*page.name.split()[1:], "--help").out.partition("\nOptions:\n")[2]
        options = [line.split()[0].rstrip(",") for line in shown.splitlines()
                   if line.startswith("  -")]  # fmt: skip
        assert options
        typed = " ".join(option for option, _ in page.options)
        assert not [option for option in options if option not in typed]
        assert f"## {page.name}\n" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_man_page_is_read_without_a_warning(page: Page, tmp_path: Path) -> None:
    require("groff")
    path = tmp_path / "page.1"
    path.write_text(roff(page, PAGES))
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-c", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    shown = " ".join(done.stdout.split())
    assert page.summary.split()[0] in shown
    for example in page.examples:
        assert example.split()[-1] in shown


def test_literal() -> None:
    page = Page(
        "auditctl x", "A 'b' \\c", "[X]", (".SH not a heading", "'a"), (("-x", "`*_<"),), ()
    )
    text = roff(page, [page])
    assert "\\&.SH not a heading" in text
    assert "\\&\\(aqa" in text
    assert "A \\(aqb\\(aq \\ec" in text
    assert "| `-x` | \\`\\*\\_\\< |" in markdown([page])


def test_the_command_prints_one_or_writes_all(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("manual", "config", "show").out.startswith('.TH "AUDITCTL-CONFIG-SHOW"')
    assert run("manual", "--to", tmp_path / "man1").code == 0
    assert (tmp_path / "man1" / "auditctl-search.1").read_text() == run("manual", "search").out
    assert len([*(tmp_path / "man1").iterdir()]) == len(PAGES)
    assert run("manual", "nonsense").code == 2
