"""The tables of docs/configuration.md, made from the declarations of the settings.

`python -m tests.support.settings_reference` writes them anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditctl.config.archive import ARCHIVE
from auditctl.config.evidence import EVIDENCE
from auditctl.config.model import SINK, TOP
from auditctl.config.policies import FOREIGN, RETENTION
from auditctl.config.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditctl.config.declared import Setting

__all__ = ["PAGE", "rewritten", "table"]

PAGE: Final = Path(__file__).parents[2] / "docs/configuration.md"
TABLES: Final[Mapping[str, Mapping[str, Setting]]] = {
    "At the top": TOP,
    "`[sinks.NAME]`": SINK,
    "`[retention]`": RETENTION,
    "`[[retention.foreign]]`": FOREIGN,
    "`[evidence]`": EVIDENCE,
    "`[archive]`": ARCHIVE,
    **{f"`[[sources.{kind}]]`": settings for kind, settings in SOURCES.items()},
}


def table(settings: Mapping[str, Setting]) -> str:
    rows = [
        f"| `{setting.name}` | {f'`{setting.toml}`' if setting.toml else setting.default} "
        f"| {setting.meaning} |\n"
        for setting in settings.values()
    ]
    return "| key | default | meaning |\n|---|---|---|\n" + "".join(rows)


def rewritten(text: str) -> str:
    """The page with the table of each section replaced."""
    for heading, settings in TABLES.items():
        pattern = rf"(## {re.escape(heading)}\n(?:[^|#]*\n)?)(?:\|.*\n)+"
        text, count = re.subn(pattern, lambda m, s=settings: m[1] + table(s), text, count=1)
        assert count, f"{PAGE.name} has no table under {heading}"
    return text


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text("utf-8")), "utf-8")
