"""Real servers, stopped and restarted under load: what was answered is in the log."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import auditlog
from tests.support.waiting import eventually

ROOT: Final = Path(__file__).parents[3]
CLIENTS: Final = 6
SERVERS: Final = {
    "uvicorn": ("uvicorn", "asgi_app:app", "--fd={socket}", "--log-level=warning"),
    "uvicorn, two workers": (
        *("uvicorn", "asgi_app:app", "--fd={socket}", "--log-level=warning"),
        "--workers=2",
    ),
    "gunicorn, three pre-fork workers": (
        *("gunicorn", "wsgi_app:app", "--bind=fd://{socket}", "--log-level=warning"),
        "--workers=3",
    ),
    "gunicorn, threads": (
        *("gunicorn", "wsgi_app:app", "--bind=fd://{socket}", "--log-level=warning"),
        *("--workers=2", "--threads=4"),
    ),
    "gunicorn, asgi": (
        *("gunicorn", "asgi_app:app", "--bind=fd://{socket}", "--log-level=warning"),
        *("--workers=2", "--worker-class=asgi"),
    ),
}


@contextlib.contextmanager
def serving(command: tuple[str, ...], audit: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    # The server gets the socket itself: a free port's number might be taken before it binds it.
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        port: int = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(socket=listener.fileno()) for part in command)],
            cwd=ROOT / "examples",
            env={**os.environ, "PYTHONPATH": str(ROOT), "AUDIT_DIR": str(audit)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[listener.fileno()],
        )
    assert process.stdout is not None
    try:
        deadline = time.monotonic() + 120
        while ask(port, "ready") is None:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"the server did not start:\n{process.stdout.read()}")
            time.sleep(0.05)
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(port: int, request_id: str) -> int | None:
    """The status of a response that came whole; None when none did."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"X-Request-Id": request_id, "X-User": "alice"}
        connection.request("GET", f"/{request_id}?password=hunter2", headers=headers)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return None
    else:
        return response.status
    finally:
        connection.close()


def ask_until_it_stops(port: int, process: subprocess.Popen[str], prefix: str) -> set[str]:
    """SIGTERM while clients ask without a pause; the ids of the requests answered with 200."""
    answered: set[str] = set()
    enough = threading.Event()

    def client(number: int) -> None:
        for count in range(100_000):
            request_id = f"{prefix}-{number}-{count}"
            status = ask(port, request_id)
            if status is None:
                return
            assert status == 200
            answered.add(request_id)
            if len(answered) >= 150:
                enough.set()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    assert enough.wait(60)
    process.send_signal(signal.SIGTERM)
    for thread in clients:
        thread.join()
    process.wait(60)
    return answered


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS.keys())
def test_what_was_answered_before_sigterm_is_in_the_log(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    audit = tmp_path / "audit"
    answered: set[str] = set()
    for run in ("first", "second"):
        with serving(command, audit) as (process, port):
            answered |= ask_until_it_stops(port, process, run)
    records = list(auditlog.read(audit, log_events=True))
    submitted = {r.fields["correlation_id"] for r in records if r.event_type == "task_submitted"}
    assert answered <= submitted
    if command[1].startswith("asgi"):
        asked = [r.fields for r in records if r.event_type == "http.request"]
        assert answered <= {fields["correlation_id"] for fields in asked}
        assert {fields["actor"]["user_id"] for fields in asked} == {"alice"}
    assert b"hunter2" not in b"".join(path.read_bytes() for path in audit.glob("*.ndjson"))
    report = auditlog.verify(audit)
    assert report.ok, report.to_json()
    # Each log was closed, opened again by the second run's workers, and went on with its chain.
    # (SIGTERM may also come while a worker is still starting, and end it right there.)
    for log in report.logs:
        own = [record for record in records if record.log == str(log.log)]
        assert [record.seq for record in own] == list(range(1, len(own) + 1))
        assert own[-1].event_type in ("log.closed", "log.opened")
    assert any(record.event_type == "log.closed" for record in records)
    workers = next((int(part[-1]) for part in command if part.startswith("--workers")), 1)
    slots = sorted(str(log.log) for log in report.logs)
    assert slots == [f"queen-rbee@hive1+{slot}" for slot in range(1, len(slots) + 1)]
    assert len(slots) <= workers


MODULE_LEVEL: Final = """
import contextlib, os, auditlog
from auditlog.bridges.asgi import AuditMiddleware
log = auditlog.open(os.environ["AUDIT_DIR"], service="queen-rbee", host="hive1", instance="auto",
                    flush=auditlog.FlushPolicy.batched(max_delay=600))

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in range(2):
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                log.emit("just.before")
                {close}
            await send({{"type": message["type"] + ".complete"}})
        return
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b""}})

{wrap}
"""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("close", "wrap", "last"),
    [
        ("auditlog.close_all()", "", ["just.before", "log.closed"]),
        ("pass", "app = AuditMiddleware(app, log)", ["just.before"]),
    ],
    ids=["close_all", "middleware"],
)
def test_a_module_level_log_under_uvicorn_loses_no_event(
    tmp_path: Path, workers: str, close: str, wrap: str, last: list[str]
) -> None:
    """uvicorn raises the signal again behind its shutdown, so no exit handler runs."""
    (tmp_path / "module_level.py").write_text(MODULE_LEVEL.format(close=close, wrap=wrap))
    command = ("uvicorn", f"--app-dir={tmp_path}", "module_level:app", "--fd={socket}")
    audit = tmp_path / "audit"
    with serving((*command, "--workers", workers), audit) as (process, _):
        eventually(lambda: times_opened(audit) >= int(workers), "every worker opened its log")
        time.sleep(
            0.5
        )  # the second worker's start; a worker that is stopped before it is ready ends at once
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    logs: dict[str, list[str]] = {}
    for record in auditlog.read(audit, log_events=True):
        logs.setdefault(record.log, []).append(record.event_type)
    assert any(types[-len(last) :] == last for types in logs.values()), logs
    assert all("just.before" not in types or types[-len(last) :] == last for types in logs.values())


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii")
    return [int(pid) for pid in children.split()]


def writing(process: subprocess.Popen[str], audit: Path) -> list[int]:
    """The workers that have a log open."""
    found = []
    for worker in workers_of(process):
        names = set()
        with contextlib.suppress(FileNotFoundError, PermissionError):  # it has ended
            for link in Path(f"/proc/{worker}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # a connection's, closed meanwhile
                    names.add(str(link.readlink()))
        if any(name.startswith(f"{audit}/") and name.endswith(".ndjson") for name in names):
            found.append(worker)
    return found


def times_opened(audit: Path) -> int:
    return sum(path.read_bytes().count(b'"log.opened"') for path in audit.glob("*.ndjson"))


@pytest.mark.parametrize("application", ["wsgi_app:app", "asgi_app:app"])
def test_what_was_answered_before_a_worker_was_killed_is_in_the_log(
    application: str, tmp_path: Path
) -> None:
    audit = tmp_path / "audit"
    command = ("gunicorn", application, "--bind=fd://{socket}", "--log-level=critical")
    kind = () if application.startswith("wsgi") else ("--worker-class=asgi",)
    answered: set[str] = set()
    stop = threading.Event()

    def client(number: int) -> None:
        for count in range(100_000):
            if stop.is_set():
                return
            request_id = f"{number}-{count}"
            if ask(port, request_id) == 200:  # None where its worker was killed
                answered.add(request_id)

    with serving((*command, "--workers=3", *kind), audit) as (process, port):
        clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
        for thread in clients:
            thread.start()
        for killed in range(3):
            enough = len(answered) + 40
            eventually(lambda least=enough: len(answered) >= least, "answers", seconds=60)
            # A worker that was not asked yet has opened no log, nor has one that just took a place.
            eventually(lambda least=killed: times_opened(audit) > least, "a log opened", seconds=60)
            workers = eventually(lambda: writing(process, audit), "a worker that writes")
            os.kill(workers[0], signal.SIGKILL)
        eventually(lambda: times_opened(audit) >= 4, "a log opened after the kills", seconds=60)
        stop.set()
        for thread in clients:
            thread.join()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    records = list(auditlog.read(audit, log_events=True))
    assert len(answered) >= 120
    submitted = {r.fields["correlation_id"] for r in records if r.event_type == "task_submitted"}
    assert answered <= submitted
    report = auditlog.verify(audit)
    assert report.ok, report.to_json()
    # A worker that takes a killed one's place goes on with the slot that became free.
    assert len(report.logs) <= 3
    assert len([record for record in records if record.event_type == "log.opened"]) >= 4


@pytest.mark.parametrize("start", ["os.fork", "multiprocessing", "gunicorn --preload"])
def test_a_log_opened_before_a_fork_says_so_in_the_child(start: str, tmp_path: Path) -> None:
    code = {
        "os.fork": """
            pid = os.fork()
            if pid == 0:
                child()
                os._exit(0)
            os.waitpid(pid, 0)
        """,
        "multiprocessing": """
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join()
        """,
        "gunicorn --preload": """
            from gunicorn.app.base import BaseApplication

            class Preloaded(BaseApplication):
                def load_config(self):
                    self.cfg.set("preload_app", True)
                    self.cfg.set("bind", "127.0.0.1:0")
                    self.cfg.set("post_fork", lambda arbiter, worker: answered(arbiter))

                def load(self):
                    return None

            def answered(arbiter):
                child()
                os.kill(os.getppid(), signal.SIGTERM)

            try:
                Preloaded().run()
            except SystemExit:
                pass
        """,
    }[start]
    script = f"""
import multiprocessing, os, signal, sys, textwrap, warnings
import auditlog
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what this is about
log = auditlog.open({str(tmp_path)!r}, service="queen-rbee", host="hive1")
def child():
    try:
        log.emit("from.child")
    except auditlog.ForkedLog as error:
        print("refused:", error, flush=True)
exec(textwrap.dedent({code!r}))
log.emit("from.parent")
log.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert re.search(r"refused: .*belongs to the parent.*instance=\"auto\"", done.stdout), done
    assert done.returncode == 0, done.stderr
    types = [record.event_type for record in auditlog.read(tmp_path, log_events=True)]
    assert types == ["log.segment_opened", "log.opened", "from.parent", "log.closed"]
    assert auditlog.verify(tmp_path).ok
