from __future__ import annotations

from typing import TYPE_CHECKING

from auditlog.redaction.rules import table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


def _file(place: Path) -> Path:
    file = place / "app.log"
    file.write_text('password=hunter33y a=1\n{"pin": 4711, "pool": "a"}\nnothing here\n')
    return file


def test_every_line_is_printed_as_it_would_be_recorded(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("redact", _file(tmp_path))
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "password=[redacted:password] a=1",
        '{"pin":"[redacted:pin]","pool":"a"}',
        "nothing here",
    ]


def test_explain_names_the_rule(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("redact", _file(tmp_path), "--explain")
    assert result.err.splitlines() == ["line 1: password (1)", "line 2: pin (1)"]


def test_json_has_the_rules_and_never_the_secret(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("redact", _file(tmp_path), "--json")
    assert result.json == {
        "schema": "auditctl.redact/1",
        "redactions": {"password": 1, "pin": 1},
        "lines": [
            {"line": 1, "rule": "password", "count": 1},
            {"line": 2, "rule": "pin", "count": 1},
        ],
    }
    assert "hunter33y" not in result.out


def test_the_options_make_the_policy(run: Callable[..., Result], tmp_path: Path) -> None:
    options = ["--off", "pairs", "--harmless-key", "pin", "--secret-key", "pool"]
    lines = run("redact", _file(tmp_path), *options).out.splitlines()
    assert lines[:2] == ["password=hunter33y a=1", '{"pin":4711,"pool":"[redacted:custom]"}']


def test_the_table_of_rules_is_printed(run: Callable[..., Result]) -> None:
    shown = run("redact", "--rules").out
    assert all(rule.name in shown for rule in table())
    assert len(run("redact", "--rules", "--json").json["rules"]) == len(table())


def test_without_a_file_it_is_a_usage_error(run: Callable[..., Result]) -> None:
    assert run("redact").code == 2
