"""Authorize requests by bearer token, scope and rate limit, and record each refusal.

The actor of everything a request does is bound here, inside auditlog's middleware, which has bound
the correlation id.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from auditlog import Actor, bind, events
from rbee.tokens import Tokens, TokensUnreadable, fingerprint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from rbee.settings import Settings
    from rbee.tokens import Holder
    from rbee.trail import Trail

__all__ = ["OPEN_PATHS", "Gate"]

OPEN_PATHS = frozenset({"/metrics", "/healthz", "/readyz"})
"""Asked every few seconds by machines on the same host: no token, no record."""

_ANONYMOUS = Actor("anonymous")
_MYSELF = Actor("token-file", auth_method="internal")


class Gate:
    """ASGI middleware; ``scopes`` says which scope the method and path of a request need."""

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        settings: Settings,
        trail: Trail,
        scopes: Callable[[str, str], str],
    ) -> None:
        self._app = app
        self._trail = trail
        self._scopes = scopes
        self._limit = settings.rate_limit
        self._tokens = Tokens(settings.tokens_file)
        self._recent: dict[str, deque[float]] = defaultdict(deque)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        ip = (scope.get("client") or ("127.0.0.1",))[0]
        try:
            await self._refresh()
        except TokensUnreadable:
            await _answer(503, "the service cannot check tokens")(scope, receive, send)
            return
        token = _bearer(scope)
        holder = self._tokens.holder(token) if token else None
        if holder is None:
            await self._trail.record(_refusal(token, ip, scope["path"]))
            await _answer(401, "a valid bearer token is needed")(scope, receive, send)
            return
        actor = Actor(
            holder.user_id, ip=ip, auth_method="bearer_token", session_id=holder.fingerprint
        )
        scope["rbee.actor"] = actor
        with bind(actor=actor):
            refusal = self._forbidden(holder, scope) or self._too_many(holder, ip, scope["path"])
            if refusal is not None:
                event, status, reason = refusal
                await self._trail.record(event)
                await _answer(status, reason)(scope, receive, send)
                return
            await self._app(scope, receive, send)

    async def _refresh(self) -> None:
        """Read the tokens; a change of the file is a change of what people may do."""
        added, gone = self._tokens.refresh()
        with bind(actor=_MYSELF):
            for holder in added:
                await self._trail.record(
                    events.TokenCreated(
                        token_fingerprint=holder.fingerprint,
                        scope=sorted(holder.scopes),
                        details={"user_id": holder.user_id},
                    )
                )
            for holder in gone:
                await self._trail.record(
                    events.TokenRevoked(
                        token_fingerprint=holder.fingerprint, revoked_from=holder.user_id
                    )
                )

    def _forbidden(self, holder: Holder, scope: Any) -> tuple[events.Event, int, str] | None:
        needed = self._scopes(scope["method"], scope["path"])
        if needed in holder.scopes:
            return None
        event = events.AuthorizationDenied(
            action=f"{scope['method']} {scope['path'][:200]}", reason=f"scope {needed} is missing"
        )
        return event, 403, f"the scope {needed} is needed"

    def _too_many(self, holder: Holder, ip: str, path: str) -> tuple[events.Event, int, str] | None:
        now, recent = time.monotonic(), self._recent[holder.user_id]
        while recent and now - recent[0] > 1.0:
            recent.popleft()
        recent.append(now)
        if len(recent) <= self._limit:
            return None
        event = events.RateLimitExceeded(
            ip=ip, endpoint=path[:200], limit=self._limit, actual=len(recent), window_seconds=1
        )
        return event, 429, f"{self._limit} requests a second are allowed"


def _bearer(scope: Any) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if kind.lower() == "bearer" else ""
    return ""


def _refusal(token: str, ip: str, path: str) -> events.Event:
    if not token:
        return events.AuthFailure(
            ip=ip, path=path[:200], actor=_ANONYMOUS, reason="no bearer token was shown"
        )
    return events.InvalidTokenUsed(
        ip=ip, endpoint=path[:200], token_prefix=fingerprint(token), actor=_ANONYMOUS
    )


def _answer(status: int, reason: str) -> JSONResponse:
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": reason}, status, headers)
