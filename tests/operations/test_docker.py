"""No image can be fetched here: the files are held against everything else that they speak of."""

from __future__ import annotations

import re
from typing import Any, Final

from rbee.settings import Settings
from shippers.sinks.elasticsearch.options import DEFAULT_PREFIX
from tests.support.elasticsearch import VERSION
from tests.support.operations import DEPLOY, loaded

ROOT: Final = DEPLOY.parent
HERE: Final = DEPLOY / "docker"
COMPOSE: Final = loaded(HERE / "compose.yml")
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
CONTAINERFILE: Final = (HERE / "Containerfile").read_text("utf-8")
SCRAPED: Final = loaded(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", CONTAINERFILE)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_containerfile_has_known_instructions_and_copies_what_is_there() -> None:
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} <= known
    assert instructions()[0][0] == "FROM"
    for name, arguments in instructions():
        if name == "COPY" and "--from" not in arguments:
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists(), source
    packages = re.findall(r"^COPY (\w+) \1$", CONTAINERFILE, re.MULTILINE)
    assert {"auditlog", "shippers", "retention", "auditctl"} <= set(packages)


def test_the_users_and_modes_are_those_of_the_units() -> None:
    directories = (DEPLOY / "systemd/tmpfiles.conf").read_text("utf-8")
    for path, mode, user, group in re.findall(
        r"^d (/var/\S+)\s+(\d{4}) (\S+)\s+(\S+)", directories, re.MULTILINE
    ):
        if not path.endswith("/.auditlog"):  # the writer makes it
            made = f"install -d -o {user} -g {group} -m {mode} {path}"
            assert made in CONTAINERFILE
    for unit, service in (
        ("auditlog-agent", "auditlog-agent"),
        ("auditlog-retention", "auditlog-retention"),
    ):
        text = (DEPLOY / f"systemd/{unit}.service").read_text("utf-8")
        user = re.search(r"^User=(\S+)$", text, re.MULTILINE)
        started = re.search(r"^ExecStart=\S*/(auditctl .*)$", text, re.MULTILINE)
        assert user is not None
        assert started is not None
        assert SERVICES[service]["user"] == user[1]
        assert " ".join(SERVICES[service]["command"]) == started[1]
    assert SERVICES["auditlog-agent"]["volumes"][0].endswith(":ro"), "it only reads"


def test_the_ports_are_those_that_are_scraped_and_provisioned() -> None:
    ports = {port.split(":")[-1] for port in SERVICES["network"]["ports"]}
    targets = [
        target
        for scrape in SCRAPED
        for static in scrape.get("static_configs", ())
        for target in static["targets"]
    ]
    for path in (DEPLOY / "prometheus/targets").glob("*.yml"):
        targets += loaded(path)[0]["targets"]
    assert {target.rpartition(":")[2] for target in targets} <= ports
    sources = loaded(DEPLOY / "grafana/provisioning/datasources/llama-orch.yml")["datasources"]
    assert {source["url"].rpartition(":")[2] for source in sources} <= ports
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["network"]["ports"])
    assert all(
        service["network_mode"] == "service:network"
        for name, service in SERVICES.items()
        if name != "network"
    )


def test_every_job_that_is_scraped_is_a_service() -> None:
    # A witness on the same machine would be none, and one host is no fleet to look at.
    elsewhere = {"auditlog-witness", "auditlog-fleet"}
    assert {scrape["job_name"] for scrape in SCRAPED} - elsewhere <= set(SERVICES)


def test_every_path_that_is_mounted_exists_and_every_volume_is_declared() -> None:
    made_by_the_operator = {"./models", "./secrets"}
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert source in made_by_the_operator or (HERE / source).exists(), source
            else:
                used.add(source)
        for secret in service.get("secrets", ()):
            assert secret in COMPOSE["secrets"]
    assert used == set(COMPOSE["volumes"])


def test_the_services_are_told_what_they_know() -> None:
    for name in ("queen-rbee", "rbee-hive"):
        environment = SERVICES[name]["environment"]
        told = {key: str(value) for key, value in environment.items()}
        settings = Settings.from_environment(told)
        assert all(hasattr(settings, key.removeprefix("RBEE_").lower()) for key in told), (
            "an unknown variable is not noticed"
        )
        assert str(settings.audit_dir) == "/var/log/llama-orch/audit"
        assert "audit:/var/log/llama-orch/audit" in SERVICES[name]["volumes"]


def test_the_versions_are_those_that_were_tested() -> None:
    assert SERVICES["elasticsearch"]["image"].endswith(f":{VERSION}")
    assert SERVICES["kibana"]["image"].endswith(f":{VERSION}")
    provisioning = (DEPLOY / "grafana/provisioning/dashboards/llama-orch.yml").read_text("utf-8")
    [place] = re.findall(r"path: (\S+)", provisioning)
    assert any(volume.split(":")[1] == place for volume in SERVICES["grafana"]["volumes"])
    assert DEFAULT_PREFIX == "llama-orch-audit"
    assert (DEPLOY / "kibana/llama-orch-audit.ndjson").exists()
