from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from auditctl.doctor.check_result import CheckResult
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


def test_each_directory_that_cannot_be_read_is_a_finding_and_the_rest_is_still_checked(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = [tmp_path / "one", tmp_path / "two"]
    for place in (*closed, tmp_path / "audit"):
        place.mkdir(0o700)
    config = tmp_path / "config.toml"
    config.write_text(
        f"directories = ['{closed[0]}', '{closed[1]}', '{tmp_path}/audit']\n"
        f"state_dir = '{tmp_path}/state'\nmetrics = ''\n"
        f"[sinks.main]\nkind = 'sqlite'\npath = '{tmp_path}/index.sqlite'\n"
    )

    def refusing(real: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def refused(path: Any = ".") -> Any:
            if str(path) in map(str, closed):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path)

        return refused

    def key_refused(_: object) -> Iterator[CheckResult]:
        raise PermissionError(errno.EACCES, "Permission denied", "the.key")
        yield

    monkeypatch.setattr("auditctl.commands.doctor.check_witnesses", key_refused)
    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    result = run("doctor", "--config", config)
    assert (result.code, result.err) == (1, "")
    lines = result.out.splitlines()
    for place in closed:
        assert f"fail directory: {place}: Permission denied" in lines
        assert [line for line in lines if line.startswith(f"fail records: {place}: ")]
    assert "fail witnesses: the.key: Permission denied" in lines
    assert f"ok   directory: {tmp_path}/audit holds 0 logs" in lines
    assert [line for line in lines if "sink main" in line]
