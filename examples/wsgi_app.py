"""A WSGI application that audits, for gunicorn's pre-fork workers.

    AUDIT_DIR=audit gunicorn wsgi_app:app --workers 3

A log cannot be shared over a fork, so it is opened at a worker's first request, not at import:
with --preload that would be in the parent, and every worker's emit would raise ForkedLog.  The lock
keeps a worker's threads from opening one each.
"""

import os
import threading

import auditlog
from auditlog import events

_lock = threading.Lock()
_opened = []


def log():
    with _lock:
        if not _opened:
            _opened.append(
                auditlog.open(
                    os.environ.get("AUDIT_DIR", "audit"),
                    service="queen-rbee",
                    host="hive1",
                    instance="auto",
                    flush="hybrid",
                )
            )
        return _opened[0]


def app(environ, start_response):
    request_id = environ.get("HTTP_X_REQUEST_ID", "")
    with auditlog.bind(correlation_id=request_id):
        log().emit(
            events.TaskSubmitted(task_id=f"task-{request_id}", model_ref="llama-3"), durable=True
        )
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"submitted\n"]
