from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auditctl.config import model as config_module
from auditctl.config.model import Config, load
from auditctl.config.sinks import ElasticsearchConfig, sink_for_target
from auditctl.errors import ConfigError
from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST = "\n".join(
    line.removeprefix("    ")
    for line in (config_module.__doc__ or "").splitlines()
    if line.startswith("    ")
)

BOTH_SECRETS = """
[sinks.main]
kind = "elasticsearch"
urls = ["http://a"]
username = "u"
password_file = "/p"
api_key_file = "/k"
"""
BOTH_PROOFS = (
    "sinks.main = {kind='elasticsearch', urls=['https://a'], ca_file='/c', "
    f"ca_fingerprint='{'ab' * 32}'}}"
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def call(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return call


def test_least_config_is_a_whole_configuration(write: Callable[[str], Path]) -> None:
    config = load(write(LEAST), environ={})
    assert config.directories == (Path("/var/log/llama-orch/audit"),)
    assert config.state_directory() == Path("/var/lib/auditlog")
    assert config.policy.compress_after == dt.timedelta(days=30)
    assert config.policy.delete_after == dt.timedelta(days=90)
    (sink,) = config.sinks
    assert (sink.name, sink.kind, sink.username) == ("main", "elasticsearch", "auditlog_shipper")
    assert sink.urls == ("https://es.example:9200",)
    assert sink.password_file == Path("/etc/auditlog/es.password")
    assert str(config.metrics) == "127.0.0.1:9464"


def test_no_config_is_the_defaults() -> None:
    assert load(environ={}).policy == Config().policy


ES = "sinks.main = {kind='elasticsearch', urls=['http://a'], "


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ('directory = ["/x"]', "directories"),
        ("retention.delet_after = '1d'", "retention.delete_after"),
        ("sinks.main.url = ['http://a']", "sinks.main.urls"),
        ("sink.main.kind = 'sqlite'", "sinks"),
        ("retention.levels.zstd = 1", "retention.level"),
        ("sinks.main.kind.x = 1", "sinks.main.kind"),
    ],
)
def test_unknown_key_is_an_error_naming_file_and_nearest(
    write: Callable[[str], Path], text: str, near: str
) -> None:
    path = write(text)
    with pytest.raises(ConfigError, match="there is no setting") as raised:
        load(path, environ={})
    assert raised.value.path == path
    assert f"The nearest is {near}." in raised.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("retention = 3", "has to be a table"),
        ("sinks.main = 3", "has to be a table"),
        ("sinks = 'x'", "has to be a table"),
        ("sinks.'a/b'.kind = 'sqlite'", "not usable"),
        ("sinks.main.urls = ['http://a']", "kind is missing"),
        ("sinks.main.kind = 'elasticsearch'", "urls is missing"),
        ("sinks.main.kind = 'sqlite'", "path is missing"),
        ("sinks.main = {kind = 'sqlite', path = '/x', urls = ['http://a']}", "urls is not for"),
        ("sinks.main = {kind = 'elasticsearch', urls = ['http://a'], path = '/x'}", "path is not"),
        ("sinks.main = {kind='elasticsearch', urls=['http://a'], username='u'}", "come together"),
        (f"{ES}index_delete_after='1h'}}", "1d or more"),
        (f"{ES}index_delete_username='u'}}", "index_delete_after is missing"),
        (f"{ES}index_delete_after='9d', index_delete_username='u'}}", "come together"),
        (
            f"{ES}index_delete_after='9d', username='u', password_file='/p'}}",
            "a user of its own: who ships must not be able to delete",
        ),
        (f"{ES}index_delete_after='9d', index_delete_password_file='/p'}}", "come together"),
        ("sinks.main = {kind='sqlite', path='/x', index_delete_after='9d'}", "is not for kind"),
        ("sinks.main = {kind='elasticsearch', urls=['http://a'], password_file='/p'}", "together"),
        (
            BOTH_SECRETS,
            "a password and an API key",
        ),
        (BOTH_PROOFS, "either a ca_file or a ca_fingerprint"),
        (
            "sinks.main = {kind='elasticsearch', urls=['https://a'], client_key_file='/k'}",
            "client_c",
        ),
        ("sinks.main = {kind='sqlite', path='/x', shards=1}", "shards is not for"),
        ("retention.compress_after = '90d'", "not longer than"),
        ("retention.compress_after = 'soon'", "not a duration"),
        ("retention.level = 'high'", "whole number"),
        ("max_in_flight = '1 parsec'", "size"),
        ("host = 'a b'", "contains"),
    ],
)
def test_what_does_not_fit_is_an_error(write: Callable[[str], Path], text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(write(text), environ={})


@pytest.mark.parametrize("key", ["password", "api_key"])
def test_secret_in_the_file_is_refused_without_repeating_it(
    write: Callable[[str], Path], key: str
) -> None:
    with pytest.raises(ConfigError, match="secret") as raised:
        load(write(f"sinks.main = {{kind = 'elasticsearch', {key} = 'hunter2'}}"), environ={})
    assert "hunter2" not in str(raised.value)
    assert f"{key}_file" in raised.value.hint


def test_secret_comes_from_the_environment_or_a_file_and_shows_nowhere(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("from-file\n")
    path = write(
        "[sinks.main]\nkind = 'elasticsearch'\nurls = ['http://a']\nusername = 'u'\n"
        f"password_file = '{tmp_path / 'password'}'\n"
    )
    assert load(path, environ={}).sinks[0].password() == "from-file"
    config = load(path, environ={"AUDITLOG_SINKS_MAIN_PASSWORD": "hunter2"})
    assert config.sinks[0].password() == "hunter2"
    shown = repr(config) + repr(config.given) + repr(config.sinks) + str(config)
    assert "hunter2" not in shown


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", b"\xff"])
def test_secret_files_that_hold_none_are_named(
    write: Callable[[str], Path], tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    text = f"kind = 'elasticsearch'\nurls = ['http://a']\napi_key_file = '{file}'\n"
    (sink,) = load(write(f"[sinks.main]\n{text}"), environ={}).sinks
    with pytest.raises(ConfigError) as raised:
        sink.api_key()
    assert raised.value.path == file
    assert "two" not in str(raised.value)


def test_state_lies_in_the_only_directory_and_has_to_be_named_for_several(
    tmp_path: Path, write: Callable[[str], Path]
) -> None:
    one = load(write(f"directories = ['{tmp_path}']"), environ={})
    assert one.state_directory() == tmp_path / ".auditlog"
    two = load(write(f"directories = ['{tmp_path}/a', '{tmp_path}/b']"), environ={})
    with pytest.raises(ConfigError, match="no state_dir"):
        two.state_directory()


def test_systemd_names_the_state_directory(tmp_path: Path) -> None:
    config = load(environ={"STATE_DIRECTORY": str(tmp_path)})
    assert config.state_directory() == tmp_path


def test_a_log_in_two_directories_names_both(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for directory in (first, second):
        write_log(directory, "queen-rbee@hive1", records=1)
    write_log(second, "rbee-hive@hive1", records=1)
    config = Config(directories=(first, second, tmp_path / "not-there-yet"))
    with pytest.raises(ConfigError, match="queen-rbee@hive1") as raised:
        config.check_logs()
    assert str(first) in str(raised.value)
    assert str(second) in str(raised.value)
    dataclasses.replace(config, directories=(second,)).check_logs()


def test_the_target_of_a_command_is_a_url_or_a_file(tmp_path: Path) -> None:
    assert sink_for_target("http://127.0.0.1:9200/").urls == ("http://127.0.0.1:9200",)
    assert sink_for_target(f"{tmp_path}/out.sqlite").path == tmp_path / "out.sqlite"
    for wrong in ("ftp://a", "http://"):
        with pytest.raises(ConfigError):
            sink_for_target(wrong)


def test_two_targets_never_share_a_cursor(tmp_path: Path) -> None:
    targets = [
        "http://a:9200",
        "http://b:9200",
        "http://a:9200/x",
        f"{tmp_path}/a.sqlite",
        f"{tmp_path}/b/a.sqlite",
    ]
    assert len({sink_for_target(target).name for target in targets}) == len(targets)
    assert sink_for_target(targets[0]).name == sink_for_target(targets[0] + "/").name


def test_logs_have_policies_of_their_own(write: Callable[[str], Path]) -> None:
    config = load(
        write(
            "[retention]\ndelete_after = '100d'\nmax_total_bytes = '1GiB'\nlevel = 12\n"
            "[[retention.logs]]\nmatch = 'rbee-hive@*'\ndelete_after = '1000d'\n"
            "[[retention.logs]]\nmatch = '*'\ncompression = 'gzip'\n"
        ),
        environ={},
    )
    policy = config.policy
    assert policy.max_total_bytes == 1 << 30
    assert policy.of("rbee-hive@x").delete_after.days == 1000
    assert policy.of("rbee-hive@x").level == 12
    other = policy.of("queen-rbee@x")
    assert (other.compression, other.level, other.delete_after.days) == ("gzip", None, 100)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[retention.logs]]\ndelete_after = '9d'", "match is missing"),
        ("[[retention.logs]]\nmatch = 'a'\nkeep_atleast = 2", "nearest is keep_at_least"),
        ("[[retention.logs]]\nmatch = 'a'\ndelete_after = 7", "delete_after: "),
        ("[[retention.logs]]\nmatch = 'a'\ndelete_after = '1d'", "not longer than"),
        ("[[retention.logs]]\nmatch = 'a'\nmax_total_bytes = 1", "no max_total_bytes"),
        ("[retention]\nlogs = 'a'", "double brackets"),
        ("[retention]\nmax_total_bytes = 0", "Zero is not allowed"),
    ],
)
def test_policies_of_logs_that_make_no_sense(
    write: Callable[[str], Path], text: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        load(write(text), environ={})


def test_files_of_an_older_set_up(write: Callable[[str], Path]) -> None:
    config = load(
        write(
            "[retention]\ndelete_after = '100d'\nlevel = 12\nverify_before_delete = 'index'\n"
            "[[retention.foreign]]\npattern = '*.ndjson'\n"
            "[[retention.foreign]]\npattern = '*.log'\ndelete_after = '60d'\n"
            "compression = 'zstd'\nshipped = 'not_required'\ntimestamp_fields = ['at']\n"
            "verify_before_delete = 'none'\n"
            "[[sources.ndjson]]\nname = 'old'\npaths = ['/audit/*.ndjson']\n"
            "[[sources.journald]]\nname = 'journal'\nunits = ['a.service']\n"
        ),
        environ={},
    )
    first, second = config.policy.foreign
    assert (first.pattern, first.shipped) == ("*.ndjson", "required")
    assert first.policy.delete_after.days == 100
    assert first.policy.verify_before_delete == "index", "what it does not set is inherited"
    assert second.policy.verify_before_delete == "none"
    assert (first.policy.compression, first.policy.level) == ("gzip", None)
    assert first.sources == second.sources == (("old", ("/audit/*.ndjson",)),)
    assert (second.policy.compression, second.policy.delete_after.days) == ("zstd", 60)
    assert (second.shipped, second.timestamp_fields) == ("not_required", ("at",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[retention.foreign]]\ndelete_after = '9d'", "pattern is missing"),
        ("[[retention.foreign]]\npattern = 'a/b'", "not a pattern of foreign files"),
        ("[[retention.foreign]]\npattern = 'a'\nshiped = 'x'", "nearest is shipped"),
        ("[[retention.foreign]]\npattern = 'a'\nshipped = 'x'", '"required" or "not_required"'),
        ("[[retention.foreign]]\npattern = 'a'\ndelete_after = '0d'", "longer than zero"),
        ("[[retention.foreign]]\npattern = 'a'\ndelete_after = '9d'", "not longer than"),
    ],
)
def test_patterns_that_make_no_sense(write: Callable[[str], Path], text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(write(text), environ={})


def test_secret_files_may_begin_with_a_byte_order_mark_and_hold_any_letter(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_bytes("\ufeffpässwörd\r\n".encode())
    text = f"{ES} username = 'u', password_file = '{file}'}}"
    (sink,) = load(write(text), environ={}).sinks
    assert isinstance(sink, ElasticsearchConfig)
    assert sink.password() == "pässwörd"
