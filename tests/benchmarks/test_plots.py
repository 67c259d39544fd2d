"""The document and the pictures of the benchmarks are those of the results that are stored."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from benchmarks import harness, plots, report
from benchmarks.harness import NAMES, PEERS, RESULTS

STORED: Final = sorted(RESULTS.glob("*.json"))
ONE: Final = {"min": 1.0, "median": 1.0, "max": 1.0}
NO_AIM: Final = {"target": None, "at_least": True, "met": None}


def test_the_document_is_that_of_the_results() -> None:
    assert report.DOCUMENT.read_text("utf-8") == report.document(), "run make bench-plots"


@pytest.mark.parametrize("name", NAMES + PEERS)
def test_a_table_has_a_cell_in_every_column_whatever_its_cases_are_called(name: str) -> None:
    benchmark = harness.load(name)
    cases = {
        case: {"what": of.what, "samples": [1.0], **ONE} for case, of in benchmark.CASES.items()
    }
    ratios = [{"of": ratio.of, "to": ratio.to, **ONE, **NO_AIM} for ratio in benchmark.RATIOS]
    made = {"title": benchmark.TITLE, "unit": benchmark.UNIT, "date": "", "machine": ""}
    shown = report.table({**made, "command": "", "cases": cases, "ratios": ratios})
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(rows) == 4 + len(cases) + len(ratios)
    columns = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert columns == [5] * (2 + len(cases)) + [6] * (2 + len(ratios))


@pytest.mark.parametrize("name", NAMES + PEERS)
def test_the_document_gives_the_command_of_every_benchmark(name: str) -> None:
    benchmark = harness.load(name)
    compared = {case for ratio in benchmark.RATIOS for case in (ratio.of, ratio.to)}
    assert compared <= set(benchmark.CASES)
    assert f"| `python -m benchmarks {name}` | " in report.DOCUMENT.read_text("utf-8")


def test_there_is_a_picture_of_every_result_and_no_other() -> None:
    there = {path.stem for path in plots.IMAGES.glob("*.svg")}
    assert there == {path.stem for path in STORED}, "run make bench-plots"


@pytest.mark.parametrize("stored", STORED, ids=lambda path: path.stem)
def test_a_picture_is_of_today_and_shows_the_figures(stored: Path) -> None:
    drawn = (plots.IMAGES / f"{stored.stem}.svg").read_text("utf-8")
    assert plots.source_of(stored.read_bytes()) in drawn, "run make bench-plots"
    words = {element.text for element in ET.fromstring(drawn).iter() if element.text}
    result = json.loads(stored.read_bytes())
    for name, case in result["cases"].items():
        assert {name, report.figure_text(case["median"])} <= words
    for ratio in result["ratios"]:
        assert any(word.startswith(f"{ratio['median']:.2f}") for word in words)


def test_a_result_always_gives_the_same_picture(tmp_path: Path) -> None:
    stored = RESULTS / "writer.json"
    first, second = (plots.draw(stored, tmp_path / name) for name in ("a.svg", "b.svg"))
    assert first.read_bytes() == second.read_bytes()
    assert not re.search(r"<dc:date>|/tmp/", first.read_text("utf-8"))


def test_a_picture_of_another_result_is_found(tmp_path: Path) -> None:
    changed = tmp_path / "writer.json"
    changed.write_bytes((RESULTS / "writer.json").read_bytes() + b"\n")
    drawn = plots.draw(changed, tmp_path / "writer.svg").read_text("utf-8")
    assert plots.source_of((RESULTS / "writer.json").read_bytes()) not in drawn
