from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import auditlog
from tests.support.unmeasured import unmeasured


def _run(code: str) -> None:
    # Coverage loads modules of its own before the code runs.
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=unmeasured())


def test_importing_the_package_loads_nothing_of_it() -> None:
    _run(
        "import sys, auditlog\n"
        "assert [name for name in sys.modules if name.startswith('auditlog')] == ['auditlog']\n"
        "assert not {'orjson', 'typing', 're', 'logging'} & set(sys.modules)\n"
    )


@pytest.mark.parametrize("name", auditlog.__all__)
def test_every_name_is_there_whichever_is_used_first(name: str) -> None:
    _run(
        f"import auditlog; first = auditlog.{name}\n"
        "from auditlog import *\n"
        f"assert {name} is first is auditlog.{name} and {name!r} in dir(auditlog)\n"
    )


def test_the_function_verify_is_not_hidden_by_its_module() -> None:
    _run(
        "import auditlog, auditlog.verification.verify\n"
        "from auditlog.verification.verify import verify\n"
        "assert auditlog.verify is verify\n"
    )
    module = importlib.import_module("auditlog.verification.verify")
    assert auditlog.verify is module.verify


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'auditlog' has no attribute 'opne'"):
        auditlog.opne  # type: ignore[attr-defined]  # noqa: B018  (wrong on purpose)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A directory into which this library and django-auditlog were both installed."""
    shutil.copytree(Path(auditlog.__file__).parent, tmp_path / "auditlog")
    (tmp_path / "auditlog/apps.py").write_text("class AuditlogConfig: ...\n")
    return tmp_path


def _import_in(directory: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**unmeasured(), "PYTHONPATH": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_an_environment_that_django_auditlog_was_installed_into_is_refused(mixed: Path) -> None:
    said = _import_in(mixed, "import auditlog")
    assert "ImportError" in said
    assert "two distributions, llama-orch-auditlog and django-auditlog" in said


def test_it_is_refused_where_django_auditlog_came_last(mixed: Path) -> None:
    (mixed / "auditlog/__init__.py").write_text("__version__ = '3.0.0'\n")
    for module in ("auditlog.errors", "auditlog.writer.log", "auditctl.errors"):
        said = _import_in(mixed, f"import {module}")
        assert "two distributions, llama-orch-auditlog and django-auditlog" in said


@pytest.mark.parametrize("name", ["retention", "shippers"])
def test_a_file_that_hides_one_of_our_packages_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("")
    said = _import_in(tmp_path, "import auditctl.main")
    assert f"{name}.py hides the package {name}" in said


def test_the_version_is_that_of_the_distribution() -> None:
    assert auditlog.__version__ == importlib.metadata.version("llama-orch-auditlog")
