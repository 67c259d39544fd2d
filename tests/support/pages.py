"""The links and anchors of a Markdown page, as a forge makes them.

page = Page.read(root / "README.md")
page.links      (line, target) of every link and picture outside of code
page.anchors    what a link to the page may have behind its #
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

__all__ = ["Page", "broken_links"]

_MARKDOWN: Final = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True, slots=True)
class Page:
    path: Path
    links: tuple[tuple[int, str], ...]
    anchors: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        tokens = _MARKDOWN.parse(path.read_text("utf-8"))
        return cls(path, tuple(_links(tokens)), frozenset(_anchors(tokens)))


def broken_links(path: Path) -> list[str]:
    """List a page's broken links, each with what is missing.  Web addresses are not fetched."""
    page = Page.read(path)
    broken = []
    for line, target in page.links:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = path.parent / name if name else path
        if not place.exists():
            broken.append(f"{path.name}:{line}: there is no {name}")
        elif anchor and anchor not in Page.read(place).anchors:
            broken.append(f"{path.name}:{line}: {place.name} has no heading #{anchor}")
    return broken


def _links(tokens: list[Token]) -> Iterator[tuple[int, str]]:
    line = 0
    for token in tokens:
        line = token.map[0] + 1 if token.map else line
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target:
                yield line, str(target)


def _anchors(tokens: list[Token]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for token, inside in itertools.pairwise(tokens):
        if token.type != "heading_open":
            continue
        words = "".join(
            child.content
            for child in inside.children or ()
            if child.type in ("text", "code_inline")
        )
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        yield f"{slug}-{seen[slug]}" if seen[slug] else slug
        seen[slug] += 1
