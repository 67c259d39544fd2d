"""Grafana cannot run here: what it would load is checked as far as it can be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.grafana.build import DIRECTORY, built
from tests.operations.test_rbee import GUIDE
from tests.support.operations import DEPLOY, loaded

DASHBOARDS: Final = sorted(DIRECTORY.glob("*.json"))


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def test_the_committed_dashboards_are_what_the_code_builds() -> None:
    committed = {path.name: path.read_text("utf-8") for path in DASHBOARDS}
    assert committed == built(), "run make dashboards"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_says_what_it_shows_and_none_covers_another(path: Path) -> None:
    covered: set[tuple[int, int]] = set()
    for panel in panels(path):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & covered, panel["title"]
        covered |= cells
    titles = [panel["title"] for panel in panels(path)]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_have_todays_schema_and_their_variables(path: Path) -> None:
    dashboard = json.loads(path.read_text("utf-8"))
    assert dashboard["schemaVersion"] >= 41
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == [
        "datasource",
        "instance",
    ]
    assert "id" not in dashboard, "it would overwrite another one"


def test_every_metric_of_the_guide_has_a_panel() -> None:
    text = (DIRECTORY / "llama-orch-production.json").read_text("utf-8")
    missing = [name for name in GUIDE if name not in text]
    assert not missing


def test_every_metric_of_the_agent_is_one_that_it_serves() -> None:
    """By the document, which is held against the agent (tests/auditctl/agent/test_metrics.py)."""
    documented = (DEPLOY.parent / "docs/metrics.md").read_text("utf-8")
    named = {
        name
        for path in DASHBOARDS
        for name in re.findall(r"\bauditlog_(?!writer_|fleet_)[a-z0-9_]+", path.read_text("utf-8"))
    }
    assert len([name for name in named if name.startswith("auditlog_archive_")]) >= 6
    assert not {name for name in named if f"`{name}`" not in documented}


def test_uids_are_unlike_and_the_provisioning_fits() -> None:
    uids = [json.loads(path.read_text("utf-8"))["uid"] for path in DASHBOARDS]
    assert len(set(uids)) == len(uids) == 2
    sources = loaded(DEPLOY / "grafana/provisioning/datasources/llama-orch.yml")["datasources"]
    prometheus, alertmanager, audit = sources
    assert prometheus["type"] == "prometheus"
    scraping = loaded(DEPLOY / "prometheus/prometheus.yml")
    assert prometheus["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
    [target] = scraping["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert alertmanager["url"] == f"http://{target}"
    assert audit["jsonData"]["index"] == "llama-orch-audit-*"
    [provider] = loaded(DEPLOY / "grafana/provisioning/dashboards/llama-orch.yml")["providers"]
    assert provider["type"] == "file"
