"""Record every request of a WSGI application (Flask, Pyramid, any other).

    app = AuditMiddleware(app, lambda: auditlog.open(...), actor=actor_of)

    http.request            one per request: method, path, status, duration_ms, client_ip
    http.response_failed    an exception after that record was made

The record is durable before the client has the whole response.  Everything emitted while a request
is handled is bound to its actor and correlation id, in whichever of the server's threads.

Invariants (tests of the same name in tests/auditlog/bridges/test_wsgi.py):
  answered      no client gets the end of a response whose record is not durable, if there is a log
  fail_closed   with fail_closed=True nothing of a response that cannot be recorded goes out: 503
  fail_open     without, the response goes out and the failure is said once
  raised        an exception of the application is recorded and goes on to the server
  no_content    nothing of a query string or a body is recorded
"""

from __future__ import annotations

import contextvars
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from auditlog.bridges.client_address import TrustedProxies
from auditlog.bridges.http_request import (
    NOT_RECORDED,
    ActorLike,
    chosen_id,
    exception_type,
    judged,
    path_details,
)
from auditlog.bridges.log_source import GivenLog, LogSource
from auditlog.bridges.outage import Outage
from auditlog.errors import AuditLogError, InvalidOption
from auditlog.events.actor import Actor, as_actor
from auditlog.events.context import bind_context

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["AuditMiddleware"]

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]


class AuditMiddleware:
    """Records every HTTP request of a WSGI application.

    log                   an open log, or a function that opens one: called at the first request of
                          each worker
    actor                 from the environ, who acts: an Actor, a mapping, an id, or None; asked
                          before the application runs, and at the end where it said None before
    correlation_headers   where an id may come in; the first is also where it goes out
    trusted_proxies       whose X-Forwarded-For is believed: networks, addresses, "unix"
    skip                  says of an environ that it needs no record, such as a health check
    fail_closed           answer 503 rather than without a record

    Raises InvalidOption.
    """

    def __init__(
        self,
        app: Callable[[Environ, StartResponse], Iterable[bytes]],
        log: GivenLog,
        *,
        actor: Callable[[Environ], ActorLike] | None = None,
        correlation_headers: Iterable[str] = ("x-request-id", "x-correlation-id"),
        trusted_proxies: Iterable[str] = (),
        skip: Callable[[Environ], bool] | None = None,
        fail_closed: bool = False,
    ) -> None:
        self.app = app
        self.source = LogSource(log)
        self._actor = actor
        self.id_headers = tuple(correlation_headers)
        if not self.id_headers:
            raise InvalidOption("correlation_headers is empty", hint="Name at least one.")
        self._proxies = TrustedProxies(trusted_proxies)
        self._skip = skip
        self.fail_closed = fail_closed
        self._outage = Outage("wsgi")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if self._skip is not None and self._skip(environ):
            return self.app(environ, start_response)
        return _Response(self, environ, start_response)

    def client_ip(self, environ: Environ) -> str | None:
        """Return the client's address, None when it is unknown."""
        forwarded = environ.get("HTTP_X_FORWARDED_FOR")
        return self._proxies.client(environ.get("REMOTE_ADDR"), [forwarded] if forwarded else [])

    def actor_of(self, environ: Environ, client_ip: str | None) -> Actor | None:
        """Return the actor with the client's address; None when it is not known (yet)."""
        who = None if self._actor is None else self._actor(environ)
        if who is None:
            return None
        actor = as_actor(who)
        return actor if actor.ip is not None else replace(actor, ip=client_ip)

    def record(self, event_type: str, **fields: Any) -> bool:
        """Record an event; return whether it is durable.  A failure is logged."""
        try:
            self.source.get().emit(event_type, durable=True, **fields)
        except (AuditLogError, OSError) as error:
            self.source.lost(error)
            self._outage.lost(error)
            return False
        self.source.recorded()
        self._outage.recorded()
        return True


class _Response(Iterator[bytes]):
    """Runs the application in a context of its own, and holds back its last chunk.

    The context is the request's alone: a server's thread handles another request in between.
    """

    def __init__(
        self, audit: AuditMiddleware, environ: Environ, start_response: StartResponse
    ) -> None:
        self._audit = audit
        self._environ = environ
        self._start_response = start_response
        self._began = time.perf_counter()
        self._client_ip = audit.client_ip(environ)
        self._correlation_id = chosen_id(
            environ.get(f"HTTP_{name.upper().replace('-', '_')}") for name in audit.id_headers
        )
        self._context = contextvars.copy_context()
        self._start: tuple[Any, ...] | None = None
        self._status: int | None = None
        self._started = self._recorded = self._refused = False
        self._body: Iterator[bytes] = iter(())
        self._result: Iterable[bytes] = ()
        self._next: bytes | None = None
        if audit.fail_closed and audit.source.down:
            self._refuse()
        else:
            self._guarded(self._run)

    def _run(self) -> None:
        bind_context(correlation_id=self._correlation_id)
        self._actor = self._audit.actor_of(self._environ, self._client_ip)
        if self._actor is not None:
            bind_context(actor=self._actor)
        self._result = self._audit.app(self._environ, self._start_held)
        self._body = iter(self._result)
        self._next = next(self._body, None)

    def _start_held(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: tuple[type[BaseException], BaseException, TracebackType] | None = None,
    ) -> Callable[[bytes], object]:
        if exc_info is not None and self._started:
            raise exc_info[1].with_traceback(exc_info[2])
        name = self._audit.id_headers[0]
        if all(header.lower() != name.lower() for header, _ in headers):
            headers = [*headers, (name, self._correlation_id)]
        self._start = (status, headers)
        self._status = int(status[:3])
        return self._write

    def _write(self, chunk: bytes) -> None:
        """Send bytes at once: the ``write`` callable that PEP 3333 keeps for old applications."""
        if not self._recorded:
            self._record(streamed=True)
        if not self._refused:
            self._send_start()(chunk)

    def __next__(self) -> bytes:
        chunk = self._next
        if chunk is None:
            if not self._recorded and not self._refused:
                self._guarded(self._record)  # a response without a body
                if self._refused:
                    return self.__next__()
            if not self._started and self._start is not None:
                self._send_start()
            raise StopIteration
        if self._refused:
            self._next = None
            return chunk
        self._next = self._guarded(lambda: next(self._body, None))
        last = self._next is None
        if not self._recorded and (last or self._audit.fail_closed):
            self._guarded(lambda: self._record(streamed=None if last else True))
            if self._refused:
                return self.__next__()
        self._send_start()
        return chunk

    def close(self) -> None:
        if (close := getattr(self._result, "close", None)) is not None:
            self._context.run(close)
        if not self._recorded and not self._refused:
            self._guarded(lambda: self._record(incomplete=True))

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Run in the request's context; an exception is recorded and goes on to the server."""
        try:
            return self._context.run(step)
        except Exception as error:
            event_type = "http.response_failed" if self._recorded else "http.request"
            self._recorded = True
            self._context.run(
                self._emit, event_type, "failure", "error", exception=exception_type(error)
            )
            raise

    def _record(self, **details: Any) -> None:
        self._recorded = True
        outcome, severity = judged(self._status)
        if not self._emit("http.request", outcome, severity, **details) and self._audit.fail_closed:
            self._refuse()

    def _emit(self, event_type: str, outcome: str, severity: str, **details: Any) -> bool:
        actor = getattr(self, "_actor", None)
        if actor is None:
            actor = self._audit.actor_of(self._environ, self._client_ip)
        environ = self._environ
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        known = {
            "method": str(environ.get("REQUEST_METHOD", ""))[:32],
            **path_details(path.encode("latin-1", "replace").decode("utf-8", "backslashreplace")),
            "client_ip": self._client_ip,
            "status": self._status,
            "duration_ms": round((time.perf_counter() - self._began) * 1000, 3),
            **details,
        }
        return self._audit.record(
            event_type,
            actor=actor,
            outcome=outcome,
            severity=severity,
            details={name: value for name, value in known.items() if value is not None},
        )

    def _send_start(self) -> Callable[[bytes], object]:
        if self._started or self._start is None:
            return lambda _chunk: None
        self._started = True
        return self._start_response(*self._start)

    def _refuse(self) -> None:
        self._refused = self._started = True
        headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(NOT_RECORDED))),
            (self._audit.id_headers[0], self._correlation_id),
        ]
        self._start_response("503 Service Unavailable", headers, sys.exc_info() or None)
        self._next = NOT_RECORDED
