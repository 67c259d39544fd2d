"""Record every request of a Django project, under WSGI and ASGI.

    # settings.py
    MIDDLEWARE = ["auditlog.bridges.django.AuditMiddleware", ...]   # first
    AUDITLOG = {"log": "project.audit.open_log", "fail_closed": True}

``log`` is a function that opens the log, or its dotted path; it is called at the first request of
each worker.  Other keys: ``actor`` (a function of the request, or its path; by default the user
that is logged in), ``correlation_headers``, ``trusted_proxies``, ``skip`` (of the request) and
``fail_closed``.

    http.request     one per request: method, path, route, status, duration_ms, client_ip

The record is durable before the response leaves Django; of a streaming one before its first byte.
Everything emitted while a view runs is bound to its actor and correlation id.

Invariants (tests of the same name in tests/auditlog/bridges/test_django.py):
  answered      no response leaves whose record is not durable, if there is a log
  fail_closed   with fail_closed a response that cannot be recorded becomes a 503
  bound         what a view emits has the request's actor and correlation id, sync or async
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from auditlog.bridges.client_address import TrustedProxies
from auditlog.bridges.http_request import NOT_RECORDED, chosen_id, judged, path_details
from auditlog.bridges.log_source import LogSource
from auditlog.bridges.outage import Outage
from auditlog.errors import AuditLogError, InvalidOption
from auditlog.events.actor import Actor, as_actor
from auditlog.events.context import bind, bind_context

__all__ = ["AuditMiddleware", "user_of"]

_KEYS: Final = frozenset(
    {"log", "actor", "correlation_headers", "trusted_proxies", "skip", "fail_closed"}
)


def user_of(request: HttpRequest) -> Actor | None:
    """Return the user that is logged in, None for an anonymous one."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    return Actor(str(user.pk), name=user.get_username(), auth_method="session")


class AuditMiddleware:
    """Records every request; see the module.  Raises InvalidOption for strange settings."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        options = dict(getattr(settings, "AUDITLOG", {}))
        if "log" not in options or not _KEYS.issuperset(options):
            raise InvalidOption(
                f"settings.AUDITLOG needs log and knows {', '.join(sorted(_KEYS))};"
                f" it has {', '.join(sorted(options)) or 'nothing'}"
            )
        self.get_response = get_response
        self._source = LogSource(_called(options["log"]))
        self._actor = _called(options.get("actor", user_of))
        self._skip = _called(options.get("skip", lambda _request: False))
        self._headers = tuple(options.get("correlation_headers", ("x-request-id",)))
        self._proxies = TrustedProxies(options.get("trusted_proxies", ()))
        self._fail_closed = bool(options.get("fail_closed", False))
        self._outage = Outage("django")
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._skip(request):
            return self.get_response(request)
        began = time.perf_counter()
        correlation_id = chosen_id(request.headers.get(name) for name in self._headers)
        if self._is_async:
            return self._handle_async(request, began, correlation_id)
        with bind(correlation_id=correlation_id):
            response = self.get_response(request)
            if not self._emitted(*self._event(request, response, began)) and self._fail_closed:
                response = _refusal()
        response.headers.setdefault(self._headers[0], correlation_id)
        return response

    async def _handle_async(
        self, request: HttpRequest, began: float, correlation_id: str
    ) -> HttpResponseBase:
        with bind(correlation_id=correlation_id):
            response: HttpResponseBase = await self.get_response(request)
            event_type, fields = self._event(request, response, began)
            try:
                log = self._source.get()
                await log.aemit(event_type, **fields)
            except (AuditLogError, OSError) as error:
                self._lost(error)
                if self._fail_closed:
                    response = _refusal()
            else:
                self._recorded()
        response.headers.setdefault(self._headers[0], correlation_id)
        return response

    def process_view(self, request: HttpRequest, *_view: object) -> None:
        """Bind the actor, now that the authentication middleware has run."""
        if (actor := self._who(request)) is not None:
            bind_context(actor=actor)

    def _who(self, request: HttpRequest) -> Actor | None:
        who = self._actor(request)
        if who is None:
            return None
        actor = as_actor(who)
        return actor if actor.ip is not None else replace(actor, ip=self._client_ip(request))

    def _client_ip(self, request: HttpRequest) -> str | None:
        forwarded = request.headers.get("x-forwarded-for")
        peer = request.META.get("REMOTE_ADDR")
        return self._proxies.client(peer, [forwarded] if forwarded else [])

    def _event(
        self, request: HttpRequest, response: HttpResponseBase, began: float
    ) -> tuple[str, dict[str, Any]]:
        outcome, severity = judged(response.status_code)
        match = request.resolver_match
        details = {
            "method": str(request.method)[:32],
            **path_details(request.path),
            "route": None if match is None else match.route,
            "client_ip": self._client_ip(request),
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - began) * 1000, 3),
            "streamed": True if response.streaming else None,
        }
        return "http.request", {
            "actor": self._who(request),
            "outcome": outcome,
            "severity": severity,
            "details": {name: value for name, value in details.items() if value is not None},
        }

    def _emitted(self, event_type: str, fields: dict[str, Any]) -> bool:
        try:
            self._source.get().emit(event_type, durable=True, **fields)
        except (AuditLogError, OSError) as error:
            self._lost(error)
            return False
        self._recorded()
        return True

    def _lost(self, error: Exception) -> None:
        self._source.lost(error)
        self._outage.lost(error)

    def _recorded(self) -> None:
        self._source.recorded()
        self._outage.recorded()


def _called(given: Any) -> Any:
    """The function itself, or that of a dotted path."""
    return import_string(given) if isinstance(given, str) else given


def _refusal() -> HttpResponse:
    return HttpResponse(NOT_RECORDED, status=503, content_type="text/plain; charset=utf-8")
