"""The corpus as data: what has to be gone from a record, and what has to stay byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from auditlog.redaction.redactor import Redactor

_CORPUS = orjson.loads((Path(__file__).parents[2] / "data/redaction/corpus.json").read_bytes())


def _cleaned(value: Any) -> Any:
    return Redactor(key=lambda: b"k" * 32).clean(value, "details")


@pytest.mark.parametrize(("text", "secret"), _CORPUS["texts"])
def test_a_secret_in_a_text_is_gone_wherever_the_text_stands(text: str, secret: str) -> None:
    for placed in (text, {"note": text}, ["x", text], {"a": [{"b": text}]}, f"so: {text}"):
        assert secret not in orjson.dumps(_cleaned(placed)).decode()


@pytest.mark.parametrize("key", _CORPUS["keys"])
def test_a_value_under_a_secret_key_is_gone(key: str) -> None:
    for secret in ("hunter33y", "Zk3jQ9wLxP2vR7tYq1Ws4Ed5Rf6Tg7Yh"):
        for placed in ({key: secret}, {"a": [{key: [secret]}]}, {key: {"x": secret}}):
            assert secret not in orjson.dumps(_cleaned(placed)).decode()


@pytest.mark.parametrize(
    "value", [*_CORPUS["facts"], *_CORPUS["kept"], *_CORPUS["structures_kept"]]
)
def test_a_harmless_value_stays_as_it_is(value: Any) -> None:
    assert _cleaned(value) == value
    assert _cleaned({"note": [value]}) == {"note": [value]}


@pytest.mark.parametrize("value", _CORPUS["structures"])
def test_a_secret_in_a_structure_is_gone(value: Any) -> None:
    for placed in (value, {"details": [value]}, orjson.dumps(value).decode()):
        assert "hunter33y" not in orjson.dumps(_cleaned(placed)).decode()
