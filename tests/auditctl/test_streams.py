"""Run every command with its output closed or full, and interrupt those that wait."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import psutil
import pytest

from auditctl.exit_codes import ExitCode
from auditctl.main import main
from tests.auditctl.test_options import commands
from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.auditctl.conftest import Result

PRINTS = [
    "--help",
    "--version",
    "search --help",
    "completion bash",
    "config check {config}",
    "config init",
    "config show {config}",
    "doctor {config}",
    "emit {place}/made web.started --service web",
    "emit {place}/made web.started --service web --json",
    "export {config} -o - --format csv",
    "export {config} -o - --format ndjson",
    "export {config} -o {place}/made.tar.zst",
    "fleet {config}",
    "fleet {config} --json",
    "fleet {config} --metrics",
    "hold add case-1 --reason why --owner alice {config} --json",
    "hold list {config} --json",
    "manual search",
    "prune {config} --dry-run",
    "prune {config} --dry-run --json",
    "quarantine list {config}",
    "quarantine list {config} --json",
    "reconcile {config}",
    "reconcile {config} --json",
    "redact {place}/index.txt",
    "report {config} --json",
    "report {config} -o -",
    "search '' {config}",
    "search '' {config} --by hour",
    "search '' {config} --count",
    "search '' {config} --follow",
    "search '' {config} --json",
    "search '' {config} --source sink",
    "ship {config} --once",
    "ship {config} --once --json",
    "status {config}",
    "status {config} --json",
    "status {config} --watch",
    "tail {config}",
    "tail {config} --follow",
    "verify {config}",
    "verify {config} --json",
]
ELSEWHERE = {
    "agent": "it prints nothing to stdout",
    "archive restore": "a bucket has to be there",
    "archive search": "a bucket has to be there",
    "archive status": "a bucket has to be there",
    "archive upload": "a bucket has to be there",
    "archive verify": "a bucket has to be there",
    "demo": "tests/auditctl/test_terminal.py",
    "erase": "it changes a log",
    "evidence init": "it makes a key",
    "evidence restart": "it changes what is signed",
    "evidence rotate": "it makes a key",
    "evidence sign": "a key has to be there",
    "evidence status": "a key has to be there",
    "forget": "it needs a retired log",
    "hold release": "a hold has to be there",
    "install": "it writes to /etc",
    "prove": "a key has to be there",
    "quarantine acknowledge": "an alarm has to be there",
    "quarantine retry": "an entry has to be there",
    "quarantine show": "an entry has to be there",
    "setup elasticsearch": "a server has to be there",
    "witness serve": "it ends by a signal",
}


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[[str], list[str]]:
    """Fill in a command's places: a log that is shipped, and its configuration."""
    write_log(tmp_path / "audit", records=3)
    (tmp_path / "index.txt").write_text("password=hunter2\n")
    config = tmp_path / "config.toml"
    config.write_text(
        textwrap.dedent(f"""
            host = "hive1"
            directories = ["{tmp_path}/audit"]
            state_dir = "{tmp_path}/state"
            metrics = ""
            [sinks.main]
            kind = "sqlite"
            path = "{tmp_path}/index.sqlite"
            """)
    )
    assert main(["ship", "--config", str(config), "--once"]) == ExitCode.OK

    def fill(line: str) -> list[str]:
        places = {"config": f"--config={config}", "place": tmp_path}
        return [word.format(**places) for word in shlex.split(line)]

    return fill


@pytest.fixture
def full() -> Iterator[TextIO]:
    """A file on a full disk."""
    stream = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115  (closing it fails)
    yield stream
    with suppress(OSError):
        stream.close()


@pytest.fixture
def closed() -> Iterator[TextIO]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", encoding="utf-8")
    yield stream
    with suppress(OSError):
        stream.close()


def test_every_command_that_prints_is_asked() -> None:
    asked = {line.split(" {")[0] for line in PRINTS}
    for path, _ in commands():
        name = " ".join(path)
        known = name in ELSEWHERE or any(f"{one} ".startswith(f"{name} ") for one in asked)
        assert known, f"{name}: name what it prints in PRINTS, or why not in ELSEWHERE"


@pytest.mark.parametrize("line", PRINTS)
def test_a_closed_output_ends_it_silently(
    line: str,
    arguments: Callable[[str], list[str]],
    closed: TextIO,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = arguments(line)
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdout", closed)
    assert main(asked) == ExitCode.PIPE_CLOSED
    said = capsys.readouterr().err
    assert not [word for word in ("Broken pipe", "Traceback", "unexpected") if word in said]


@pytest.mark.parametrize("line", PRINTS)
def test_an_output_that_is_full_is_said_with_what_it_means(
    line: str,
    arguments: Callable[[str], list[str]],
    full: TextIO,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = arguments(line)
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdout", full)
    assert main(asked) == ExitCode.FAILED
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        "auditctl: standard output: No space left on device. What was printed is incomplete; "
        "what the command has done besides stays done."
    )
    if line.startswith("emit"):
        assert main(["search", "event_type=web.started", asked[1], "--count"]) == ExitCode.OK


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("hold list {config}", ExitCode.OK),
        ("prove {config}", ExitCode.USAGE),
        ("", ExitCode.USAGE),
        ("archive status {config}", ExitCode.DATA),
        ("report {config} -o {place}/made.html", ExitCode.OK),
        ("verify {place}/none", ExitCode.USAGE),
    ],
)
def test_messages_without_room_change_neither_what_is_done_nor_the_code(
    *,
    line: str,
    code: ExitCode,
    arguments: Callable[[str], list[str]],
    full: TextIO,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked = arguments(line)
    monkeypatch.setattr(sys, "stderr", full)
    assert main(asked) == code
    assert (tmp_path / "made.html").exists() == ("made.html" in line)


def test_an_exit_code_outlives_a_full_stderr(program: Callable[..., Result]) -> None:
    """The interpreter has its own view of streams that fail while it ends."""
    for end, code in (("2>/dev/full", 2), (">/dev/full", 1), (">/dev/full 2>/dev/full", 1)):
        asked = ["verify", "/nowhere"] if code == 2 else ["config", "init"]
        result = program(*asked, before=("sh", "-c", f'exec "$@" {end}', "sh"))
        assert result.code == code, end
        assert "Exception ignored" not in result.err


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


WAITS = [
    "ship {place}/audit --to {url} --once",
    "ship {place}/audit --to {url}",
    "reconcile {place}/audit --to {url}",
    "verify {place}/audit --against {url}",
    "search '' --source {url}",
    "fleet {url} --watch",
    "agent {config}",
    "archive verify {config}",
    "archive restore {config} --to {place}/back",
]


@pytest.mark.parametrize("line", WAITS)
def test_ctrl_c_ends_what_waits_for_a_server(
    line: str, arguments: Callable[[str], list[str]], silent_server: str, tmp_path: Path
) -> None:
    given = arguments(line.replace("{url}", silent_server))
    config = tmp_path / "config.toml"
    to_server = f'kind = "elasticsearch"\nurls = ["{silent_server}"]\n'
    to_server = f"[sinks.other]\n{to_server}"
    if line.startswith("archive"):
        to_server = f'[archive]\nbucket = "b"\nregion = "r"\nendpoint = "{silent_server}"\n'
    config.write_text(config.read_text().split("[sinks")[0] + to_server)
    port = silent_server.rpartition(":")[2]
    command = [sys.executable, "-m", "auditctl", *given]
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **keys}
    ) as process:
        try:
            connected(process, int(port))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == ExitCode.INTERRUPTED, err.decode()
    assert b"Traceback" not in out + err
    assert b"unexpected" not in out + err


def connected(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the process has a connection to the port."""
    from tests.support.waiting import eventually

    eventually(
        lambda: any(
            one.raddr and one.raddr.port == port
            for one in psutil.Process(process.pid).net_connections("tcp")
        ),
        "a connection to the server",
    )


@pytest.mark.parametrize(
    "line",
    ["tail {place}/audit -n 5000", "search '' {place}/audit --json",
     "export {place}/audit -o - --format ndjson"],
)  # fmt: skip
def test_ctrl_c_ends_what_waits_for_its_reader(line: str, tmp_path: Path) -> None:
    write_log(tmp_path / "audit", records=3000)
    command = [sys.executable, "-m", "auditctl"]
    command += [word.format(place=tmp_path) for word in shlex.split(line)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        said = process.stderr.read()
        assert process.wait(120) == ExitCode.INTERRUPTED
    assert len(rest) < sum(path.stat().st_size for path in (tmp_path / "audit").glob("*.ndjson"))
    assert said == b""


VERIFYING = """
import sys, time
from auditlog.verification import chain, workers

def waiting(self, *_, **__):
    print("begun", flush=True)
    while True:
        time.sleep(1)

workers.STRETCH_BYTES = 4096
chain.ChainCheck.%s = waiting
from auditctl.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_verify_and_its_processes(*, jobs: str, again: bool, tmp_path: Path) -> None:
    write_log(tmp_path / "audit", records=300)
    code = VERIFYING % ("join" if jobs == "2" else "line")
    command = [sys.executable, "-c", code, "verify", str(tmp_path / "audit"), "--jobs", jobs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        workers = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        if again:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    # The second one may come when the first has been handled: it kills, for a shell 130 as well.
    ends = {ExitCode.INTERRUPTED, -signal.SIGINT} if again else {ExitCode.INTERRUPTED}
    assert process.returncode in ends
    assert (out, err) == (b"", b"")
    assert len(workers) == (2 if jobs == "2" else 0)
    psutil.wait_procs(workers, timeout=60)
    assert not [worker for worker in workers if worker.is_running()]


def test_a_second_ctrl_c_while_the_first_is_handled_ends_it_without_a_word() -> None:
    code = (
        "import signal; from auditctl import main as module;"
        " module._run = module._interrupted = lambda *_: signal.raise_signal(signal.SIGINT);"
        " module.main()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_ctrl_c_while_an_error_is_explained_or_a_class_is_made_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    def wrapped(_: list[str]) -> int:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setattr("auditctl.main._run", wrapped)
    assert main([]) == ExitCode.INTERRUPTED
    monkeypatch.setattr("auditctl.main._run", lambda _: 1 // 0)
    monkeypatch.setattr("auditctl.main._explain", interrupted)
    assert main([]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == ""
