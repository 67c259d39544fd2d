"""Bad input, one row each, through the real program: what is said, the code, and nothing lost."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from typing import TYPE_CHECKING

import pytest
from werkzeug import Response

from auditlog.reading.selection import read
from auditlog.verification.verify import verify
from auditlog.writer.opening import open_log
from tests.support.logs import LogBuilder, write_log
from tests.support.permissions import powerless

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_httpserver import HTTPServer

    from tests.auditctl.conftest import Result

ON_A_DIRECTORY = {
    "verify": ["verify"],
    "tail": ["tail"],
    "status": ["status"],
    "prune": ["prune"],
    "ship": ["ship", "--once", "--to", "out.sqlite"],
}
PRODUCT = {"X-Elastic-Product": "Elasticsearch"}


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    return write_log(tmp_path / "audit", records=5)


def fingerprint(directory: Path) -> dict[str, str]:
    """Every segment's content; a refused command leaves it as it was."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.glob("*.ndjson*"))
    }


def check(result: Result, code: int, *says: object) -> None:
    """One paragraph on stderr that says these things; nothing else went wrong."""
    assert result.code == code, result.err
    message = result.err.strip()
    assert "\n\n" not in message
    (paragraph,) = [line for line in message.splitlines() if line.startswith("auditctl: ")]
    for text in says:
        assert str(text) in paragraph
    assert re.search(r"[.?]$|--help$", paragraph), "it ends as a sentence does"
    assert "Traceback" not in result.err + result.out


def test_an_unknown_flag(program: Callable[..., Result], built: LogBuilder) -> None:
    result = program("verify", "--jsno", built.directory)
    check(result, 2, "--jsno", "--json", "auditctl verify --help")
    check(program("--verbos"), 2, "--verbos", "auditctl --help")


def test_an_unknown_command(program: Callable[..., Result]) -> None:
    check(program("verfiy"), 2, "'verfiy'", "'verify'", "auditctl --help")


def test_a_missing_argument(program: Callable[..., Result]) -> None:
    check(program("emit"), 2, "DIR", "auditctl emit --help")


def test_no_directory_given_and_none_configured(program: Callable[..., Result]) -> None:
    for command in ("verify", "tail", "status", "prune", "agent"):
        check(program(command), 65, "no directory is configured", "directories = ")


def test_an_unknown_config_key(program: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[retention]\ndelete_afer = "90d"\n')
    for command in (["config", "check"], ["agent"], ["prune"], ["status"]):
        result = program(*command, "--config", path)
        check(result, 65, f"{path}: ", "retention.delete_afer", "retention.delete_after")


def test_an_unknown_environment_variable(program: Callable[..., Result]) -> None:
    result = program("config", "check", env={"AUDITLOG_STATEDIR": "/x"})
    check(result, 65, "AUDITLOG_STATEDIR", "AUDITLOG_STATE_DIR")


def test_a_config_file_that_is_not_there(program: Callable[..., Result], tmp_path: Path) -> None:
    result = program("agent", "--config", tmp_path / "none.toml")
    check(result, 65, f"{tmp_path}/none.toml: ", "No such file", "--config")


def test_a_config_file_that_is_not_toml(program: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("directories = [")
    check(program("config", "check", "--config", path), 65, f"{path}: ", "not valid TOML")


@pytest.mark.parametrize("command", ON_A_DIRECTORY)
def test_a_missing_directory(program: Callable[..., Result], tmp_path: Path, command: str) -> None:
    arguments = [text.replace("out", f"{tmp_path}/out") for text in ON_A_DIRECTORY[command]]
    result = program(*arguments, tmp_path / "none")
    check(result, 2, f"{tmp_path}/none: ", "there is no such", "Check the path")
    assert list(tmp_path.iterdir()) == [], "nothing was created"


@pytest.mark.parametrize("command", ["tail", "status", "prune", "ship"])
def test_a_directory_that_is_a_file(
    program: Callable[..., Result], tmp_path: Path, command: str
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    arguments = [text.replace("out", f"{tmp_path}/out") for text in ON_A_DIRECTORY[command]]
    check(program(*arguments, file), 2, f"{file}: ", "not a directory", "directory that holds")
    assert file.read_text() == "mine"


def test_a_file_that_is_no_segment(program: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    check(program("verify", tmp_path / "notes.txt"), 2, f"{tmp_path}/notes.txt: ", "segment")
    check(program("verify", tmp_path), 1, f"{tmp_path}: ", "no log")


def test_emitting_into_a_file(program: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    result = program("emit", file, "a.b", "--service", "s")
    check(result, 1, f"{file}: ", "Not a directory")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("command", ON_A_DIRECTORY)
def test_no_permission_on_the_directory(
    program: Callable[..., Result], built: LogBuilder, tmp_path: Path, command: str
) -> None:
    arguments = [text.replace("out", f"{tmp_path}/out") for text in ON_A_DIRECTORY[command]]
    built.directory.chmod(0)
    try:
        result = program(*arguments, built.directory, before=powerless())
    finally:
        built.directory.chmod(0o700)
    check(result, 1, f"{built.directory}", "Permission denied", "Run as the user who owns it")


def test_no_permission_on_a_segment(program: Callable[..., Result], built: LogBuilder) -> None:
    built.active.chmod(0)
    for command in ("verify", "tail"):
        result = program(command, built.directory, before=powerless())
        check(result, 1, f"{built.active}: ", "Permission denied")


def test_no_permission_to_write(program: Callable[..., Result], tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    directory.mkdir(mode=0o500)
    result = program("emit", directory, "a.b", "--service", "s", before=powerless())
    check(result, 1, str(directory), "Permission denied")


def test_a_directory_anyone_may_write_to(program: Callable[..., Result], tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    directory.mkdir()
    directory.chmod(0o777)
    result = program("emit", directory, "a.b", "--service", "s")
    check(result, 4, f"{directory}: ", "writable for everyone", "chmod o-w")


def test_a_second_writer(program: Callable[..., Result], tmp_path: Path) -> None:
    with open_log(tmp_path, service="s", host="h") as log:
        log.emit("before.it")
        result = program("emit", tmp_path, "a.b", "--service", "s", "--host", "h", "--wait", "0s")
        check(result, 75, f"{tmp_path}/.auditlog/s@h.lock: ", f"pid {os.getpid()}", "instance")
        log.emit("after.it")
    types = [record.event_type for record in read(tmp_path, log_events=True)]
    assert "before.it" in types
    assert "after.it" in types
    assert "a.b" not in types
    assert verify(tmp_path).ok


def test_a_corrupt_segment(program: Callable[..., Result], built: LogBuilder) -> None:
    built.active.write_bytes(built.active.read_bytes().replace(b"task-2", b"task-9"))
    before = fingerprint(built.directory)
    result = program("verify", built.directory)
    assert result.code == 1
    assert f"hash_mismatch: {built.active.name} line 2 " in result.out
    pruned = program("prune", built.directory, "--at", "2030-01-01T00:00:00Z", "--json")
    assert pruned.code == 0
    assert {action["action"] for action in pruned.json["actions"]} == {"keep"}
    assert fingerprint(built.directory) == before


def test_a_log_that_is_damaged_before_its_tail_takes_no_event(
    program: Callable[..., Result], built: LogBuilder
) -> None:
    lines = built.active.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b"task-5", b"task-6")
    built.active.write_bytes(b"".join(lines))
    before = fingerprint(built.directory)
    result = program("emit", built.directory, "a.b", "--service", "queen-rbee", "--host", "hive1")
    check(result, 65, f"{built.active}: ", "auditctl verify")
    assert fingerprint(built.directory) == before


def test_an_unreachable_sink(
    program: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    with socket.socket() as reserved:  # bound and not listening: every connection is refused
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        before = fingerprint(built.directory)
        result = program("ship", built.directory, "--to", url, "--once", "--give-up-after", "1s")
    check(result, 1, f"{url}: nothing was accepted for 1 s: ", "are shipped by the next run")
    assert result.err.count("nothing was accepted for 1 s: ") == 1
    assert "trying again until it works" not in result.err
    assert fingerprint(built.directory) == before
    assert not list((built.directory / ".auditlog").rglob("*.cursor"))
    assert program("ship", built.directory, "--to", tmp_path / "x.sqlite", "--once").code == 0


def test_a_damaged_quarantine(
    program: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    target = tmp_path / "x.sqlite"
    assert program("ship", built.directory, "--to", target, "--once").code == 0
    sink = next((built.directory / ".auditlog" / "cursors").iterdir()).name
    path = built.directory / ".auditlog" / "quarantine" / f"{sink}.ndjson"
    path.parent.mkdir(exist_ok=True)
    path.write_text("nonsense\n")
    result = program("ship", built.directory, "--to", target, "--once")
    check(result, 65, path.name, "not an entry")


def test_a_demo_without_its_server(program: Callable[..., Result]) -> None:
    with socket.socket() as reserved:  # bound and not listening: every connection is refused
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        check(program("demo", "--sink", url), 1, url)
    check(program("demo", "--sink", "somewhere"), 2, "somewhere")


def test_wrong_credentials(
    program: Callable[..., Result], built: LogBuilder, tmp_path: Path, httpserver: HTTPServer
) -> None:
    answer = {
        "error": {"type": "security_exception", "reason": "unable to authenticate user [shipper]"},
        "status": 401,
    }
    httpserver.expect_request(re.compile(".*")).respond_with_json(
        answer, status=401, headers=PRODUCT
    )
    url = httpserver.url_for("").rstrip("/")
    (tmp_path / "password").write_text("hunter2")
    config = tmp_path / "config.toml"
    config.write_text(
        f"directories = ['{built.directory}']\n[sinks.main]\nkind = 'elasticsearch'\n"
        f"urls = ['{url}']\nusername = 'shipper'\npassword_file = '{tmp_path}/password'\n"
    )
    result = program("ship", "--config", config, "--once", "--give-up-after", "5s")
    check(result, 1, url, "401")
    assert "hunter2" not in result.err + result.out
    assert not list((built.directory / ".auditlog").rglob("*.cursor"))


def test_a_server_that_is_something_else(
    program: Callable[..., Result], built: LogBuilder, httpserver: HTTPServer
) -> None:
    httpserver.expect_request(re.compile(".*")).respond_with_response(Response("<html>", 200))
    url = httpserver.url_for("").rstrip("/")
    result = program("ship", built.directory, "--to", url, "--once", "--give-up-after", "1s")
    check(result, 1, url)


def test_a_url_with_a_password_is_refused_without_repeating_it(
    program: Callable[..., Result], built: LogBuilder
) -> None:
    result = program("ship", built.directory, "--to", "http://u:hunter2@127.0.0.1:1", "--once")
    check(result, 65, "password_file")
    assert "hunter2" not in result.err


def test_a_sink_file_that_is_no_database(
    program: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    target = tmp_path / "notes.sqlite"
    target.write_text("mine, and not a database" * 100)
    result = program("ship", built.directory, "--to", target, "--once")
    check(result, 1, target)
    assert target.read_text().startswith("mine")
