"""``auditctl setup elasticsearch`` on real clusters, open and secured."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.elasticsearch import Cluster, SecuredCluster, request

if TYPE_CHECKING:
    from tests.auditctl.conftest import Result


class Site:
    """A configuration with one sink on the secured cluster, and files for other users' secrets."""

    def __init__(self, cluster: SecuredCluster, place: Path) -> None:
        self.cluster = cluster
        self.place = place
        self.prefix = f"llama-orch-test-{uuid.uuid4().hex[:8]}"
        for name, user in cluster.users.items():
            (place / f"{name}.password").write_text(f"{user.password}\n")

    def config(self, user: str = "shipper", more: str = "") -> Path:
        path = self.place / "config.toml"
        path.write_text(
            f"[sinks.main]\nkind = 'elasticsearch'\nurls = ['{self.cluster.url}']\n"
            f"ca_file = '{self.cluster.ca_file}'\nindex_prefix = '{self.prefix}'\n"
            f"username = '{user}'\npassword_file = '{self.place}/{user}.password'\n"
            f"replicas = 0\n{more}"
        )
        return path

    def user(self, name: str) -> tuple[str, ...]:
        return ("--username", name, "--password-file", str(self.place / f"{name}.password"))

    def template(self, source: str = "") -> int:
        return self.cluster.request("GET", f"/_index_template/{self.prefix}{source}")[0]


@pytest.fixture
def site(secured_elasticsearch: SecuredCluster, tmp_path: Path) -> Iterator[Site]:
    made = Site(secured_elasticsearch, tmp_path)
    yield made
    _, indices = secured_elasticsearch.request("GET", f"/{made.prefix}*/_settings")
    for index in indices:
        secured_elasticsearch.request("DELETE", f"/{index}")
    secured_elasticsearch.request("DELETE", f"/_index_template/{made.prefix}*")


def states(result: Result) -> dict[str, str]:
    return {check["check"]: check["state"] for check in result.json["checks"]}


def test_dry_run_shows_the_diff_then_it_is_done_once(
    run: Callable[..., Result], site: Site
) -> None:
    common = ("setup", "elasticsearch", "--config", site.config(), *site.user("setup"))
    dry = run(*common, "--dry-run")
    assert (dry.code, site.template()) == (0, 404)
    assert f"change  template: {site.prefix} is to be created" in dry.out
    assert "  + template.settings.index.translog.durability = request" in dry.out
    assert "  + template.settings.index.number_of_replicas = 0" in dry.out
    assert "nothing was changed" in dry.err
    done = run(*common)
    assert (done.code, site.template()) == (0, 200)
    assert "was created" in done.err
    again = run(*common, "--json")
    assert again.json["templates"] == [
        {"name": site.prefix, "action": "keep", "done": False, "diff": []}
    ]
    assert states(again) == dict.fromkeys(
        ("version", "template", "privileges", "indices", "clock"), "ok"
    )
    changed = run(*common, "--shards", "3", "--json")
    assert changed.json["templates"] == [
        {
            "name": site.prefix,
            "action": "update",
            "done": True,
            "diff": [
                "- template.settings.index.number_of_shards = 1",
                "+ template.settings.index.number_of_shards = 3",
            ],
        }
    ]
    everything = dry.out + dry.err + done.out + done.err + again.out + changed.out
    assert not any(user.password in everything for user in site.cluster.users.values())


SOURCES = """
[[sources.ndjson]]
name = "worker"
paths = ["/var/log/worker/*.log"]
[[sources.journald]]
name = "journal"
units = ["queen-rbee.service"]
"""


def test_each_configured_source_gets_its_template_too(
    run: Callable[..., Result], site: Site
) -> None:
    common = ("setup", "elasticsearch", "--config", site.config(), *site.user("setup"))
    assert run(*common).code == 0
    config = site.config(more=SOURCES)
    own = run("setup", "elasticsearch", "--config", config)
    assert own.code == 1
    dry = run(*common, "--dry-run")
    assert dry.code == 0
    assert f"ok      template: {site.prefix} is as it should be" in dry.out
    for name in ("-journal", "-worker"):
        assert f"change  template: {site.prefix}{name} is to be created" in dry.out
        assert f"  {site.prefix}{name}:\n  + _meta.description" in dry.out
        assert site.template(name) == 404
    done = run(*common, "--json")
    assert [(t["name"], t["action"], t["done"]) for t in done.json["templates"]] == [
        (site.prefix, "keep", False),
        (f"{site.prefix}-journal", "create", True),
        (f"{site.prefix}-worker", "create", True),
    ]
    assert (site.template("-journal"), site.template("-worker")) == (200, 200)
    assert site.cluster.request("PUT", f"/{site.prefix}-worker-2026.11.23")[0] == 200
    again = run(*common, "--json")
    assert {t["action"] for t in again.json["templates"]} == {"keep"}
    assert set(states(again).values()) == {"ok"}
    elsewhere = run(
        "setup", "elasticsearch", "--config", config, "--to", site.cluster.url,
        "--ca-file", site.cluster.ca_file, *site.user("setup"), "--dry-run", "--json",
    )  # fmt: skip
    names = [template["name"] for template in elsewhere.json["templates"]]
    assert names == ["llama-orch-audit", "llama-orch-journal", "llama-orch-worker"]


def test_the_shippers_own_user_is_told_exactly_what_it_lacks(
    run: Callable[..., Result], site: Site
) -> None:
    result = run("setup", "elasticsearch", "--config", site.config(), "--json")
    assert (result.code, site.template()) == (1, 404)
    assert states(result) == {
        "version": "missing",
        "template": "missing",
        "privileges": "ok",
        "indices": "missing",
        "clock": "missing",
    }
    hints = " ".join(check["hint"] for check in result.json["checks"])
    for privilege in ("monitor", "manage_index_templates", "view_index_metadata"):
        assert privilege in hints


@pytest.mark.parametrize(
    ("user", "state", "says"),
    [
        ("nobody", "missing", "lacks create_doc and auto_configure"),
        ("admin", "warning", "also has index, delete, delete_index, manage"),
    ],
)
def test_what_the_shipper_lacks_or_has_too_much_is_named(
    run: Callable[..., Result], site: Site, user: str, state: str, says: str
) -> None:
    config = site.config(user)
    result = run("setup", "elasticsearch", "--config", config, *site.user("setup"), "--json")
    assert states(result)["privileges"] == state
    assert says in next(c["detail"] for c in result.json["checks"] if c["check"] == "privileges")
    assert result.code == (1 if state == "missing" else 0)
    assert site.template() == (404 if state == "missing" else 200)


def test_an_index_that_is_async_or_was_mapped_by_guesses_is_warned_of(
    run: Callable[..., Result], site: Site
) -> None:
    lax, guessed = f"{site.prefix}-2026.11.22", f"{site.prefix}-2026.11.21"
    common = ("setup", "elasticsearch", "--config", site.config(), *site.user("setup"))
    assert site.cluster.request("PUT", f"/{guessed}/_doc/1", {"log": "x"})[0] == 201
    assert run(*common).code == 0
    settings = {"settings": {"index.translog.durability": "async"}}
    assert site.cluster.request("PUT", f"/{lax}", settings)[0] == 200
    result = run(*common)
    assert result.code == 0
    assert f"warning indices: translog.durability is async in {lax}" in result.out
    assert f"warning indices: the mapping of {guessed} is not the template's" in result.out


def test_an_open_cluster_is_set_up_and_warned_of(
    run: Callable[..., Result], elasticsearch: Cluster
) -> None:
    before = request(elasticsearch.url, "GET", "/_index_template/llama-orch-audit")[0]
    result = run("setup", "elasticsearch", "--to", elasticsearch.url, "--dry-run")
    assert result.code == 0
    assert "warning privileges: security is off" in result.out
    after = request(elasticsearch.url, "GET", "/_index_template/llama-orch-audit")[0]
    assert before == after


def test_who_is_not_there_or_not_who_he_says_is_one_paragraph(
    run: Callable[..., Result], secured_elasticsearch: SecuredCluster, tmp_path: Path
) -> None:
    nowhere = run("setup", "elasticsearch", "--to", "http://127.0.0.1:1")
    assert (nowhere.code, nowhere.out) == (1, "")
    assert "http://127.0.0.1:1: the cluster cannot be looked at: cannot connect" in nowhere.err
    untrusted = run("setup", "elasticsearch", "--to", secured_elasticsearch.url)
    assert (untrusted.code, untrusted.out) == (1, "")
    assert "the server's certificate is refused" in untrusted.err
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    wrong = run(
        "setup", "elasticsearch", "--to", secured_elasticsearch.url, "--username", "setup",
        "--password-file", secret, "--ca-file", secured_elasticsearch.ca_file,
    )  # fmt: skip
    assert (wrong.code, wrong.out) == (1, "")
    assert "refuses the credentials (401)" in wrong.err
    assert "hunter2" not in wrong.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--to", "records.sqlite"), "--to has to be a URL"),
        ((), "no sink of kind elasticsearch is configured"),
        (("--to", "http://a", "--username", "u"), "a user and a password come together"),
        (("--to", "http://a", "--username", "u", "--api-key-file", "k"), "a user and an API key"),
        (("--to", "http://a", "--password-file", "p"), "a user and a password come together"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    run: Callable[..., Result], arguments: tuple[str, ...], says: str
) -> None:
    result = run("setup", "elasticsearch", *arguments)
    assert result.code == 65
    assert says in result.err


def test_a_password_may_come_from_the_environment(
    run: Callable[..., Result], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITLOG_PASSWORD", site.cluster.users["setup"].password)
    result = run(
        "setup", "elasticsearch", "--config", site.config(), "--username", "setup", "--dry-run"
    )
    assert result.code == 0
