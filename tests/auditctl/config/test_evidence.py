"""The settings of evidence that are more than a value of a type."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from auditctl.config.evidence import EvidenceSettings
from auditctl.config.model import load
from auditctl.errors import ConfigError


def settings(tmp_path: Path, text: str) -> EvidenceSettings:
    path = tmp_path / "config.toml"
    path.write_text(f'directories = ["{tmp_path}"]\n[evidence]\n{text}\n')
    return load(path, environ={}).evidence


@pytest.mark.parametrize(("text", "kept_for"), [
    ("", None),
    ('leaves = "keep"', None),
    ('leaves = "drop"', dt.timedelta(0)),
    ('leaves = "400d"', dt.timedelta(days=400)),
])  # fmt: skip
def test_leaves_are_kept_dropped_or_kept_for_a_time(
    tmp_path: Path, text: str, kept_for: dt.timedelta | None
) -> None:
    assert settings(tmp_path, text).leaves_kept_for() == kept_for


@pytest.mark.parametrize(
    "text",
    ['leaves = "some"', 'leaves = "0d"', "leaves = 3", 'origin = "a b"', 'origin = "a+b"',
     'origin = "/"', 'origin = ""', 'origin = "a~e2"'],
)  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"evidence\.(leaves|origin)"):
        settings(tmp_path, text)
