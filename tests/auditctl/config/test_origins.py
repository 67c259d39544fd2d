from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auditctl.config.model import load
from auditctl.config.origins import nearest, read_environment, read_files
from auditctl.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECTIONS = {
    "": {"state_dir"},
    "retention": {"delete_after"},
    "sinks": {"kind", "password", "password_file"},
}


def test_precedence_is_flag_then_environment_then_conf_d_then_file(tmp_path: Path) -> None:
    main, drop_ins = tmp_path / "config.toml", tmp_path / "conf.d"
    drop_ins.mkdir()
    main.write_text('host = "from-main"\n')

    def host(flag: str | None = None, **environ: str) -> str:
        return load(main, environ=environ, flags={("host",): flag} if flag else None).host

    assert host() == "from-main"
    (drop_ins / "20.toml").write_text('host = "from-20"\n')
    (drop_ins / "10.toml").write_text('host = "from-10"\n')
    assert host() == "from-20"
    assert host(AUDITLOG_HOST="from-env") == "from-env"
    assert host("from-flag", AUDITLOG_HOST="from-env") == "from-flag"


def test_a_drop_in_replaces_single_settings_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[retention]\ncompress_after = "7d"\n')
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/site.toml").write_text('[retention]\ndelete_after = "400d"\n')
    policy = load(tmp_path / "config.toml", environ={}).policy
    assert (policy.compress_after.days, policy.delete_after.days) == (7, 400)


def test_every_setting_knows_its_origin(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('host = "a"\n[sinks.main]\nkind = "sqlite"\n')
    settings = read_files(path)
    assert {key: setting.origin for key, setting in settings.items()} == {
        ("host",): str(path),
        ("sinks", "main", "kind"): str(path),
    }


@pytest.mark.parametrize("broken", ['host = "a', "host = a", 'host = "a"\nhost = "b"'])
def test_one_file_that_is_broken_is_named_with_the_line(tmp_path: Path, broken: str) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "config.toml").touch()
    file = tmp_path / "conf.d/50-broken.toml"
    file.write_text(f"state_dir = '/x'\n{broken}")
    with pytest.raises(ConfigError, match="not valid TOML") as raised:
        read_files(tmp_path / "config.toml")
    assert raised.value.path == file


def test_one_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b'host = "\xff"')
    with pytest.raises(ConfigError, match="UTF-8") as raised:
        read_files(file)
    assert (raised.value.path, raised.value.offset) == (file, 8)


def test_one_file_given_by_hand_has_to_exist_the_default_need_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as raised:
        read_files(tmp_path / "none.toml")
    assert raised.value.path == tmp_path / "none.toml"


def test_variables_name_settings() -> None:
    environ = {
        "AUDITLOG_STATE_DIR": "/var/lib/x",
        "AUDITLOG_RETENTION_DELETE_AFTER": "90d",
        "AUDITLOG_SINKS_ES_1_PASSWORD_FILE": "/run/secret",
        "AUDITLOG_SINKS_OTHER_PASSWORD": "x",
        "AUDITLOG_DEBUG": "1",
        "AUDITLOG_TEST_ELASTICSEARCH_URL": "http://127.0.0.1:9200",
        "PATH": "/bin",
    }
    found = read_environment(environ, SECTIONS, ["es-1"])
    assert {key: setting.value for key, setting in found.items()} == {
        ("state_dir",): "/var/lib/x",
        ("retention", "delete_after"): "90d",
        ("sinks", "es-1", "password_file"): "/run/secret",
        ("sinks", "other", "password"): "x",
    }
    assert found["state_dir",].origin == "environment AUDITLOG_STATE_DIR"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("AUDITLOG_STATEDIR", "AUDITLOG_STATE_DIR"),
        ("AUDITLOG_RETENTION_DELETE_AFTR", "AUDITLOG_RETENTION_DELETE_AFTER"),
        ("AUDITLOG_SINKS_MAIN_KNID", "AUDITLOG_SINKS_MAIN_KIND"),
    ],
)
def test_no_stranger_among_the_variables_is_passed_over(name: str, near: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_environment({name: "hunter2"}, SECTIONS, [])
    assert name in str(raised.value)
    assert near in raised.value.hint
    assert "hunter2" not in str(raised.value)


def test_nearest_takes_the_most_alike() -> None:
    assert nearest("delet_after", ["compress_after", "delete_after", "level"]) == "delete_after"
