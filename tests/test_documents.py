"""Run every command of the documents and compare its output with theirs; check that every link and
anchor leads somewhere, and that the site holds every page.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import pytest
import zstandard

import auditlog
from auditctl import errors as control_errors
from auditctl import failures
from auditctl.config import model
from auditctl.exit_codes import ExitCode
from auditlog import errors as log_errors
from auditlog.verification.chain import FindingKind
from retention import errors as retention_errors
from shippers import errors as shipper_errors
from tests.support import redaction_reference, settings_reference
from tests.support.documents import Block, Document
from tests.support.logs import LogBuilder
from tests.support.operations import missing
from tests.support.pages import broken_links
from tests.support.programs import not_run, require
from tests.support.s3 import secret_of

if TYPE_CHECKING:
    from tests.support.elasticsearch import Cluster
    from tests.support.s3 import S3Server

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted(DOCS.rglob("*.md"))
FRONT: Final = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")]
MAKE: Final = {"make ": "it makes an environment of its own; .ci/run runs it"}


def test_readme(tmp_path: Path) -> None:
    printed = Document.read(ROOT / "README.md").run(tmp_path, skip=MAKE)
    assert len(printed) >= 2
    assert "pool.drained" in printed[0]


def test_record_format(tmp_path: Path) -> None:
    with auditlog.open(tmp_path / "audit", service="queen-rbee", host="hive1") as log:
        log.emit("pool.drained")
    (printed,) = Document.read(ROOT / "docs/record-format.md").run(tmp_path)
    computed, stated = printed.split("\n")[:2]
    assert computed.split() == [stated, "-"]


def test_how_to_integrate(tmp_path: Path) -> None:
    printed = Document.read(ROOT / "docs/how-to-integrate.md").run(tmp_path)
    assert any("pool filled" in text for text in printed)
    assert "log.closed" in printed[-2]
    types = [record.event_type for record in auditlog.read(tmp_path / "audit", log_events=True)]
    assert {"task_submitted", "quota.changed", "pool.drained", "pool.filled"} <= set(types)
    assert (tmp_path / "app.py").exists()


def test_events(tmp_path: Path) -> None:
    Document.read(ROOT / "docs/events.md").run(tmp_path)
    records = [
        each
        for each in auditlog.read(tmp_path / "audit", log_events=True)
        if each.event_type[:4] != "log."
    ]
    assert [each.event_type for each in records] == ["order.refunded", "order_refunded"]
    assert records[1].fields["details"] == {
        "order_id": "o-1",
        "amount": "9.90",
        "currency": "EUR",
    }


def test_erasure(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path / "audit")
    log.directory.mkdir()
    log.append(3)
    log.append(1, actor={"user_id": "bob"})
    exported, plan, erased, finished = Document.read(DOCS / "erasure.md").run(tmp_path)
    assert exported == "alice.ndjson: 3 records\n3\n"
    assert plan.count("\nerase ") == 3
    assert erased.count("\nerased ") == 3
    assert "3 records erased on " in erased
    assert finished.count("\nerased ") == 3
    assert (tmp_path / "alice.ndjson").read_bytes() == b"".join(log.lines[:3])


def test_testing(tmp_path: Path) -> None:
    Document.read(ROOT / "docs/testing.md").run(tmp_path)
    assert not list(tmp_path.glob("**/*.ndjson"))


def test_search(tmp_path: Path) -> None:
    printed = Document.read(DOCS / "investigate.md").run(tmp_path)[1:]
    numbers, records, request, raw, proven, beats, indexed, _ = printed
    assert "auth_failure              5" in numbers
    assert all(" auth_failure[" in line for line in records.splitlines()[:3])
    assert records.count("pool.drained") == 1
    assert "details.nodes      3" in request
    assert raw.startswith('{"v":1,')
    assert proven == "7\n"
    none, everything = map(int, beats.split())
    assert none == 0 < everything
    assert indexed.count("mallory") == 2


def test_fleet(tmp_path: Path) -> None:
    _, shown, named, _ = Document.read(DOCS / "fleet.md").run(tmp_path)
    assert "ok nothing needs attention" in shown
    assert "gpu-7: missing: no record of it" in named
    assert "exit code 1" in named
    metrics = (tmp_path / "fleet.prom").read_text("utf-8")
    assert 'auditlog_fleet_needs_person{name="rbee-hive@hive1"} 0' in metrics


def test_redaction(tmp_path: Path) -> None:
    tried, counted = Document.read(DOCS / "redaction.md").run(tmp_path)
    assert "password=[redacted:password]" in tried
    assert '"token_owner":"alice","max_tokens":512' in tried
    assert "[redacted:command_line]" in tried
    assert "employee" in counted
    assert "custom" in counted
    content = b"".join(path.read_bytes() for path in (tmp_path / "audit").glob("*.ndjson"))
    assert b"EMP-[redacted:employee] came in" in content


def test_the_table_of_redaction_rules_is_current() -> None:
    assert redaction_reference.rules_table() in (DOCS / "redaction.md").read_text("utf-8")


def test_evidence(tmp_path: Path) -> None:
    require("zstd")  # which tar calls
    _, exported, checked, compared, verified, _ = Document.read(DOCS / "evidence.md").run(tmp_path)
    digest = exported.split()[-1]
    assert "checkpoints of it are here, not compared" in checked
    assert re.search(
        r"^queen-rbee@\S+: signed through seq \d+ by the log alone; 0 ", compared, re.MULTILINE
    )
    assert compared.endswith("ok: complete and unchanged\n")
    assert "ok: complete and unchanged" in checked
    assert checked.split()[0] == verified.split()[-1] == digest
    assert (tmp_path / "alice.parquet").read_bytes()[:4] == b"PAR1"
    assert (tmp_path / "alice.csv").read_text("utf-8").count("\n") == 3


def test_prove_a_record(tmp_path: Path) -> None:
    require("zstd")  # which tar calls
    printed = Document.read(DOCS / "prove-a-record.md").run(tmp_path)
    assert "quorum w1" in printed[3]
    assert "witnessed through seq 10 at " in printed[4]
    assert " by w1" in printed[4]
    assert printed[5].startswith("c2sp.org/tlog-proof@v1\nindex 5\n")
    assert (
        "ok     record 6 of audit.example.com/hive1/queen-rbee@hive1; witnessed at " in printed[6]
    )
    assert "ok: record 6 of audit.example.com/hive1/queen-rbee@hive1; witnessed" in printed[7]
    assert "FAILED the line is not record 6" in printed[8]
    assert printed[8].endswith("exit code 1\n")
    handed_over = printed.pop(9)
    assert "queen-rbee@hive1: witnessed through seq 10 at " in handed_over
    assert " by w1; 0 records after that are only chained\n" in handed_over
    assert handed_over.endswith("ok: complete and unchanged\n")
    assert "tiles/queen-rbee@hive1: the tree of 10 records\n" in printed[9]
    assert printed[9].endswith("checkpoint\ntile\n")
    begun, both, alone = (printed.pop(10) for _ in range(3))
    assert (begun.count("log audit."), alone.count("log audit.")) == (4, 4)
    assert "\nrevoked audit.example.com/hive1+" in alone
    for verified in (both, alone):
        assert "FAILED" not in verified
        assert verified.endswith(" by w1\n")
    assert "FAILED" not in printed[10]
    assert "is not signed any more" in printed[11]
    assert "root_mismatch: a record from 1 to" in printed[12]
    assert printed[12].endswith("exit code 1\n")
    crossed, found = printed[-2:]
    for other in ("hive1", "hive2"):
        assert crossed.count(f" by {other}\n") >= 2
    assert "FAILED" not in crossed
    assert "(cosigned by hive2)" in found
    assert found.endswith("exit code 1\n")


def test_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_METRICS", "")  # its port may be taken on the host of the tests
    (printed,) = Document.read(ROOT / "docs/agent.md").run(tmp_path)
    assert "reloaded: ships to main" in printed
    assert "everything acknowledged is recorded" in printed


def test_shipping(tmp_path: Path) -> None:
    checked, shipped, found, own = Document.read(DOCS / "shipping.md").run(tmp_path)
    assert "ok: 1 directory, 1 source, 1 sink" in checked
    assert re.search(r"^worker +main +3 ", shipped, re.MULTILINE)
    assert "2026-11-23 started" in found
    assert "json: not JSON" in found
    assert own == "4 True\n"


def test_elasticsearch(tmp_path: Path) -> None:
    quarantine, proof, computed = Document.read(DOCS / "elasticsearch.md").run(tmp_path)
    assert "Nothing is in quarantine." in quarantine
    assert "0 delivered, 0 left" in quarantine
    assert "Nothing was acknowledged." in quarantine
    assert proof.count("4 records in the files, 4 in sqlite-") == 2
    assert computed.split()[0] in (tmp_path / "receipt.json").read_text("utf-8")


def test_capacity(tmp_path: Path) -> None:
    (printed,) = Document.read(DOCS / "capacity.md").run(tmp_path)
    assert printed.startswith("| 300 hosts | formula | 20/s, even | 20/s, entropy |")
    assert "| price of uploads, a month |" in printed


def test_retention(tmp_path: Path) -> None:
    looked, held, planned = Document.read(ROOT / "docs/retention.md").run(tmp_path)
    assert "ACTION  SEGMENT" in looked
    assert '"schema":"auditctl.prune/1"' in looked
    assert re.search(r"active +keeps +it is its log's newest segment", looked)
    assert "actor=alice" in held
    types = [record.event_type for record in auditlog.read(tmp_path / "audit", log_events=True)]
    assert types.count("retention.hold_added") == 2
    assert planned.startswith("keep queen-rbee@hive1.")


def test_migrate_from_filebeat_and_cron(tmp_path: Path) -> None:
    printed = Document.read(DOCS / "migrate-from-filebeat-and-cron.md").run(tmp_path)
    assert printed[0].strip() == "5"
    assert "not_shipped" not in printed[-1]
    assert (tmp_path / "old/queen.1.ndjson.gz").exists(), "nothing touches what is not its own"


def test_migrate_from_cron(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    found, before, after, done, again = Document.read(DOCS / "migrate-from-cron.md").run(tmp_path)
    assert found.count("\naudit/") == 5
    assert before.count("not_shipped: source legacy to sink main") == 6
    assert re.search(r"3 would be compressed, 3 would be deleted", after)
    assert '"schema":"auditctl.prune/1"' in after
    assert "lets go  legacy to main: shipped to its end" in after
    assert "3 compressed, 3 deleted" in done
    assert done.endswith("\n3\n")
    assert re.search(r"legacy +main +0 ", again)


def test_monitoring(tmp_path: Path) -> None:
    """Needs Debian's prometheus and prometheus-alertmanager."""
    for program in ("promtool", "amtool"):
        if reason := missing(program):
            not_run("PROGRAMS", reason)
    for name in ("deploy", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    printed = "".join(Document.read(DOCS / "monitoring.md").run(tmp_path))
    routes = [line for line in printed.splitlines() if line.startswith("slack")]
    assert routes == ["slack-and-mail", "slack"]
    assert "FAILED" not in printed


def test_compose(tmp_path: Path) -> None:
    """Run the parts that need no Docker; tests/operations/test_docker.py looks at the rest."""
    shutil.copytree(ROOT / "deploy/docker", tmp_path / "deploy/docker")
    (printed,) = Document.read(DOCS / "compose.md").run(tmp_path)
    assert "ok: 2 directories, 1 sink" in printed


def test_tutorial(tmp_path: Path) -> None:
    """The walk of a newcomer, from an empty directory on."""
    assert not list(tmp_path.iterdir())
    printed = Document.read(DOCS / "tutorial.md").run(tmp_path)
    assert printed[0].startswith("queen-rbee@hive1 ")
    assert "the secret was not written" in printed[1]
    assert printed[3].count("ok     ") == 2
    assert "hash_mismatch" in printed[4]
    assert "verify exits with 1" in printed[4]
    assert "verify exits with 1" in printed[5]
    assert "mallory" in printed[6]
    assert "keep" in printed[7]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "mallory" in page
    assert "NOT verified" not in page


def test_recover_a_damaged_log(tmp_path: Path) -> None:
    printed = Document.read(DOCS / "recover-a-damaged-log.md").run(tmp_path)
    assert "hash_mismatch" in printed[1]
    assert "it exits with 1" in printed[1]
    assert "seq 3: it was changed in the file" in printed[2]
    assert "ok     queen-rbee@hive1+after-damage: " in printed[3]


def test_restore_after_disk_loss(tmp_path: Path) -> None:
    assert_restores(Document.read(DOCS / "restore-after-disk-loss.md"), tmp_path)


@pytest.mark.elasticsearch
def test_restore_after_disk_loss_from_elasticsearch(
    tmp_path: Path, elasticsearch: Cluster, index_prefix: str
) -> None:
    """By the same commands; what was shipped just now is refreshed, as it is long after a loss."""
    sqlite = 'kind = "sqlite"\npath = "$PWD/sink.sqlite"'
    server = f"""kind = "elasticsearch"
        urls = ["{elasticsearch.url}"]
        index_prefix = "{index_prefix}"
        replicas = 0"""
    refresh = f"""if True:
        from tests.support.elasticsearch import request
        assert request("{elasticsearch.url}", "POST", "/{index_prefix}-*/_refresh")[0] == 200
    """
    document = Document.read(DOCS / "restore-after-disk-loss.md")
    begin, *rest = document.blocks
    assert sqlite in begin.text
    begin = replace(begin, text=begin.text.replace(sqlite, server))
    blocks = (begin, Block("python", None, refresh, 0), *rest)
    assert_restores(replace(document, blocks=blocks), tmp_path)
    assert len(elasticsearch.documents(f"{index_prefix}-*")) == 28


def assert_restores(document: Document, place: Path) -> None:
    """Beside the page's own log one of several segments, two of them of one day, is lost too."""
    built = LogBuilder(place / "audit", "rbee-hive@gpu1")
    built.directory.mkdir(mode=0o700)
    for begin in (None, 0, 1):
        if begin is not None:
            built.rotate(days=begin)
        built.append(1, event_type="log.segment_opened")
        built.append(4)
    lost = {path.name: path.read_bytes() for path in built.paths}
    printed = document.run(place)
    assert "ok     queen-rbee@hive1: 10 records in the files, 10 in main" in printed[-2]
    assert "ok     rbee-hive@gpu1: 15 records in the files, 15 in main" in printed[-2]
    assert "ok     queen-rbee@hive1: 13 records in 1 segment" in printed[-1]
    assert re.search(r"^queen-rbee@hive1 +main +3 +10 ", printed[-1], re.MULTILINE)
    found = {path.name: path.read_bytes() for path in (place / "audit").glob("rbee-hive@*")}
    assert found == lost


def test_archive(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "S3_ENDPOINT": s3_server.url,
        "AWS_ACCESS_KEY_ID": "admin",
        "AWS_SECRET_ACCESS_KEY": secret_of("admin"),
    }.items():
        monkeypatch.setenv(name, value)
    _, used, table, rebuilt, on, day = Document.read(DOCS / "archive.md").run(tmp_path)
    assert re.search(r"ok     hive1: 2 segments in 1 manifest, \d+ records verified", used)
    assert used.count("task.refused") == 2
    assert re.search(r"task.done +│ alice +│ +\d{3} ", table)
    assert "Restored 2 segments" in rebuilt
    assert "ok     queen-rbee@hive1: " in rebuilt
    assert "ok     hive1: 2 segments in 1 manifest" in on
    assert "Restored 2 segments to one-day." in day
    for path in (tmp_path / "lost-audit").glob("queen-rbee@*.000[12].ndjson"):
        packed = (tmp_path / "audit" / f"{path.name}.zst").read_bytes()
        content = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
        assert content == path.read_bytes()


def test_exit_codes(tmp_path: Path) -> None:
    page = DOCS / "exit-codes.md"
    Document.read(page).run(tmp_path)
    rows = re.findall(r"^\| +(\d+) \| (\w+) \|", page.read_text("utf-8"), re.MULTILINE)
    assert {int(code): name for code, name in rows} == {
        code.value: code.name.lower() for code in ExitCode
    }


def test_every_error_is_in_the_catalogue_with_its_exit_code() -> None:
    text = (DOCS / "errors.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| .+ \| .+ \|$", text, re.MULTILINE)
    bases = {"AuditLogError", "ShipperError", "RetentionError"}
    codes = {}
    for module in (log_errors, shipper_errors, retention_errors, control_errors):
        for name in set(module.__all__) - bases:
            error = getattr(module, name)
            found = [code for kind, code in failures._CODES if issubclass(error, kind)]
            codes[name] = int(found[0]) if found else int(ExitCode.FAILED)
    codes["Refused"] = int(ExitCode.REFUSED)  # it carries a plan, and is defined beside it
    assert sorted(name for name, _ in rows) == sorted(codes), "give each a row in docs/errors.md"
    assert {name: int(code) for name, code in rows} == codes


def test_the_reference_of_settings_is_made_from_their_declarations() -> None:
    text = settings_reference.PAGE.read_text("utf-8")
    assert text == settings_reference.rewritten(text), "run it: tests/support/settings_reference.py"


def test_the_configuration_on_its_page_can_be_used(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.DOTALL)
    path = tmp_path / "model.toml"
    path.write_text(block)
    loaded = model.load(path, environ={})
    assert [sink.name for sink in loaded.sinks] == ["main"]


def test_every_finding_of_verify_is_explained() -> None:
    text = (DOCS / "recover-a-damaged-log.md").read_text("utf-8")
    missing = [kind for kind in get_args(FindingKind) if f"`{kind}`" not in text]
    assert not missing


def test_report(tmp_path: Path) -> None:
    printed = Document.read(DOCS / "report.md").run(tmp_path)
    assert printed[1].startswith("report.html: 4 events\n")
    assert '"auth_failure":{"failure":3}' in printed[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```sh\nfalse\n```\n", "made.md:2 exits with 1"),
        ("\n```python\nprint(1)\n1 / 0\n```\n", "made.md:3 failed:\n1\n.*ZeroDivisionError"),
        ("```python\nx = 1\n```\n```sh\ntrue\n```\n```python\nassert x == 2\n```\n", "made.md:8"),
        ("```sh\ntrue\n", "not closed"),
    ],
)
def test_a_document_that_is_wrong_is_found(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "made.md"
    path.write_text(text)
    with pytest.raises(AssertionError, match=f"(?s){words}"):
        Document.read(path).run(tmp_path)


def test_a_reason_to_skip_that_no_longer_holds_is_found(tmp_path: Path) -> None:
    path = tmp_path / "made.md"
    path.write_text("```sh\ntrue\n```\n")
    with pytest.raises(AssertionError, match="no block has make"):
        Document.read(path).run(tmp_path, skip=MAKE)


def test_blocks_of_a_document_share_files_names_and_programs(tmp_path: Path) -> None:
    path = tmp_path / "made.md"
    path.write_text(
        "```python file=made.py\nx = 1\n```\n```sh\nauditctl --version && ls made.py\n```\n"
        "```json\n{}\n```\n```python\nimport made\nprint(made.x + x)\n```\n"
    )
    printed = Document.read(path).run(tmp_path)
    assert printed[0] == ""
    assert "made.py" in printed[1]
    assert printed[2] == "2\n"


@pytest.mark.parametrize("name", ["threat-model.md", "promises.md"])
def test_every_threat_and_promise_names_its_tests(name: str) -> None:
    """Each number of the page has a row of tests that exist, unless nothing detects the attack."""
    claims, tests = (DOCS / name).read_text("utf-8").split("\n## Tests\n")
    numbered = re.findall(r"^(?:\| )?(\d+)(?: \||\. \*\*)(.*)$", claims, re.MULTILINE)
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", tests, re.MULTILINE))
    assert [number for number, _ in numbered] == list(rows)
    for number, claim in numbered:
        if rows[number] == "not detected":
            assert "| no |" in claim, f"{name}: {number} claims to be detected and names no test"
            continue
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", rows[number])
        assert named, f"{name}: {number} names no test"
        for path, test in named:
            content = (ROOT / "tests" / path).read_text("utf-8")
            assert f"def {test}(" in content, f"{name}: {number}: {path} has no {test}"


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*FRONT, *PAGES], ids=relative)
def test_every_link_and_anchor_leads_somewhere(path: Path) -> None:
    assert broken_links(path) == []


def test_every_public_report_has_a_source_of_its_own_and_a_test() -> None:
    text = (DOCS / "what-others-lost.md").read_text("utf-8")
    rows = re.findall(
        r"^\| \[.+\]\((https://\S+)\) \| .+ \| `(\S+)::(\w+)` \|$", text, re.MULTILINE
    )
    assert len(rows) == text.count("](https://") >= 45
    assert len({source for source, _, _ in rows}) == len(rows)
    for _, path, test in rows:
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), test


def test_every_page_with_blocks_to_run_is_run_by_a_test() -> None:
    tests = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    runners = "\n".join(text for text in tests if "Document.read(" in text)
    unrun = [path.name for path in PAGES if Document.read(path).blocks and path.name not in runners]
    assert not unrun


def test_the_site_builds_with_every_page_in_its_navigation(tmp_path: Path) -> None:
    """A page that no toctree of docs/index.md lists is a warning, and a warning an error."""
    done = build_site(DOCS, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    # Sphinx makes these itself, over a page of the same name.
    assert not {"search", "genindex"} & {path.stem for path in PAGES}
    built = {
        path.relative_to(tmp_path / "site").with_suffix("")
        for path in (tmp_path / "site").rglob("*.html")
    }
    assert {path.relative_to(DOCS).with_suffix("") for path in PAGES} <= built
    fetched = [
        path.name
        for path in (tmp_path / "site").rglob("*.html")
        if re.search(r"<(?:script|link|img)[^>]*(?:src|href)=.https?://", path.read_text("utf-8"))
    ]
    assert not fetched, "these pages would fetch something from the network"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[x](promises.md#gone)", "made.md:3: WARNING: .*gone"),
        ("[x](gone.md)", "made.md:3: WARNING: .*gone.md"),
        ("nothing", "made.md: WARNING: document isn't included in any toctree"),
    ],
)
def test_a_page_that_is_wrong_fails_the_site(tmp_path: Path, text: str, words: str) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "conf.py", docs)
    shutil.copy(DOCS / "promises.md", docs)
    listed = "promises" if text == "nothing" else "promises\nmade"
    (docs / "index.md").write_text(f"# Index\n\n```{{toctree}}\n{listed}\n```\n")
    (docs / "made.md").write_text(f"# Made\n\n{text}\n")
    done = build_site(docs, tmp_path / "site")
    assert done.returncode != 0
    assert re.search(words, done.stderr)


def build_site(docs: Path, site: Path) -> subprocess.CompletedProcess[str]:
    (rule,) = re.findall(
        r"^\t\$\(BIN\)/sphinx-build (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    options = rule.split()[:-2]
    options[options.index("-d") + 1] = str(site.parent / "doctrees")
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "--no-color", str(docs), str(site)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("[x](gone.md)", "made.md:3: there is no gone.md"),
        ("[x](#gone)", "made.md:3: made.md has no heading #gone"),
        ("![x](gone.svg)", "made.md:3: there is no gone.svg"),
        ("[x](other.md#a--b-1)", "made.md:3: other.md has no heading #a--b-1"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, link: str, words: str) -> None:
    (tmp_path / "other.md").write_text("# `a` & b\n\n[up](#a--b)\n")
    path = tmp_path / "made.md"
    path.write_text(f"# Made\n\n{link} [y](other.md#a--b) `[z](gone.md)` [w](https://x.example)\n")
    assert broken_links(path) == [words]
