from __future__ import annotations

import subprocess
import sys

import pytest

import shippers
from tests.support.unmeasured import unmeasured


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=unmeasured())


def test_importing_the_package_loads_nothing_of_it() -> None:
    _run(
        "import sys, shippers\n"
        "assert [name for name in sys.modules if name.startswith('shippers')] == ['shippers']\n"
        "assert not {'elasticsearch', 'watchdog', 'sqlite3', 'orjson'} & set(sys.modules)\n"
    )


def test_shipping_to_sqlite_loads_no_client_of_elasticsearch() -> None:
    _run(
        "import sys, shippers\n"
        "shippers.ShippingService, shippers.SqliteSink, shippers.NdjsonSource\n"
        "assert 'elasticsearch' not in sys.modules\n"
    )


@pytest.mark.parametrize("name", shippers.__all__)
def test_every_name_is_there_whichever_is_used_first(name: str) -> None:
    _run(
        f"import shippers; first = shippers.{name}\n"
        "from shippers import *\n"
        f"assert {name} is first is shippers.{name} and {name!r} in dir(shippers)\n"
    )


def test_the_names_are_sorted_and_an_unknown_one_is_an_attribute_error() -> None:
    assert shippers.__all__ == sorted(shippers.__all__)
    with pytest.raises(AttributeError, match="module 'shippers' has no attribute 'SqliteSnk'"):
        shippers.SqliteSnk  # noqa: B018  (wrong on purpose)
