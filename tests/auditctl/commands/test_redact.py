from __future__ import annotations

import re
from typing import TYPE_CHECKING

import auditlog
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


def test_a_number_beside_a_secret_keeps_its_digits(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "app.ndjson"
    file.write_text('{"pin":4711,"n":18446744073709551616,"x":[1.50]}\n')
    assert (
        run("redact", file).out == '{"pin":"[redacted:pin]","n":18446744073709551616,"x":[1.50]}\n'
    )


def test_explain_names_the_rule(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("redact", _file(tmp_path), "--explain")
    assert result.err.splitlines() == [
        "line 1: password (1) at columns 10-18",
        "line 2: pin (1) at pin",
    ]


def test_explain_gives_the_place_of_each_replacement(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "app.ndjson"
    file.write_text(
        "a=1 password=hunter33y pin: 4711 password=other9Word\n"
        '{"a": [1, {"note": "see password=hunter33y", "pin": 4711}], "ok": "password"}\n'
    )
    result = run("redact", file, "--explain", "--json")
    assert [(one["line"], one["rule"], one["at"]) for one in result.json["lines"]] == [
        (1, "password", ["columns 14-22", "columns 43-52"]),
        (1, "pin", ["columns 29-32"]),
        (2, "password", ["a[1].note columns 14-22"]),
        (2, "pin", ["a[1].pin"]),
    ]
    text = file.read_text().splitlines()[0]
    assert (text[13:22], text[42:52], text[28:32]) == ("hunter33y", "other9Word", "4711")


def test_json_has_the_rules_and_never_the_secret(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("redact", _file(tmp_path), "--json")
    assert result.json == {
        "schema": "auditctl.redact/1",
        "redactions": {"password": 1, "pin": 1},
        "lines": [
            {"line": 1, "rule": "password", "count": 1, "at": ["columns 10-18"]},
            {"line": 2, "rule": "pin", "count": 1, "at": ["pin"]},
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


TOKEN = "ghp_9aPxQ2LmZ7tRkV4bNsW8cJ1dHf6gY3uEoT5i"


def _fingerprint(audit: Path) -> str:
    with auditlog.open(audit, service="queen-rbee", host="hive1") as log:
        log.emit("crash.test", reason=f"used {TOKEN}").wait()
    *_, last = auditlog.read(audit, types="crash.test")
    found = re.search(r"hmac-sha256:[0-9a-f]{12}", str(last.reason))
    assert found is not None
    return found[0]


def test_a_key_is_rotated_on_record_and_the_one_before_is_kept(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    audit = tmp_path / "audit"
    before = _fingerprint(audit)
    assert _fingerprint(audit) == before
    result = run("redact", "--rotate-key", "--reason", "case 7", "--dir", audit, "--json")
    assert result.code == 0, result.err
    (rotated,) = result.json["rotated"]
    after = _fingerprint(audit)
    assert after != before
    (record,) = auditlog.read(audit, types="retention.redaction_key_rotated")
    assert record.log.startswith("retention@")
    assert record.details == {
        "previous_key": rotated["previous_key"],
        "redaction_key": rotated["redaction_key"],
        "reason": "case 7",
    }
    opened = [
        record.details.get("redaction_key")
        for record in auditlog.read(audit, types="log.opened")
        if record.log == "queen-rbee@hive1"
    ]
    assert opened[-2:] == [rotated["previous_key"], rotated["redaction_key"]]
    names = sorted(path.name for path in (audit / ".auditlog").glob("redaction.key*"))
    assert names == ["redaction.key", f"redaction.key.{rotated['previous_key']}"]
    for name in names:
        assert (audit / ".auditlog" / name).stat().st_mode & 0o777 == 0o600
    assert run("verify", audit).code == 0


def test_what_cannot_be_rotated_is_told(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("redact", "--rotate-key", "--dir", tmp_path).code == 2
    reason = ("--reason", "case 7", "--dir", tmp_path)
    assert "there is no key" in run("redact", "--rotate-key", *reason).err
    (tmp_path / ".auditlog").mkdir()
    (tmp_path / ".auditlog" / "redaction.key").write_text("00\n")
    assert "cannot be used" in run("redact", "--rotate-key", *reason).err
