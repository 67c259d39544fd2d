"""The page as it is written, and as a browser shows it."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from auditctl.report.counts import EventCounts
from auditctl.report.page import _buckets, render_page
from tests.support.logs import START
from tests.support.programs import not_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from auditctl.report.collect import ActivityReport
    from tests.support.logs import LogBuilder

WIDTHS = (375, 1280)
_CONTRAST = """() => {
    const light = colour => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(Number).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    return Math.min(...[...document.querySelectorAll("h1, h2, td, th, .note, .source, .good, .bad")]
        .map(each => light(getComputedStyle(each).color))
        .map(ink => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)));
}"""


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def page(month: LogBuilder, report_on: Callable[..., ActivityReport]) -> str:
    return render_page(report_on(month.directory))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of this machine."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        not_run("PROGRAMS", "chromium is missing")
    with sync_playwright() as playwright:
        # As root, as in a container, its sandbox cannot be made.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


def test_the_columns_end_where_the_time_does() -> None:
    midnight = START.replace(hour=0, minute=0, second=0, microsecond=0)
    for days, buckets in ((1, 24), (10, 10)):
        shown = list(_buckets(EventCounts(midnight, midnight + days * dt.timedelta(days=1))))
        assert len(shown) == buckets
        assert shown[0].startswith("2026-11-23")


def test_text(page: str) -> None:
    """text: whatever a record says stays text: no mark-up of it reaches the page"""
    tags = _Tags()
    tags.feed(page)
    assert {"script", "img"} & {tag for tag, _ in tags.found} == set()
    assert not [name for _, attrs in tags.found for name in attrs if name.startswith("on")]
    assert "&lt;script&gt;document.title=1" in page
    assert "{{7*7}}" in page
    assert "\u202e" not in page


def test_alone(page: str) -> None:
    """alone: the page refers to nothing outside itself"""
    tags = _Tags()
    tags.feed(page)
    named = [value for _, attrs in tags.found for key, value in attrs.items()
             if key in ("src", "href", "data", "srcset")]  # fmt: skip
    assert named == ["data:,"]
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_browser_shows_it(
    page: str, browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, "utf-8")
    asked: list[str] = []
    said: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="light" if scheme == "light" else "dark",
    )
    shown = context.new_page()
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(path.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert shown.title().startswith("Audit report")
    assert shown.locator("h1").is_visible()
    # The page is no wider than the screen, headings included; wide tables scroll by themselves.
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [heading.bounding_box() for heading in shown.locator("h1, h2, svg, .card").all()]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert shown.locator("rect.failure").count() > 10
    rects = [rect.bounding_box() for rect in shown.locator("rect").all()]
    assert all(rect and rect["height"] > 0 for rect in rects)
    size = shown.evaluate("parseFloat(getComputedStyle(document.querySelector('td')).fontSize)")
    assert size >= 13
    assert shown.evaluate(_CONTRAST) >= 4.5  # WCAG 2.2, 1.4.3
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    context.close()
