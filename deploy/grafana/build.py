"""Writes the dashboards; a test holds the committed files against what this makes.

python -m deploy.grafana.build        (make dashboards)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.audit_pipeline import audit_pipeline
from deploy.grafana.llama_orch import llama_orch

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIRECTORY", "built"]

DIRECTORY: Final = Path(__file__).parent / "dashboards"


def built() -> Mapping[str, str]:
    """The text of each dashboard, by the name of its file."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    dashboards = {"llama-orch-production": llama_orch(), "audit-pipeline": audit_pipeline()}
    return {
        f"{name}.json": encoder.encode(dashboard) + "\n" for name, dashboard in dashboards.items()
    }


if __name__ == "__main__":
    for name, text in built().items():
        (DIRECTORY / name).write_text(text, "utf-8")
