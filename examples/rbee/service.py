"""Build and serve an application: the part that both services share."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from auditlog.bridges.asgi import AuditMiddleware
from auditlog.bridges.prometheus import LogCollector
from rbee.gate import OPEN_PATHS, Gate
from rbee.trail import Trail, Unrecorded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from prometheus_client import CollectorRegistry
    from starlette.requests import Request

    from rbee.settings import Settings

    App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

__all__ = ["App", "BadRequest", "body_of", "compose", "integer", "refused", "serve", "text"]


class BadRequest(Exception):
    """The request's body is not what it has to be; the text says what that is."""


def compose(
    routes: Sequence[Route],
    settings: Settings,
    trail: Trail,
    registry: CollectorRegistry,
    *,
    scopes: Callable[[str, str], str],
    lifespan: Any,
) -> App:
    """The application: auditlog's middleware around the gate around the routes."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        if trail.ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("the audit log takes no events\n", 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    common = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    application = Starlette(
        routes=[*common, *routes],
        lifespan=lifespan,
        exception_handlers={
            Unrecorded: lambda *_: refused(503, "it cannot be recorded in the audit log"),
            BadRequest: lambda _, error: refused(400, str(error)),
        },
    )

    def opened() -> Any:
        log = trail.open()
        registry.register(LogCollector(log))
        return log

    audited = AuditMiddleware(
        Gate(application, settings, trail, scopes),
        opened,
        actor=lambda scope: scope.get("rbee.actor"),
        skip=lambda scope: scope["path"] in OPEN_PATHS,
        fail_closed=settings.fail_closed,
        timeout=settings.record_timeout,
    )
    return Answered(audited)


class Answered:
    """Tells a route what was really answered: auditlog's middleware may have made it a 503.

    A route that puts a function into ``scope["rbee.answered"]`` has it called with the status.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        status = 0

        async def watching(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        # The same mapping goes in, so that what a route puts there is seen here.
        try:
            await self._app(scope, receive, watching)
        finally:
            if (answered := scope.get("rbee.answered")) is not None:
                answered(status)


def serve(application: App, trail: Trail, settings: Settings, port: int) -> int:
    """Serve until SIGTERM; the exit status: 1 when the log failed, for systemd to start us anew."""
    config = uvicorn.Config(
        application,
        host=settings.bind,
        port=settings.port or port,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=30,
    )
    server = uvicorn.Server(config)
    # uvicorn raises the signal again once it has shut down: this is where it ends.
    signal.signal(signal.SIGTERM, lambda *_: None)

    async def run() -> None:
        async def end_with_the_log() -> None:
            await trail.failed.wait()
            server.should_exit = True

        watching = asyncio.create_task(end_with_the_log())
        await server.serve()
        watching.cancel()

    asyncio.run(run())
    return 0 if server.started and not trail.failed.is_set() else 1


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object that was sent.  Raises BadRequest."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("the body has to be a JSON object")
    return body


def text(body: dict[str, Any], name: str, default: str | None = None) -> str:
    """Raises BadRequest."""
    value = body.get(name, default)
    if not isinstance(value, str) or not 0 < len(value) <= 65_536:
        raise BadRequest(f"{name} has to be a text")
    return value


def integer(
    body: dict[str, Any], name: str, default: int | None = None, *, least: int = 1, most: int = 1000
) -> int:
    """Raises BadRequest."""
    value = body.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise BadRequest(f"{name} has to be a whole number from {least} to {most}")
    return value


def refused(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, status)
