"""What the documents tell their readers to run is run, and prints what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

import auditlog
from tests.support.documents import Document

ROOT: Final = Path(__file__).parent.parent
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
