"""Follow one ASGI request or WebSocket connection from its start to its recorded event.

Part of the ASGI middleware; its promises are listed in auditlog.bridges.asgi.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, Literal, Protocol, TypeAlias

from auditlog.bridges.http_request import (
    NOT_RECORDED,
    exception_type,
    judged,
    path_details,
)
from auditlog.events.actor import Actor, Outcome, Severity

__all__ = [
    "HttpExchange",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "WebSocketExchange",
    "headers_of",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_BODY: Final = frozenset({"http.response.body", "http.response.zerocopysend"})
_WHOLE_BODY: Final = frozenset({"http.response.pathsend"})
_WEBSOCKET_ANSWERS: Final = frozenset(
    {"websocket.accept", "websocket.close", "websocket.http.response.start"}
)
_TRY_AGAIN_LATER: Final = 1013  # close code, registered with IANA for RFC 6455


class Audit(Protocol):
    """The part of the middleware that an exchange calls."""

    fail_closed: bool

    async def actor_of(self, scope: Scope, client_ip: str | None) -> Actor | None:
        """Return the actor, or None when it is unknown."""
        ...

    async def record(
        self,
        event_type: str,
        *,
        actor: Actor | None,
        outcome: Outcome,
        severity: Severity,
        details: Mapping[str, Any],
    ) -> bool:
        """Whether the event is durable."""
        ...


class _Exchange:
    """State of one request or connection, and whether it was refused."""

    def __init__(
        self,
        audit: Audit,
        scope: Scope,
        send: Send,
        client_ip: str | None,
        id_header: tuple[bytes, str],
    ) -> None:
        self._audit = audit
        self._scope = scope
        self._send = send
        self._client_ip = client_ip
        self._id_header = id_header
        self._started = time.perf_counter()
        self._refused = False
        self._actor: Actor | None = None
        self._ask_again = False

    def knows(self, actor: Actor | None) -> None:
        """Set the actor determined before the application ran; None is asked again afterwards."""
        self._actor = actor
        self._ask_again = actor is None

    def receiver(self, receive: Receive) -> Receive:
        """Wrap the ``receive`` callable for the application."""
        return receive

    async def send(self, message: Message) -> None:
        """Wrap the ``send`` callable for the application."""
        raise NotImplementedError

    async def end(self) -> None:
        """The application returned."""
        raise NotImplementedError

    async def fail(self, error: BaseException) -> None:
        """The application raised."""
        raise NotImplementedError

    async def refuse(self) -> None:
        """Answer 503 for a request without a record, and ignore what the application sends."""
        raise NotImplementedError

    async def _ask_for_actor(self) -> None:
        if self._ask_again:
            self._ask_again = False  # first: it may raise, and what it raises is recorded, too
            self._actor = await self._audit.actor_of(self._scope, self._client_ip)

    async def _record(
        self, event_type: str, outcome: Outcome, severity: Severity, **details: Any
    ) -> bool:
        await self._ask_for_actor()
        scope = self._scope
        known = {
            "method": str(scope["method"])[:32] if "method" in scope else None,
            **path_details(str(scope.get("path", ""))),
            "route": getattr(scope.get("route"), "path", None),
            "client_ip": self._client_ip,
            "duration_ms": round((time.perf_counter() - self._started) * 1000, 3),
            **details,
        }
        return await self._audit.record(
            event_type,
            actor=self._actor,
            outcome=outcome,
            severity=severity,
            details={name: value for name, value in known.items() if value is not None},
        )

    def _with_id(self, message: Message) -> Message:
        name, value = self._id_header
        headers = [*message.get("headers", ())]
        if all(bytes(header[0]).lower() != name for header in headers):
            headers.append((name, value.encode("ascii")))
        return {**message, "headers": headers}


class HttpExchange(_Exchange):
    """Hold the response's start back until its first body, as ASGI servers do."""

    _start: Message | None = None
    _status: int | None = None
    _recorded = _ended = False

    async def send(self, message: Message) -> None:
        if self._refused:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self._start = self._with_id(message)
            self._status = message["status"]
            return
        if kind in _BODY or kind in _WHOLE_BODY:
            last = kind in _WHOLE_BODY or not message.get("more_body", False)
            # Once a part went out, a response can no longer become a 503: recorded before.
            if (last or self._audit.fail_closed) and not self._recorded:
                recorded = await self._record_response(streamed=None if last else True)
                if not recorded and self._audit.fail_closed:
                    await self.refuse()
                    return
            self._ended = self._ended or last
            await self._send_start()
        await self._send(message)

    async def end(self) -> None:
        if self._refused:
            return
        if not self._recorded:
            await self._record_response(incomplete=True)
        await self._send_start()

    async def fail(self, error: BaseException) -> None:
        canceled = isinstance(error, asyncio.CancelledError)
        if canceled and self._ended:
            return  # the server ignores what the application sends after its answer
        event_type = "http.response_failed" if self._recorded else "http.request"
        self._recorded = True
        await self._record(
            event_type,
            "failure",
            "warning" if canceled else "error",
            status=self._status,
            exception=exception_type(error),
        )

    async def refuse(self) -> None:
        self._refused = True
        start = {
            "type": "http.response.start",
            "status": 503,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(NOT_RECORDED)).encode("ascii")),
            ],
        }
        await self._send(self._with_id(start))
        await self._send({"type": "http.response.body", "body": NOT_RECORDED})

    async def _send_start(self) -> None:
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(start)

    async def _record_response(self, **details: Literal[True] | None) -> bool:
        await self._ask_for_actor()
        self._recorded = True
        outcome, severity = judged(self._status)
        return await self._record("http.request", outcome, severity, status=self._status, **details)


class WebSocketExchange(_Exchange):
    """Record a WebSocket connection when it is answered and when it ends."""

    _accepted: bool | None = None
    _close_code: int | None = None

    def receiver(self, receive: Receive) -> Receive:
        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect" and self._close_code is None:
                self._close_code = message.get("code", 1005)
            return message

        return receiving

    async def send(self, message: Message) -> None:
        if self._refused:
            return
        kind = message["type"]
        if kind == "websocket.close":
            self._close_code = message.get("code", 1000)
        if self._accepted is None and kind in _WEBSOCKET_ANSWERS:
            self._accepted = kind == "websocket.accept"
            recorded = await self._record_answer(status=message.get("status"))
            if not recorded and self._accepted and self._audit.fail_closed:
                await self.refuse()
                return
            if kind != "websocket.close":
                message = self._with_id(message)
        await self._send(message)

    async def end(self) -> None:
        if self._refused:
            return
        if self._accepted:
            await self._record("websocket.closed", "success", "info", close_code=self._close_code)
        elif self._accepted is None:
            await self._record_answer(incomplete=True)

    async def fail(self, error: BaseException) -> None:
        await self._record(
            "websocket.closed" if self._accepted else "websocket.opened",
            "failure",
            "warning" if isinstance(error, asyncio.CancelledError) else "error",
            close_code=self._close_code,
            exception=exception_type(error),
        )

    async def refuse(self) -> None:
        self._refused = True
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
            return
        start = {"type": "websocket.http.response.start", "status": 503, "headers": []}
        await self._send(self._with_id(start))
        await self._send({"type": "websocket.http.response.body", "body": NOT_RECORDED})

    async def _record_answer(self, **details: Any) -> bool:
        return await self._record(
            "websocket.opened",
            "success" if self._accepted else "failure",
            "info" if self._accepted else "warning",
            **details,
        )


def headers_of(scope: Scope, wanted: bytes) -> list[str]:
    """Return the values of a header; ``name`` is in lower case."""
    return [
        bytes(value).decode("latin-1")
        for name, value in scope.get("headers", ())
        if bytes(name).lower() == wanted
    ]
