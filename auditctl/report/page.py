"""Render a report as one HTML page: no script, no network, light and dark, any width.

Invariants (tests of the same name in tests/auditctl/report/test_page.py):
  text        whatever a record says stays text: no mark-up of it reaches the page
  alone       the page refers to nothing outside itself
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import jinja2

from auditctl.output.render import bytes_text, clean, count
from auditctl.report.counts import OUTCOMES, REST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditctl.report.collect import ActivityReport
    from auditctl.report.counts import EventCounts

__all__ = ["render_page"]

_ROWS: Final = 15
_WIDTH, _HEIGHT = 720, 180
_MAX_COLUMNS: Final = 92


@dataclass(frozen=True, slots=True)
class Row:
    """A name and its count by outcome; ``shares`` are per cent of the longest row."""

    name: str
    total: int
    counts: tuple[int, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A day (or hour) in the chart: its left edge and the (outcome, top, height) of its parts."""

    label: str
    total: int
    x: float
    parts: tuple[tuple[str, float, float], ...]


def render_page(report: ActivityReport) -> str:
    """The whole page.  What is not printable in a text is shown as U+FFFD."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("auditctl.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every text is cleaned here, so that no template can forget it.
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    environment.filters |= {"number": "{:,}".format, "bytes": bytes_text, "instant": _instant}
    environment.globals["plural"] = count
    counts = report.counts
    columns, width, top = _columns(counts)
    return environment.get_template("page.html.j2").render(
        report=report,
        counts=counts,
        outcomes=OUTCOMES,
        columns=columns,
        column_width=width,
        top=top,
        chart=(_WIDTH, _HEIGHT),
        types=_rows(counts.types),
        actors=_rows(counts.actors),
        actor_count=len({name for name, _ in counts.actors} - {REST}),
        type_count=len({name for name, _ in counts.types} - {REST}),
        refusals=counts.refusals.most_common(_ROWS),
    )


def _instant(at: dt.datetime | str | None) -> str:
    if at is None:
        return "never"
    text = at.astimezone(dt.UTC).isoformat() if isinstance(at, dt.datetime) else at
    return f"{text[:10]} {text[11:19]}Z"


def _rows(counter: Counter[tuple[str, str]]) -> list[Row]:
    totals: Counter[str] = Counter()
    for (name, _), number in counter.items():
        totals[name] += number
    longest = max(totals.values(), default=1)
    rows = []
    for name, total in totals.most_common(_ROWS):
        counts = tuple(counter[name, outcome] for outcome in OUTCOMES)
        shares = tuple(round(100 * number / longest, 3) for number in counts)
        rows.append(Row(name, total, counts, shares))
    return rows


def _columns(counts: EventCounts) -> tuple[list[Column], float, int]:
    """The columns, their width and what the top of the chart stands for."""
    buckets = list(_buckets(counts))
    group = math.ceil(len(buckets) / _MAX_COLUMNS)
    groups = [buckets[start : start + group] for start in range(0, len(buckets), group)]
    sums = [
        [sum(counts.when[bucket, outcome] for bucket in each) for outcome in OUTCOMES]
        for each in groups
    ]
    top = max((sum(each) for each in sums), default=0) or 1
    width = _WIDTH / len(groups)
    columns = []
    for place, (names, heights) in enumerate(zip(groups, sums, strict=True)):
        label = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        bottom = float(_HEIGHT)
        parts = []
        for outcome, number in zip(OUTCOMES, heights, strict=True):
            height = _HEIGHT * number / top
            if number:
                bottom -= height
                parts.append((outcome, round(bottom, 2), round(height, 2)))
        columns.append(Column(label.replace("T", " "), sum(heights), place * width, tuple(parts)))
    return columns, round(width * 0.86, 2), top


def _buckets(counts: EventCounts) -> Iterator[str]:
    step = dt.timedelta(hours=1) if counts.hourly else dt.timedelta(days=1)
    since = counts.since_at.astimezone(dt.UTC)
    at = since.replace(minute=0, second=0, microsecond=0)
    if not counts.hourly:
        at = at.replace(hour=0)
    while at < counts.until_at:
        yield at.isoformat()[: 13 if counts.hourly else 10]
        at += step
