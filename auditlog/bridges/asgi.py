"""Record every request and WebSocket connection of an ASGI application.

    app = AuditMiddleware(app, lambda: auditlog.open(…), actor=actor_of)

    http.request            one per request: method, path, route, status, duration_ms, client_ip
    http.response_failed    an exception after that record was made
    websocket.opened        before a connection is accepted (outcome failure: it was refused)
    websocket.closed        when an accepted one ends: close_code, duration_ms

The record is durable before the client has the whole response, so a request that was answered is
in the log.  Everything emitted while a request is handled is bound to its actor and correlation id.
Bodies, query strings, and headers other than the two that carry ids and addresses are never read.

Invariants (tests of the same name in tests/auditlog/bridges/test_asgi.py):
  answered      no client gets the end of a response whose record is not durable, if there is a log
  fail_closed   with fail_closed=True nothing of a response that cannot be recorded goes out: 503
  fail_open     without, the response goes out and the failure is said once
  raised        an exception of the application is recorded and goes on to the server
  no_content    nothing of a query string or a body is recorded
"""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from auditlog.bridges.asgi_exchange import (
    HttpExchange,
    Message,
    Receive,
    Scope,
    Send,
    WebSocketExchange,
    headers_of,
)
from auditlog.bridges.client_address import TrustedProxies
from auditlog.bridges.http_request import ActorLike, chosen_id
from auditlog.bridges.log_source import GivenLog, LogSource
from auditlog.bridges.outage import Outage
from auditlog.errors import AuditLogError, InvalidOption, LogFailed
from auditlog.events.actor import Actor, Outcome, Severity, as_actor
from auditlog.events.context import bind
from auditlog.writer.log import Log

__all__ = ["AuditMiddleware"]

App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class AuditMiddleware:
    """Records every HTTP request and WebSocket connection of an ASGI application.

    log                   an open log, or what opens one: called in each worker when it starts (or
                          at its first request), and then closed with the application's lifespan
    actor                 from the scope, who acts: an Actor, a mapping, None, or an awaitable of
                          these.  Asked before the application runs, and once more at the end where
                          it said None before: authentication further inside may know by then
    correlation_headers   where an id may come in; the first is also where it goes out.  An id that
                          is not plain ASCII of at most 128 characters is replaced by a new one
    trusted_proxies       whose X-Forwarded-For is believed: networks, addresses, "unix"
    skip                  says of a scope that it needs no record, such as a health check
    fail_closed           answer 503 rather than without a record
    timeout               how long a response waits for its record (seconds)

    Raises InvalidOption.  It needs asyncio.
    """

    def __init__(
        self,
        app: App,
        log: GivenLog,
        *,
        actor: Callable[[Scope], ActorLike | Awaitable[ActorLike]] | None = None,
        correlation_headers: Iterable[str] = ("x-request-id", "x-correlation-id"),
        trusted_proxies: Iterable[str] = (),
        skip: Callable[[Scope], bool] | None = None,
        fail_closed: bool = False,
        timeout: dt.timedelta | float = 10.0,
    ) -> None:
        self.app = app
        self._source = LogSource(log)
        self._actor = actor
        self._id_headers = tuple(name.lower().encode("ascii") for name in correlation_headers)
        if not self._id_headers:
            raise InvalidOption("correlation_headers is empty", hint="Name at least one.")
        self._proxies = TrustedProxies(trusted_proxies)
        self._skip = skip
        self.fail_closed = fail_closed
        self._timeout = timeout.total_seconds() if isinstance(timeout, dt.timedelta) else timeout
        self._outage = Outage("asgi")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
        elif kind not in ("http", "websocket") or (self._skip is not None and self._skip(scope)):
            await self.app(scope, receive, send)
        else:
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = HttpExchange if scope["type"] == "http" else WebSocketExchange
        correlation_id = self._correlation_id(scope)
        client_ip = self._client_ip(scope)
        exchange = kind(self, scope, send, client_ip, (self._id_headers[0], correlation_id))
        if self.fail_closed and self._source.down:
            self._outage.lost(LogFailed("the log takes no more events"))
            await exchange.refuse()
            return
        with bind(correlation_id=correlation_id):
            try:
                actor = await self.actor_of(scope, client_ip)
                with bind(actor=actor):
                    exchange.knows(actor)
                    await self.app(scope, exchange.receiver(receive), exchange.send)
                    await exchange.end()
            except BaseException as error:
                await exchange.fail(error)
                raise

    async def actor_of(self, scope: Scope, client_ip: str | None) -> Actor | None:
        """Return the actor with the client's address; None when it is not known (yet)."""
        if self._actor is None:
            return None
        who = self._actor(scope)
        if inspect.isawaitable(who):
            who = await who
        if who is None:
            return None
        actor = as_actor(who)
        return actor if actor.ip is not None else replace(actor, ip=client_ip)

    async def record(
        self,
        event_type: str,
        *,
        actor: Actor | None,
        outcome: Outcome,
        severity: Severity,
        details: Mapping[str, Any],
    ) -> bool:
        """Record an event; return whether it is durable.  A failure is logged."""
        try:
            async with asyncio.timeout(self._timeout):
                await (await self._log()).aemit(
                    event_type, actor=actor, outcome=outcome, severity=severity, details=details
                )
        except (AuditLogError, OSError) as error:  # a TimeoutError is an OSError, too
            self._source.lost(error)
            self._outage.lost(error)
            return False
        self._source.recorded()
        self._outage.recorded()
        return True

    async def _log(self) -> Log:
        """Return the log; opening it again does not block the event loop."""
        if self._source.ready or self._source.current is None:
            return self._source.get()
        return await asyncio.to_thread(self._source.get)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def opening() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup" and self._source.opens:
                self._source.get()  # a log that cannot be opened must stop the start
            return message

        async def closing(message: Message) -> None:
            log = self._source.current
            if message["type"].startswith("lifespan.shutdown.") and log is not None:
                try:
                    if self._source.opens:
                        self._source.close()
                    else:
                        # Servers end with the signal that stopped them, which runs no exit handler;
                        # the owner of the log may still close it.
                        await asyncio.to_thread(log.flush)
                except AuditLogError as error:
                    self._outage.lost(error)
            await send(message)

        await self.app(scope, opening, closing)

    def _correlation_id(self, scope: Scope) -> str:
        return chosen_id(
            value for wanted in self._id_headers for value in headers_of(scope, wanted)
        )

    def _client_ip(self, scope: Scope) -> str | None:
        client = scope.get("client")
        peer = client[0] if client else None
        return self._proxies.client(peer, headers_of(scope, b"x-forwarded-for"))
