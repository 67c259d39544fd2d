"""What the documents tell their readers to run is run, and prints what they say; every link and
anchor leads somewhere, and the site holds every page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import auditlog
from tests.support.documents import Document
from tests.support.operations import missing
from tests.support.pages import broken_links
from tests.support.programs import require

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
    assert "pool filled" in printed[2]
    assert "log.closed" in printed[-1]
    types = [record.event_type for record in auditlog.read(tmp_path / "audit")]
    assert {"task_submitted", "quota.changed", "pool.drained", "pool.filled"} <= set(types)
    assert (tmp_path / "app.py").exists()


def test_search(tmp_path: Path) -> None:
    numbers, records, request, raw, proven, indexed = Document.read(DOCS / "search.md").run(
        tmp_path
    )[1:]
    assert "auth_failure              5" in numbers
    assert all(" auth_failure[" in line for line in records.splitlines()[:3])
    assert records.count("pool.drained") == 1
    assert "details.nodes      3" in request
    assert raw.startswith('{"v":1,')
    assert proven == "7\n"
    assert indexed.count("mallory") == 2


def test_evidence(tmp_path: Path) -> None:
    require("zstd")  # which tar calls
    _, exported, checked, verified, _ = Document.read(DOCS / "evidence.md").run(tmp_path)
    digest = exported.split()[-1]
    assert "ok: complete and unchanged" in checked
    assert checked.split()[-1] == verified.split()[-1] == digest
    assert (tmp_path / "alice.csv").read_text("utf-8").count("\n") == 3


def test_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_METRICS", "")  # its port may be taken on the host of the tests
    (printed,) = Document.read(ROOT / "docs/agent.md").run(tmp_path)
    assert "reloaded: ships to main" in printed
    assert "everything acknowledged is recorded" in printed


def test_shipping(tmp_path: Path) -> None:
    checked, shipped, found = Document.read(DOCS / "shipping.md").run(tmp_path)
    assert "ok: 1 directory, 1 source, 1 sink" in checked
    assert re.search(r"^worker +main +3 ", shipped, re.MULTILINE)
    assert "2026-11-23 started" in found
    assert "json: not JSON" in found


def test_retention(tmp_path: Path) -> None:
    looked, held = Document.read(ROOT / "docs/retention.md").run(tmp_path)
    assert "ACTION  SEGMENT" in looked
    assert '"schema":"auditctl.prune/1"' in looked
    assert re.search(r"active +keeps +segment 1 of 1", looked)
    assert "actor=alice" in held
    types = [record.event_type for record in auditlog.read(tmp_path / "audit")]
    assert types.count("retention.hold_added") == 2


def test_monitoring(tmp_path: Path) -> None:
    """Needs Debian's prometheus and prometheus-alertmanager."""
    for program in ("promtool", "amtool"):
        if reason := missing(program):
            if os.environ.get("AUDITLOG_REQUIRE_OPERATIONS") == "1":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
    for name in ("deploy", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    printed = "".join(Document.read(DOCS / "monitoring.md").run(tmp_path))
    routes = [line for line in printed.splitlines() if line.startswith("slack")]
    assert routes == ["slack-and-mail", "slack"]
    assert "FAILED" not in printed


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


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*FRONT, *PAGES], ids=relative)
def test_every_link_and_anchor_leads_somewhere(path: Path) -> None:
    assert broken_links(path) == []


def test_every_page_with_blocks_to_run_is_run_by_a_test() -> None:
    tests = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    runners = "\n".join(text for text in tests if "Document.read(" in text)
    unrun = [path.name for path in PAGES if Document.read(path).blocks and path.name not in runners]
    assert not unrun


def test_the_site_builds_with_every_page_in_its_navigation(tmp_path: Path) -> None:
    """A page that no toctree of docs/index.md lists is a warning, and a warning an error."""
    done = build_site(DOCS, tmp_path / "site")
    assert done.returncode == 0, done.stderr
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
        timeout=120,
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
