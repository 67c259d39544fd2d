"""Show results: a table for the terminal, and docs/benchmarks.md from all that are stored."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import fleet
from benchmarks.harness import NAMES, PEERS, RESULTS

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"

_INTRODUCTION = """\
# Benchmarks

Speed as it was measured, good or bad: every table is one run of one command, its contenders taking
turns in processes of their own; figures are medians (minimum to maximum), a ratio is the median of
the ratios of each turn. Machines differ and are noisy, so the ratios are what to read. Written by
`make bench` from `benchmarks/results/*.json`.
"""

_NOT_MEASURED = """\
The peers are programs that Debian packages, the OpenTelemetry Collector, which is built of its
modules, and a script around the client's own helper. Kafka is another target than an index, and so
has a table of its own. Not measured are the Collector's exporter to Elasticsearch, whose module
(`exporter/elasticsearchexporter`, v0.149.0 and v0.165.1) the module proxy did not serve, and
Vector, Fluent Bit, Fluentd, Filebeat and Logstash, which are not among Debian's packages.
"""


def table(result: Mapping[str, Any]) -> str:
    """One benchmark as Markdown, readable on a terminal too."""
    lines = [
        f"## {result['title']}",
        "",
        f"{result['date']}, {result['machine']}. `{result['command']}`",
        "",
        f"| case | {result['unit']} | min to max | what it does |",
        "|---|---:|---:|---|",
    ]
    lines += [
        f"| {name} | {figure_text(case['median'])}"
        f" | {figure_text(case['min'])} to {figure_text(case['max'])} | {case['what']} |"
        for name, case in result["cases"].items()
    ]
    lines += ["", "| ratio | median | min to max | aim | |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {ratio['of']} / {ratio['to']} | {ratio['median']:.2f}"
        f" | {ratio['min']:.2f} to {ratio['max']:.2f} | {_aim(ratio)} | {_verdict(ratio)} |"
        for ratio in result["ratios"]
    ]
    return "\n".join(lines) + "\n"


def write_documents() -> list[Path]:
    """docs/benchmarks.md and the tables of docs/capacity.md, made anew from the stored results."""
    DOCUMENT.write_text(document(), "utf-8")
    return [DOCUMENT, fleet.write_page()]


def document() -> str:
    """The tables of every stored result, each below its picture (see plots)."""
    parts = [_INTRODUCTION, _commands()]
    stored = {path.stem: path for path in RESULTS.glob("*.json")}
    for stem in sorted(stored, key=_place):
        result = json.loads(stored[stem].read_text("utf-8"))
        heading, _, rest = table(result).partition("\n")
        picture = f"![{heading.removeprefix('## ')}](images/{stem}.svg)"
        parts.append(f"{heading}\n\n{picture}\n{rest}")
        if notes := result.get("notes"):
            parts.append(f"{notes}\n")
    return "\n".join(parts)


def _place(stem: str) -> tuple[int, str]:
    """Put what most people ask for first, and a result of another workload behind its benchmark."""
    order = NAMES + PEERS
    return order.index(stem if stem in order else stem.rpartition(".")[0]), stem


def _commands() -> str:
    """List the benchmarks with the first sentence of each module."""
    lines = [
        "`make bench` runs all but the peers, which fetch programs of others; one by itself:",
        "",
        "| command | measurement |",
        "|---|---|",
    ]
    for name in NAMES + PEERS:
        source = Path(__file__).parent.joinpath(*name.split(".")).with_suffix(".py")
        asked = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
        lines.append(f"| `python -m benchmarks {name}` | {asked.partition(chr(10))[0]} |")
    return "\n".join([*lines, "", _NOT_MEASURED])


def figure_text(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _aim(ratio: Mapping[str, Any]) -> str:
    if ratio["target"] is None:
        return ""
    return f"{'≥' if ratio['at_least'] else '≤'} {ratio['target']:g}"


def _verdict(ratio: Mapping[str, Any]) -> str:
    return {None: "", True: "reached", False: "not reached"}[ratio["met"]]
