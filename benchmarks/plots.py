"""Draw each stored result as an SVG in docs/images: `make bench-plots`, or any `make bench`.

The left half shows the cases (every sample, the median as a bar), the right half the ratios against
what the project aims at.  A picture is a function of its result alone: no date, no random ids; it
carries the SHA-256 of the JSON it was drawn from, by which a test knows one that is out of date.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness import RESULTS
from benchmarks.report import figure_text

IMAGES = Path(__file__).parent.parent / "docs" / "images"

_BAR, _SAMPLE, _REACHED, _MISSED, _ONLY_KNOWN = (
    "#7aa6d8",
    "#1b3a5c",
    "#3b8f5a",
    "#c4682b",
    "#8a8a8a",
)
_LOG_FROM = 200.0  # cases that lie further apart than this are shown on a logarithmic scale
_STYLE: Mapping[Any, Any] = {
    "svg.hashsalt": "auditlog",
    "svg.fonttype": "none",  # words stay words: searchable, and small
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_all() -> list[Path]:
    """Draw every stored result anew; a picture whose result is gone is removed."""
    IMAGES.mkdir(exist_ok=True)
    drawn = [draw(path, IMAGES / f"{path.stem}.svg") for path in sorted(RESULTS.glob("*.json"))]
    for stray in set(IMAGES.glob("*.svg")) - set(drawn):
        stray.unlink()
    return drawn


def draw(stored: Path, picture: Path) -> Path:
    """Draw one result; returns the picture's path."""
    content = stored.read_bytes()
    result = json.loads(content)
    with mpl.rc_context(dict(_STYLE)):
        rows = max(len(result["cases"]), len(result["ratios"]))
        figure = Figure(figsize=(10, 1.1 + 0.34 * rows), layout="constrained", facecolor="white")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_cases(left, result)
        _draw_ratios(right, result)
        figure.suptitle(result["title"], fontweight="bold")
        figure.supxlabel(f"{result['date']}, {result['machine']}", fontsize=7, color="#555555")
        figure.savefig(
            picture,
            format="svg",
            metadata={"Date": None, "Title": result["title"], "Description": source_of(content)},
        )
    return picture


def source_of(content: bytes) -> str:
    """Return the caption that names the data of a picture."""
    return f"sha256 of the result: {hashlib.sha256(content).hexdigest()}"


def _draw_cases(axes: Axes, result: Mapping[str, Any]) -> None:
    names = list(result["cases"])
    cases = list(result["cases"].values())
    medians = [case["median"] for case in cases]
    axes.barh(names, medians, color=_BAR, height=0.6)
    for row, case in enumerate(cases):
        axes.plot(case["samples"], [row] * len(case["samples"]), "|", color=_SAMPLE, markersize=9)
    if max(medians) > _LOG_FROM * min(medians):
        # A logarithmic scale has no place for what was counted as none.
        axes.set_xscale("log" if min(medians) > 0 else "symlog")
    for row, case in enumerate(cases):
        axes.annotate(
            figure_text(case["median"]),
            (max(case["max"], case["median"]), row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
        )
    axes.margins(x=0.18)
    axes.invert_yaxis()
    axes.set_xlabel(f"{result['unit']} (bar: median, strokes: each turn)")


def _draw_ratios(axes: Axes, result: Mapping[str, Any]) -> None:
    ratios = result["ratios"]
    for row, ratio in enumerate(ratios):
        colour = {True: _REACHED, False: _MISSED, None: _ONLY_KNOWN}[ratio["met"]]
        axes.plot([ratio["min"], ratio["max"]], [row, row], color=colour, linewidth=2)
        axes.plot([ratio["median"]], [row], "o", color=colour)
        verdict = {True: "reached", False: "not reached", None: ""}[ratio["met"]]
        if ratio["target"] is not None:
            axes.plot([ratio["target"]], [row], "|", color="black", markersize=14)
            sign = "≥" if ratio["at_least"] else "≤"
            verdict = f", aim {sign} {ratio['target']:g}: {verdict}"
        axes.annotate(
            f"{ratio['median']:.2f}{verdict}",
            (0.02, row),
            xycoords=("axes fraction", "data"),
            xytext=(0, 7),
            textcoords="offset points",
            fontsize=7,
        )
    axes.set_yticks(range(len(ratios)), [f"{ratio['of']}\n/ {ratio['to']}" for ratio in ratios])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.invert_yaxis()
    axes.set_xlabel("ratio (dot: median, stroke: aim)")
