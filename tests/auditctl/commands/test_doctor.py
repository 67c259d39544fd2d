from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


def test_each_check_has_a_line_and_what_is_wrong_says_what_mends_it(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    built = write_log(tmp_path / "audit", records=1)
    built.active.chmod(0o646)
    result = run("doctor", built.directory)
    assert result.err == ""
    assert "ok   configuration: it can be used" in result.out
    lines = result.out.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("warn permissions"))
    assert lines[place + 1].strip().startswith("chmod o-rwx")
    found = run("doctor", built.directory, "--json").json
    assert found["schema"] == "auditctl.doctor/1"
    assert found["ok"] == (result.code == 0)
    assert all(check["mend"] for check in found["checks"] if check["state"] != "ok")


def test_a_failure_makes_the_code_1(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path / "audit", records=1)
    config = tmp_path / "config.toml"
    config.write_text(
        f"directories = ['{tmp_path}/audit']\nmetrics = ''\n"
        "[sinks.main]\nkind = 'elasticsearch'\nurls = ['http://127.0.0.1:9']\n"
    )
    result = run("doctor", "--config", config)
    assert result.code == 1
    assert "fail sink main: http://127.0.0.1:9" in result.out


def test_a_configuration_that_cannot_be_used_is_the_finding(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("directries = []\n")
    result = run("doctor", "--config", config)
    assert result.code == 1
    assert result.out.startswith("fail configuration: ")
    assert "auditctl config check" in result.out
