"""An ASGI application whose requests are audited, for uvicorn or gunicorn with several workers.

    AUDIT_DIR=audit uvicorn asgi_app:app --workers 2
    AUDIT_DIR=audit gunicorn asgi_app:app --worker-class asgi --workers 2

Each worker opens a log of its own when it starts: queen-rbee@hive1+1, +2 and so on.
"""

import functools
import os

import auditlog
from auditlog import events
from auditlog.bridges.asgi import AuditMiddleware


@functools.cache
def log():
    return auditlog.open(
        os.environ.get("AUDIT_DIR", "audit"),
        service="queen-rbee",
        host="hive1",
        instance="auto",
        flush="hybrid",
    )


def actor_of(scope):
    """Return the user that a proxy has authenticated; with Starlette, scope["user"]."""
    user = dict(scope["headers"]).get(b"x-user")
    return None if user is None else auditlog.Actor(user.decode("latin-1"), auth_method="mtls")


async def service(scope, receive, send):
    """Answers 200 once the task is in the log."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    task = scope["path"].strip("/").replace("/", "-")
    await log().aemit(events.TaskSubmitted(task_id=f"task-{task}", model_ref="llama-3"))
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"submitted\n"})


async def lifespan(scope, receive, send):
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def routes(scope, receive, send):
    await (lifespan if scope["type"] == "lifespan" else service)(scope, receive, send)


app = AuditMiddleware(routes, log, actor=actor_of, fail_closed=True)
