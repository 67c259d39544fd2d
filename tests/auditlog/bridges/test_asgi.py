from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import auditlog
from auditlog.bridges.asgi import AuditMiddleware

Written = Callable[[], list[dict[str, Any]]]
Scope = dict[str, Any]
START = {"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]}
BODY = {"type": "http.response.body", "body": b"hello"}
MORE = {"type": "http.response.body", "body": b"hel", "more_body": True}


def http(path: str = "/tasks", *headers: tuple[bytes, bytes], **scope: Any) -> Scope:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"password=hunter2",
        "headers": [*headers],
        "client": ("192.0.2.7", 4711),
        **scope,
    }


def websocket(*headers: tuple[bytes, bytes], **scope: Any) -> Scope:
    return {
        "type": "websocket",
        "path": "/live",
        "headers": [*headers],
        "client": ("192.0.2.7", 4711),
        **scope,
    }


def answering(*messages: dict[str, Any]) -> Any:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(message)

    return app


def call(app: Any, scope: Scope, *received: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages that the application sent to the server."""
    sent: list[dict[str, Any]] = []
    incoming = iter(received or ({"type": "http.request", "body": b"secret body"},))

    async def receive() -> dict[str, Any]:
        return next(incoming)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_a_request_is_recorded(log: auditlog.Log, written: Written) -> None:
    app = AuditMiddleware(
        answering(START, BODY),
        log,
        actor=lambda _scope: {"user_id": "alice", "auth_method": "mtls"},
    )
    route = SimpleNamespace(path="/tasks/{task}")
    sent = call(app, http("/tasks/7", (b"X-Request-Id", b"req-1"), route=route))
    (record,) = written()
    duration = record["details"].pop("duration_ms")
    assert 0 <= duration < 60_000
    assert record["event_type"] == "http.request"
    assert record["correlation_id"] == "req-1"
    assert record["actor"] == {"user_id": "alice", "ip": "192.0.2.7", "auth_method": "mtls"}
    assert (record["outcome"], record["severity"]) == ("success", "info")
    assert record["details"] == {
        "method": "GET",
        "path": "/tasks/7",
        "route": "/tasks/{task}",
        "client_ip": "192.0.2.7",
        "status": 200,
    }
    assert sent[0]["headers"] == [(b"x-own", b"1"), (b"x-request-id", b"req-1")]
    assert sent[1] == BODY


@pytest.mark.parametrize(
    ("status", "outcome", "severity"),
    [
        (302, "success", "info"),
        (404, "failure", "info"),
        (403, "failure", "warning"),
        (503, "failure", "error"),
    ],
)
def test_the_status_decides_the_outcome(
    log: auditlog.Log, written: Written, status: int, outcome: str, severity: str
) -> None:
    call(AuditMiddleware(answering({**START, "status": status}, BODY), log), http())
    (record,) = written()
    assert (record["outcome"], record["severity"]) == (outcome, severity)


@pytest.mark.parametrize("fail_closed", [False, True])
@pytest.mark.parametrize("messages", [(START, BODY), (START, MORE, MORE, BODY)])
def test_answered(
    log: auditlog.Log, written: Written, fail_closed: bool, messages: tuple[dict[str, Any], ...]
) -> None:
    """At the last message, and failing closed at the first, the record is on disk."""
    seen: list[tuple[str, int]] = []

    async def send(message: dict[str, Any]) -> None:
        seen.append((message["type"], len(written())))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    app = AuditMiddleware(answering(*messages), log, fail_closed=fail_closed)
    asyncio.run(app(http(), receive, send))
    assert [kind for kind, _ in seen] == [message["type"] for message in messages]
    assert seen[-1][1] == 1
    assert [count for _, count in seen[:-1]] == [
        int(fail_closed or len(messages) == 2)  # a short answer goes out as a whole
    ] * (len(messages) - 1)
    (record,) = written()
    assert record["details"].get("streamed") == (
        True if fail_closed and len(messages) > 2 else None
    )


@pytest.mark.parametrize(
    "message",
    [{"type": "http.response.pathsend", "path": "/f"}, {"type": "http.response.zerocopysend"}],
)
def test_extensions_that_end_a_response_are_known(
    log: auditlog.Log, written: Written, message: dict[str, Any]
) -> None:
    sent = call(AuditMiddleware(answering(START, message), log, fail_closed=True), http())
    assert [part["type"] for part in sent] == [START["type"], message["type"]]
    assert len(written()) == 1


def test_early_hints_go_out_early(log: auditlog.Log, written: Written) -> None:
    hint = {"type": "http.response.early_hint", "links": []}
    sent = call(AuditMiddleware(answering(hint, START, BODY), log, fail_closed=True), http())
    assert [part["type"] for part in sent] == [hint["type"], START["type"], BODY["type"]]


@pytest.mark.parametrize("messages", [(START, BODY), (START, MORE, BODY)])
def test_fail_closed(
    log: auditlog.Log, caplog: pytest.LogCaptureFixture, messages: tuple[dict[str, Any], ...]
) -> None:
    ran: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        ran.append(scope["path"])
        await answering(*messages)(scope, receive, send)

    audited = AuditMiddleware(app, log, fail_closed=True)
    log.close()
    for _ in range(3):
        start, body = call(audited, http("/", (b"x-request-id", b"req-1")))
        assert start["status"] == 503
        assert (b"x-request-id", b"req-1") in start["headers"]
        assert b"could not be recorded" in body["body"]
    assert ran == ["/"], "once the log is gone for good nothing is done any more"
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "log was closed" in errors[0].getMessage()


def test_fail_open(log: auditlog.Log, caplog: pytest.LogCaptureFixture) -> None:
    audited = AuditMiddleware(answering(START, BODY), log)
    log.close()
    for _ in range(3):
        start, body = call(audited, http())
        assert (start["status"], body) == (200, BODY)
    assert [record.name for record in caplog.records] == ["auditlog.bridges"]


class Stalled(auditlog.Log):
    def __init__(self) -> None:
        """Its disk never answers."""

    async def aemit(self, *_args: Any, **_fields: Any) -> Any:
        await asyncio.Event().wait()


@pytest.mark.parametrize(("fail_closed", "status"), [(True, 503), (False, 200)])
def test_a_stalled_disk_holds_no_response_for_ever(
    fail_closed: bool, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    app = AuditMiddleware(answering(START, BODY), Stalled(), fail_closed=fail_closed, timeout=0.01)
    assert call(app, http())[0]["status"] == status
    assert call(app, http())[0]["status"] == status
    assert caplog.messages == ["asgi: events are not recorded: TimeoutError"]


@pytest.mark.parametrize("sent_before", [(), (START,), (START, MORE), (START, BODY)])
@pytest.mark.parametrize("fail_closed", [False, True])
def test_raised(
    log: auditlog.Log,
    written: Written,
    sent_before: tuple[dict[str, Any], ...],
    fail_closed: bool,
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await answering(*sent_before)(scope, receive, send)
        raise KeyError("a body with password hunter2")

    with pytest.raises(KeyError):
        call(AuditMiddleware(app, log, fail_closed=fail_closed), http())
    *before, record = written()
    out_before = sent_before == (START, BODY) or (fail_closed and MORE in sent_before)
    assert [entry["event_type"] for entry in before] == ["http.request"] * out_before
    assert record["event_type"] == ("http.response_failed" if out_before else "http.request")
    assert (record["outcome"], record["severity"]) == ("failure", "error")
    assert record["details"]["exception"] == {"type": "builtins.KeyError"}
    assert record["details"].get("status") == (200 if sent_before else None)


def test_a_request_that_is_canceled_is_recorded(log: auditlog.Log, written: Written) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send(START)
        await send(MORE)
        await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        """It goes nowhere."""

    async def main() -> None:
        audited = AuditMiddleware(app, log)
        task = asyncio.create_task(audited(http(), None, send))  # type: ignore[arg-type]  # never received from
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (record,) = written()
    assert record["severity"] == "warning"
    assert record["details"]["exception"] == {"type": "asyncio.exceptions.CancelledError"}


def test_an_application_that_does_not_answer_is_recorded(
    log: auditlog.Log, written: Written
) -> None:
    assert call(AuditMiddleware(answering(START), log), http())[0]["status"] == 200
    assert call(AuditMiddleware(answering(), log), http()) == []
    assert [record["details"]["incomplete"] for record in written()] == [True, True]


def test_no_content(log: auditlog.Log, written: Written) -> None:
    secrets = [
        (b"authorization", b"Bearer 0123456789abcdefhunter2"),
        (b"cookie", b"session=hunter2"),
        (b"x-correlation-id", b"not valid: hunter2"),
    ]
    sent = call(AuditMiddleware(answering(START, BODY), log), http("/login", *secrets))
    text = b"".join(path.read_bytes() for path in Path(log.directory).glob("*.ndjson"))
    for content in (b"hunter2", b"secret body", b"hello"):
        assert content not in text
    assert b"hunter2" not in sent[0]["headers"][-1][1]


def test_paths_of_any_kind_are_recorded(log: auditlog.Log, written: Written) -> None:
    app = AuditMiddleware(answering(START, BODY), log, fail_closed=True)
    for path in ("/\udc80", "/a\nb\x1b[31m", "/" + "ä" * 60_000, "/a" * 40_000):
        assert call(app, http(path))[0]["status"] == 200
    paths = [record["details"]["path"] for record in written()]
    assert paths[:2] == ["/\\udc80", "/a\nb\\u001b[31m"]
    assert [len(path) for path in paths[2:]] == [1024, 1024]
    assert written()[2]["details"]["path_length"] == 60_001


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ([(b"x-request-id", b"req-1")], "req-1"),
        ([(b"x-correlation-id", b"cor:1")], "cor:1"),
        ([(b"x-correlation-id", b"cor-1"), (b"x-request-id", b"req-1")], "req-1"),
        ([(b"x-request-id", b"bad id"), (b"x-correlation-id", b"cor-1")], "cor-1"),
        ([(b"x-request-id", b"a" * 129)], None),
        ([(b"x-request-id", b"req-1\n")], None),
        ([(b"x-request-id", "ré".encode())], None),
        ([], None),
    ],
)
def test_an_id_that_comes_in_goes_out_and_a_bad_one_is_replaced(
    log: auditlog.Log, written: Written, headers: list[tuple[bytes, bytes]], kept: str | None
) -> None:
    sent = call(AuditMiddleware(answering(START, BODY), log), http("/", *headers))
    name, value = sent[0]["headers"][-1]
    recorded = written()[0]["correlation_id"]
    assert (name, value.decode()) == (b"x-request-id", recorded)
    assert recorded == kept if kept else len(recorded) == 32


def test_an_id_the_application_set_is_left(log: auditlog.Log) -> None:
    own = {**START, "headers": [(b"X-Request-ID", b"mine")]}
    sent = call(AuditMiddleware(answering(own, BODY), log), http("/", (b"x-request-id", b"in")))
    assert sent[0]["headers"] == own["headers"]


def test_the_client_is_found_behind_trusted_proxies_only(
    log: auditlog.Log, written: Written
) -> None:
    header = (b"x-forwarded-for", b"203.0.113.9")
    call(AuditMiddleware(answering(START, BODY), log), http("/", header))
    call(
        AuditMiddleware(answering(START, BODY), log, trusted_proxies=["192.0.2.0/24"]),
        http("/", header),
    )
    call(AuditMiddleware(answering(START, BODY), log), http("/", header, client=None))
    found = [record["details"].get("client_ip") for record in written()]
    assert found == ["192.0.2.7", "203.0.113.9", None]


def test_what_is_emitted_inside_is_bound(log: auditlog.Log, written: Written) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.gather(log.aemit("inside.task"), answering(START, BODY)(scope, receive, send))

    audited = AuditMiddleware(app, log, actor=lambda scope: auditlog.Actor(scope["path"]))

    async def main() -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"type": "http.request"}

        async def send(_message: dict[str, Any]) -> None:
            await asyncio.sleep(0)

        scopes = [http(f"/{n}", (b"x-request-id", f"req-{n}".encode())) for n in range(20)]
        await asyncio.gather(*(audited(scope, receive, send) for scope in scopes))

    asyncio.run(main())
    records = written()
    assert len(records) == 40
    for record in records:
        assert record["correlation_id"] == f"req-{record['actor']['user_id'][1:]}"


async def _async_actor(scope: Scope) -> auditlog.Actor:
    await asyncio.sleep(0)
    return auditlog.Actor("bob", ip="2001:db8::7")


def test_the_actor_may_be_awaited_or_known_only_at_the_end(
    log: auditlog.Log, written: Written
) -> None:
    async def authenticating(scope: Scope, receive: Any, send: Any) -> None:
        scope["user"] = "carol"
        await answering(START, BODY)(scope, receive, send)

    def later(scope: Scope) -> dict[str, str] | None:
        return {"user_id": scope["user"]} if "user" in scope else None

    call(AuditMiddleware(answering(START, BODY), log, actor=_async_actor), http())
    call(AuditMiddleware(authenticating, log, actor=later), http())
    call(AuditMiddleware(answering(START, BODY), log, actor=later), http())
    bob, carol, nobody = written()
    assert bob["actor"] == {"user_id": "bob", "ip": "2001:db8::7"}
    assert carol["actor"] == {"user_id": "carol", "ip": "192.0.2.7"}
    assert "actor" not in nobody


def test_an_actor_callback_that_fails_is_recorded_and_raises(
    log: auditlog.Log, written: Written
) -> None:
    def broken(_scope: Scope) -> None:
        raise LookupError("hunter2")

    with pytest.raises(LookupError):
        call(AuditMiddleware(answering(START, BODY), log, actor=broken), http())
    assert written()[0]["details"]["exception"] == {"type": "builtins.LookupError"}


def test_an_actor_callback_that_fails_at_the_end_is_recorded_and_raises(
    log: auditlog.Log, written: Written
) -> None:
    asked: list[Scope] = []

    def broken(scope: Scope) -> None:
        asked.append(scope)
        if len(asked) > 1:
            raise LookupError("hunter2")

    with pytest.raises(LookupError):
        call(AuditMiddleware(answering(START, BODY), log, actor=broken), http())
    (record,) = written()
    assert record["event_type"] == "http.request"
    assert record["details"]["exception"] == {"type": "builtins.LookupError"}


def test_what_is_skipped_leaves_no_record(log: auditlog.Log, written: Written) -> None:
    app = AuditMiddleware(
        answering(START, BODY), log, skip=lambda scope: scope["path"] == "/healthz"
    )
    assert call(app, http("/healthz")) == [START, BODY]
    assert written() == []


ACCEPT = {"type": "websocket.accept"}
CONNECT = {"type": "websocket.connect"}
DISCONNECT = {"type": "websocket.disconnect", "code": 1001}


async def _talking(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send(ACCEPT)
    await send({"type": "websocket.send", "text": "hello"})
    await receive()


def test_a_connection_is_recorded_when_it_opens_and_when_it_closes(
    log: auditlog.Log, written: Written
) -> None:
    app = AuditMiddleware(_talking, log)
    sent = call(app, websocket((b"x-request-id", b"req-1")), CONNECT, DISCONNECT)
    assert sent[0]["headers"] == [(b"x-request-id", b"req-1")]
    opened, closed = written()
    assert (opened["event_type"], closed["event_type"]) == ("websocket.opened", "websocket.closed")
    assert closed["details"]["close_code"] == 1001
    assert closed["details"]["path"] == "/live"
    assert {opened["correlation_id"], closed["correlation_id"]} == {"req-1"}
    assert "method" not in opened["details"]


@pytest.mark.parametrize(
    ("refusal", "details"),
    [
        ({"type": "websocket.close", "code": 1008}, {}),
        ({"type": "websocket.http.response.start", "status": 403}, {"status": 403}),
        (None, {"incomplete": True}),
    ],
)
def test_a_connection_that_is_refused_is_recorded_once(
    log: auditlog.Log, written: Written, refusal: dict[str, Any] | None, details: dict[str, Any]
) -> None:
    messages = [] if refusal is None else [refusal]
    call(AuditMiddleware(answering(*messages), log, fail_closed=True), websocket(), CONNECT)
    (record,) = written()
    assert (record["event_type"], record["outcome"]) == ("websocket.opened", "failure")
    assert details.items() <= record["details"].items()


@pytest.mark.parametrize("accepted", [False, True])
def test_an_exception_in_a_connection_is_recorded_and_raised(
    log: auditlog.Log, written: Written, accepted: bool
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if accepted:
            await send(ACCEPT)
        raise KeyError

    with pytest.raises(KeyError):
        call(AuditMiddleware(app, log), websocket(), CONNECT)
    record = written()[-1]
    assert record["event_type"] == ("websocket.closed" if accepted else "websocket.opened")
    assert record["details"]["exception"] == {"type": "builtins.KeyError"}


@pytest.mark.parametrize("extension", [False, True])
def test_fail_closed_refuses_a_connection(log: auditlog.Log, extension: bool) -> None:
    extensions = {"websocket.http.response": {}} if extension else {}
    log.close()
    app = AuditMiddleware(_talking, log, fail_closed=True)
    sent = call(app, websocket(extensions=extensions), CONNECT, DISCONNECT)
    if extension:
        assert [part.get("status") for part in sent] == [503, None]
    else:
        assert sent == [{"type": "websocket.close", "code": 1013}]


def lifespan(app: Callable[..., Awaitable[None]]) -> list[str]:
    sent = call(
        app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
    )
    return [message["type"] for message in sent]


async def _living(scope: Scope, receive: Any, send: Any) -> None:
    for _ in range(2):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


def test_a_log_that_the_middleware_opens_lives_as_long_as_the_application(tmp_path: Path) -> None:
    opened: list[auditlog.Log] = []

    def open_log() -> auditlog.Log:
        opened.append(auditlog.open(tmp_path, service="queen-rbee", host="hive1"))
        return opened[0]

    assert lifespan(AuditMiddleware(_living, open_log)) == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    with pytest.raises(auditlog.LogClosed):
        opened[0].emit("too.late")


def test_a_log_that_cannot_be_opened_stops_the_start(tmp_path: Path, log: auditlog.Log) -> None:
    def open_log() -> auditlog.Log:
        return auditlog.open(log.directory, service="queen-rbee", host="hive1")

    with pytest.raises(auditlog.LogLocked):
        lifespan(AuditMiddleware(_living, open_log))


def test_a_log_that_was_given_is_not_closed(log: auditlog.Log) -> None:
    assert len(lifespan(AuditMiddleware(_living, log))) == 2
    log.emit("still.open")


def test_without_lifespan_the_log_is_opened_at_the_first_request(tmp_path: Path) -> None:
    opened: list[auditlog.Log] = []

    def open_log() -> auditlog.Log:
        opened.append(auditlog.open(tmp_path, service="queen-rbee", host="hive1"))
        return opened[0]

    app = AuditMiddleware(answering(START, BODY), open_log)
    call(app, http())
    call(app, http())
    opened.pop().close()
    assert opened == []


def test_wrong_options_are_refused(log: auditlog.Log) -> None:
    with pytest.raises(ValueError, match="correlation_headers"):
        AuditMiddleware(answering(), log, correlation_headers=[])
    with pytest.raises(ValueError, match="nowhere"):
        AuditMiddleware(answering(), log, trusted_proxies=["nowhere"])
