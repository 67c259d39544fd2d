from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "audit").mkdir()
    (tmp_path / "password").write_text("hunter2\n")
    (tmp_path / "password").chmod(0o600)
    path = tmp_path / "config.toml"
    path.write_text(
        f"directories = ['{tmp_path}/audit']\nstate_dir = '{tmp_path}/state'\n"
        "[sinks.main]\nkind = 'elasticsearch'\nurls = ['http://127.0.0.1:1']\nusername = 'u'\n"
        f"password_file = '{tmp_path}/password'\n"
    )
    return path


def test_check_says_ok_and_connects_to_nothing(run: Callable[..., Result], config: Path) -> None:
    result = run("config", "check", "--config", config)
    assert (result.code, result.out, result.err) == (0, "ok: 1 directory, 1 sink\n", "")


def test_check_finds_a_secret_that_cannot_be_read(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    (tmp_path / "password").unlink()
    result = run("config", "check", "--config", config)
    assert result.code == 65
    assert f"{tmp_path}/password" in result.err


def test_check_finds_a_log_in_two_directories(run: Callable[..., Result], tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_log(tmp_path / name, records=1)
    path = tmp_path / "two.toml"
    path.write_text(
        f"directories = ['{tmp_path}/a', '{tmp_path}/b']\nstate_dir = '{tmp_path}/state'\n"
    )
    result = run("config", "check", "--config", path)
    assert result.code == 65
    assert f"{tmp_path}/a" in result.err
    assert f"{tmp_path}/b" in result.err


def test_check_says_which_directory_is_not_there_yet(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    (tmp_path / "audit").rmdir()
    result = run("config", "check", "--config", config)
    assert result.code == 0
    assert f"{tmp_path}/audit: does not exist yet" in result.err


def test_show_tells_every_value_and_its_origin_and_no_secret(
    run: Callable[..., Result], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITLOG_SINKS_MAIN_PASSWORD", "hunter2")
    monkeypatch.setenv("AUDITLOG_RETENTION_DELETE_AFTER", "400d")
    for flag in ([], ["--json"]):
        result = run("config", "show", "--config", config, *flag)
        assert result.code == 0
        assert "hunter2" not in result.out + result.err
    settings = {entry["key"]: entry for entry in result.json["settings"]}
    assert settings["retention.delete_after"] == {
        "key": "retention.delete_after",
        "value": "400d",
        "origin": "environment AUDITLOG_RETENTION_DELETE_AFTER",
    }
    assert settings["sinks.main.password"]["value"] == "(hidden)"
    assert settings["state_dir"]["origin"] == str(config)
    assert settings["retention.compress_after"]["origin"] == "default"


def test_show_is_a_table_where_it_fits(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {}
    for columns in ("60", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        shown[columns] = run("config", "show").out.splitlines()
        assert max(map(len, shown[columns])) <= int(columns)
    assert len({line.index(" = ") if " = " in line else 0 for line in shown["60"]}) > 1
    assert len({line.index("= ") for line in shown["100"]}) == 1


def test_check_warns_of_secrets_that_others_can_read_or_hear(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    (tmp_path / "password").chmod(0o644)
    config.write_text(config.read_text().replace("127.0.0.1:1", "es.example:9200"))
    result = run("config", "check", "--config", config)
    assert result.code == 0
    assert "every user can read" in result.err
    assert "sent to es.example over plain http" in result.err
    assert "hunter2" not in result.err
    (tmp_path / "password").chmod(0o600)
    config.write_text(config.read_text() + "allow_plain_http = true\n")
    assert run("config", "check", "--config", config).err == ""


def test_check_for_retention_alone_reads_no_password(
    run: Callable[..., Result], config: Path, tmp_path: Path
) -> None:
    """The retention unit runs as another user, and checks the configuration before a reload."""
    (tmp_path / "password").unlink()
    assert run("config", "check", "--only", "retain", "--config", config).code == 0
    assert run("config", "check", "--only", "ship", "--config", config).code == 65
