from __future__ import annotations

import importlib
import subprocess
import sys

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
