"""Check that the sdist and the wheel are complete and have the same version.

`make wheel-check` goes on from here: it installs the wheel into clean environments and uses it.
"""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from email.message import Message

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("auditlog", "shippers", "retention", "auditctl")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
IN_GIT: Final = (ROOT / ".git").exists()


SYSTEMD: Final = ROOT / "deploy/systemd"


def run(*command: str | Path, cwd: Path) -> str:
    # Git by itself: not about the repository whose hook runs this, nor as its user likes it.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def version_in(directory: Path) -> str:
    return run(sys.executable, "-m", "hatchling", "version", cwd=directory).strip()


def package_files() -> set[str]:
    """Every file of the four packages, but what Python and editors leave there."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an sdist of this checkout and the wheel that was made of that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ".", cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def metadata(built: Path) -> Message:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(opened.read(name))


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
    units = {f"auditctl/deploy/systemd/{path.name}" for path in SYSTEMD.iterdir()}
    assert held == package_files() | units  # what `auditctl install` lays out
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


def test_the_sdist_holds_what_the_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert package_files() <= held
    needed = {"pyproject.toml", "Makefile", "README.md", "docs/promises.md", "PKG-INFO"}
    assert needed | {"requirements/dev.txt", ".ci/run", "tests/test_packaging.py"} <= held
    assert not [name for name in held if name.startswith((".git/", ".venv", ".cache", "build/"))]
    if IN_GIT:
        tracked = set(run("git", "-c", "safe.directory=*", "ls-files", cwd=ROOT).split("\n")) - {""}
        assert {name for name in tracked if (ROOT / name).exists()} <= held


def test_the_metadata_is_what_an_index_shows(metadata: Message) -> None:
    assert metadata["Name"] == "llama-orch-auditlog"
    assert metadata["Summary"] == PROJECT["description"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra") or []) == set(PROJECT["optional-dependencies"])
    assert metadata.get_payload().startswith("# auditlog")
    base = [name for name in metadata.get_all("Requires-Dist") or [] if "extra ==" not in name]
    assert sorted(re.split(r"[<>=]", name)[0] for name in base) == ["orjson", "zstandard"]


def test_the_version_of_an_sdist_and_its_wheel_is_that_of_the_checkout(
    built: Path, metadata: Message, tmp_path: Path
) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert version_in(unpacked) == metadata["Version"]
    assert metadata["Version"] in sdist.name


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small repository of its own with this project's settings, and one commit."""
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / "README.md").write_text("# auditlog\n")
    return tmp_path


def commit(directory: Path) -> None:
    git = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org")
    run(*git, "add", "-A", cwd=directory)
    run(*git, "commit", "-q", "--no-gpg-sign", "--allow-empty", "-m", "Change", cwd=directory)


def test_the_version_is_the_tag_and_counts_commits_behind_it(copy: Path) -> None:
    run("git", "init", "-q", cwd=copy)
    commit(copy)
    assert re.fullmatch(r"0\.1\.dev1\+g[0-9a-f]+", version_in(copy))
    run("git", "tag", "v1.2.3", cwd=copy)
    assert version_in(copy) == "1.2.3"
    commit(copy)
    assert re.fullmatch(r"1\.2\.4\.dev1\+g[0-9a-f]+", version_in(copy))


def test_without_git_and_without_an_sdist_there_still_is_a_version(copy: Path) -> None:
    assert version_in(copy) == "0.1.dev0"
