"""A real Prometheus and Alertmanager with the files of deploy/, in a hurry.

The overlay changes where things listen, how often they look, and how long an alert waits (each
``for`` in seconds instead of minutes).  Expressions, labels and routes are those of deploy/,
untouched, and so are the inhibitions unless a test leaves them out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.support.operations import DEPLOY, loaded
from tests.support.ports import free_port
from tests.support.rbee import Process

__all__ = ["Alertmanager", "Prometheus", "expressions_of", "seconds_for_minutes"]


def seconds_for_minutes(rules: str) -> str:
    """Let each alert wait as many seconds as it has minutes."""
    return re.sub(r"^(\s+for: \d+)m$", r"\1s", rules, flags=re.MULTILINE)


class Prometheus(Process):
    """``targets`` are ports by job; ``alertmanager`` is a port, too.

    ``hurry`` rewrites the text of a file of rules.
    """

    def __init__(
        self,
        place: Path,
        targets: dict[str, list[int]],
        alertmanager: int,
        hurry: Callable[[str], str] = seconds_for_minutes,
    ) -> None:
        port = free_port()
        config = _overlay(place, {**targets, "prometheus": [port]}, alertmanager, hurry)
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={place / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--rules.alert.resend-delay=10s",  # and its end is four times that, if nobody says more
            "--log.level=warn",
        ]
        super().__init__(command, port, place / "prometheus.log")

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The present value: labels and number of each series."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, timeout=30)
        assert answer.status_code == 200, f"{expression}\n{answer.text}"
        found = answer.json()["data"]["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def value(self, expression: str) -> float | None:
        """The only value; None when there is none."""
        found = self.query(expression)
        assert len(found) < 2, found
        return found[0][1] if found else None

    def names(self) -> set[str]:
        """Every metric it has ever seen."""
        answer = httpx.get(f"{self.url}/api/v1/label/__name__/values", timeout=30)
        return set(answer.json()["data"])

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {labels["alertname"] for labels, _ in found}


class Alertmanager(Process):
    """Tells a webhook: POST <webhook>/<receiver>.

    Without ``inhibition`` an alert is told also if another one explains it.
    """

    def __init__(self, place: Path, webhook: str, *, inhibition: bool = True) -> None:
        port = free_port()
        config = loaded(DEPLOY / "alertmanager/alertmanager.yml")
        config["global"] = {"resolve_timeout": "5m"}
        if not inhibition:
            del config["inhibit_rules"]
        for route in (config["route"], *config["route"]["routes"]):
            if "group_wait" in route:
                route["group_wait"] = "500ms"
        config["route"]["group_interval"] = "1s"
        config["receivers"] = [
            {
                "name": receiver["name"],
                "webhook_configs": [{"url": f"{webhook}/{receiver['name']}"}],
            }
            for receiver in config["receivers"]
        ]
        path = place / "alertmanager.yml"
        path.write_text(yaml.safe_dump(config))
        command = [
            "prometheus-alertmanager",
            f"--config.file={path}",
            f"--storage.path={place / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]
        super().__init__(command, port, place / "alertmanager.log")

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Return its alerts by name; the status of each says what suppresses it."""
        found = httpx.get(f"{self.url}/api/v2/alerts", timeout=30).json()
        return {alert["labels"]["alertname"]: alert for alert in found}


def _overlay(
    place: Path,
    targets: dict[str, list[int]],
    alertmanager: int,
    hurry: Callable[[str], str],
) -> Path:
    rules = place / "rules"
    rules.mkdir()
    for path in (DEPLOY / "prometheus/rules").glob("*.yml"):
        (rules / path.name).write_text(hurry(path.read_text("utf-8")))
    config = loaded(DEPLOY / "prometheus/prometheus.yml")
    config["global"] |= {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "500ms",
    }
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [
        f"127.0.0.1:{alertmanager}"
    ]
    for scrape in config["scrape_configs"]:
        addresses = [f"127.0.0.1:{port}" for port in targets.get(scrape["job_name"], ())]
        if "file_sd_configs" in scrape:
            [discovery] = scrape["file_sd_configs"]
            for name in discovery["files"]:
                (place / name).parent.mkdir(exist_ok=True)
                (place / name).write_text(yaml.safe_dump([{"targets": addresses}]))
        else:
            scrape["static_configs"][0]["targets"] = addresses
    written = place / "prometheus.yml"
    written.write_text(yaml.safe_dump(config))
    return written


def expressions_of(dashboard: dict[str, Any]) -> list[str]:
    """Every expression of a Grafana dashboard, for all instances."""
    return [
        target["expr"].replace("$instance", ".*")
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
