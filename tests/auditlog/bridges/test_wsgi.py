from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

import auditlog
from auditlog.bridges.wsgi import AuditMiddleware
from auditlog.errors import LogFailed

Written = Callable[[], list[dict[str, Any]]]
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def answering(*chunks: bytes, status: str = "200 OK") -> App:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain")] if chunks else [])
        return list(chunks)

    return app


class Client:
    """A server that asks once; ``seen`` is what the log had when each chunk came."""

    def __init__(self, app: App, looking: Callable[[], int] = lambda: 0, **environ: str) -> None:
        self.status, self.headers, self.body = "", {}, b""
        self.seen: list[int] = []
        full: dict[str, Any] = {"QUERY_STRING": "", "SCRIPT_NAME": "", "PATH_INFO": "/", **environ}
        setup_testing_defaults(full)
        result = validator(app)(full, self._start)  # type: ignore[arg-type]  # of wsgiref
        try:
            for chunk in result:
                self.seen.append(looking())
                self.body += chunk
        finally:
            result.close()  # type: ignore[attr-defined]  # as PEP 3333 has it

    def _start(
        self, status: str, headers: list[tuple[str, str]], _exc_info: Any = None
    ) -> Callable[[bytes], object]:
        self.status, self.headers = status, {key.lower(): value for key, value in headers}
        return lambda _chunk: None


def test_answered(log: auditlog.Log, written: Written) -> None:
    app = AuditMiddleware(answering(b"a", b"b"), log)
    client = Client(app, lambda: len(written()), PATH_INFO="/x", HTTP_X_REQUEST_ID="req-1")
    assert (client.status, client.body) == ("200 OK", b"ab")
    assert client.seen == [0, 1], "the record is there before the last chunk"
    (record,) = written()
    assert record["correlation_id"] == client.headers["x-request-id"] == "req-1"
    assert record["outcome"] == "success"
    details = record["details"]
    assert (details["method"], details["path"], details["status"]) == ("GET", "/x", 200)
    assert details["duration_ms"] >= 0


def test_answered_without_a_body(log: auditlog.Log, written: Written) -> None:
    client = Client(AuditMiddleware(answering(status="204 No Content"), log))
    assert client.status == "204 No Content"
    assert written()[0]["details"]["status"] == 204


@pytest.mark.parametrize(
    ("status", "outcome", "severity"),
    [
        ("404 Not Found", "failure", "info"),
        ("403 No", "failure", "warning"),
        ("500 No", "failure", "error"),
    ],
)
def test_a_status_is_an_outcome(
    log: auditlog.Log, written: Written, status: str, outcome: str, severity: str
) -> None:
    Client(AuditMiddleware(answering(b"x", status=status), log))
    assert (written()[0]["outcome"], written()[0]["severity"]) == (outcome, severity)


@pytest.fixture
def failed(log: auditlog.Log) -> Iterator[auditlog.Log]:
    log._commits.fail(LogFailed("the disk is gone"))
    yield log
    log.reopen()


def test_fail_closed(failed: auditlog.Log) -> None:
    for _ in range(2):  # the second time the application is not even asked
        client = Client(AuditMiddleware(answering(b"secret", b"more"), failed, fail_closed=True))
        assert client.status == "503 Service Unavailable"
        assert b"secret" not in client.body
        assert b"could not be recorded" in client.body
    app = AuditMiddleware(answering(b"secret"), failed, fail_closed=True)
    assert [Client(app).status[:3] for _ in range(2)] == ["503", "503"]


def test_fail_open(failed: auditlog.Log, caplog: pytest.LogCaptureFixture) -> None:
    app = AuditMiddleware(answering(b"fine"), failed)
    with caplog.at_level(logging.ERROR, "auditlog.bridges"):
        assert [Client(app).body for _ in range(3)] == [b"fine"] * 3
    assert len(caplog.records) == 1


def test_raised(log: auditlog.Log, written: Written) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise KeyError("a secret in its text")

    with pytest.raises(KeyError):
        Client(AuditMiddleware(app, log))
    (record,) = written()
    assert (record["outcome"], record["severity"]) == ("failure", "error")
    assert record["details"]["exception"] == {"type": "builtins.KeyError"}


def test_raised_after_the_first_chunk(log: auditlog.Log, written: Written) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        raise KeyError

    with pytest.raises(KeyError):
        Client(AuditMiddleware(app, log))
    assert [record["outcome"] for record in written()] == ["failure"]


def test_no_content(log: auditlog.Log, written: Written) -> None:
    app = AuditMiddleware(answering(b"the body"), log)
    Client(app, QUERY_STRING="q=hidden", HTTP_COOKIE="c=hidden", HTTP_X_REQUEST_ID="no id!")
    text = str(written())
    assert "hidden" not in text
    assert "the body" not in text
    assert "no id" not in text


def test_what_is_emitted_inside_is_bound_to_the_request(
    log: auditlog.Log, written: Written
) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        auditlog.bind_context(tenant_id=7)
        log.emit("inside.before")
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        log.emit("inside.after")

    audited = AuditMiddleware(app, log, actor=lambda environ: environ.get("HTTP_X_USER"))
    Client(audited, HTTP_X_USER="alice", HTTP_X_REQUEST_ID="req-1", REMOTE_ADDR="192.0.2.7")
    assert [record["event_type"] for record in written()] == [
        "inside.before",
        "inside.after",
        "http.request",
    ]
    for record in written():
        assert record["actor"] == {"user_id": "alice", "ip": "192.0.2.7"}
        assert record["correlation_id"] == "req-1"
        assert record["details"]["tenant_id"] == 7
    log.emit("outside")
    assert "correlation_id" not in written()[-1]


def test_requests_of_one_thread_do_not_mix(log: auditlog.Log, written: Written) -> None:
    """A server may take the next request before it has sent the whole response of the first."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(3):
            log.emit("inside", reason=environ["HTTP_X_REQUEST_ID"])
            yield b"a"

    audited = AuditMiddleware(app, log)
    responses = []
    for name in ("a", "b"):
        environ: dict[str, Any] = {"HTTP_X_REQUEST_ID": name}
        setup_testing_defaults(environ)
        responses.append(iter(audited(environ, lambda *_: lambda _chunk: None)))
    for _ in range(3):
        for response in responses:
            next(response)
    inside = [record for record in written() if record["event_type"] == "inside"]
    assert len(inside) == 6
    assert all(record["reason"] == record["correlation_id"] for record in inside)


def test_an_application_may_write(log: auditlog.Log, written: Written) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"a")
        return [b"b"]

    assert Client(AuditMiddleware(app, log)).body == b"b"
    assert written()[0]["details"]["streamed"] is True


def test_skipped_requests_are_not_recorded(log: auditlog.Log, written: Written) -> None:
    app = AuditMiddleware(answering(b"ok"), log, skip=lambda environ: environ["PATH_INFO"] == "/up")
    assert Client(app, PATH_INFO="/up").body == b"ok"
    assert written() == []


def test_threads_share_it(log: auditlog.Log, written: Written) -> None:
    app = AuditMiddleware(answering(b"ok"), log)
    threads = [threading.Thread(target=lambda: [Client(app) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written()) == 20


def test_no_header_to_carry_an_id_is_refused(log: auditlog.Log) -> None:
    with pytest.raises(ValueError, match="correlation_headers is empty"):
        AuditMiddleware(answering(), log, correlation_headers=())
