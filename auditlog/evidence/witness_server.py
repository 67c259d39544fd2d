"""Serve a witness over HTTP: submissions, latest checkpoints and metrics.

    POST /add-checkpoint                     c2sp.org/tlog-witness
    GET  /<sha256 of origin>/checkpoint      the newest checkpoint of a log, cosigned
    GET  /metrics                            size and age of each log's newest checkpoint
    GET  /healthz

What it accepted, and what contradicted it, is recorded in an audit log of its own,
``witness@<host>`` below the state directory; that log can be witnessed elsewhere in turn.

Invariants (tests of the same name in tests/auditlog/evidence/test_witness_server.py):
  serves    a submission is answered, served again by GET, and counted in the metrics
  bounded   a request that is too long, too slow or no request costs no more than one thread
  recorded  what was accepted and what contradicted it are records of its own log
  finished  a request that is being answered when the server is closed is answered to its end
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from auditlog.errors import AuditLogError
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.witness import MAX_REQUEST_BYTES, Reply, Witness, WitnessedLogs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from auditlog.writer.log import Log

__all__ = ["WitnessServer"]

_logger = logging.getLogger("auditlog.witness")

_TIMEOUT_SECONDS: Final = 10.0
_STOPPED: Final = Reply(503, b"this witness is being stopped\n")


class WitnessServer:
    """Answers requests until it is closed.  Raises OSError when the address is taken."""

    def __init__(
        self, address: tuple[str, int], witness: Witness, logs_path: Path, record: Log | None
    ) -> None:
        self._witness = witness
        self._logs_path = logs_path
        self._read_at = 0
        self._record = record
        self._lock = threading.Lock()
        self._answers = threading.Condition()
        self._answering = 0
        self._closed = False
        self._server = ThreadingHTTPServer(address, _handler(self))
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def serve(self) -> None:
        """Serve until ``close`` is called from another thread."""
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Stop; when this returns, no thread uses the witness's memory or its log any more."""
        self._server.shutdown()
        self._server.server_close()
        # Threads that wait for a slow client are not waited for; an answer that one of them makes
        # of memory and log takes no longer than a transaction.
        with self._answers:
            self._closed = True
            self._answers.wait_for(lambda: not self._answering)

    @contextmanager
    def _open(self) -> Iterator[bool]:
        """Whether memory and log may be used; if so, they stay open until the ``with`` ends."""
        with self._answers:
            is_open = not self._closed
            self._answering += is_open
            self._answers.notify_all()
        try:
            yield is_open
        finally:
            with self._answers:
                self._answering -= is_open
                self._answers.notify_all()

    def post(self, body: bytes) -> Reply:
        """Answer an add-checkpoint request."""
        with self._open() as is_open:
            if not is_open:
                return _STOPPED
            self._read_logs()
            reply = self._witness.add_checkpoint(body, int(time.time()))
            self._note(reply, body)
            return reply

    def get(self, path: str) -> Reply:
        """Answer a request for a checkpoint, the metrics or the health."""
        with self._open() as is_open:
            return self._get(path) if is_open else _STOPPED

    def _get(self, path: str) -> Reply:
        if path == "/healthz":
            return Reply(200, b"ok\n")
        if path == "/metrics":
            return Reply(200, self._metrics(), "text/plain; version=0.0.4; charset=utf-8")
        digest, slash, rest = path.removeprefix("/").partition("/")
        if slash and rest == "checkpoint" and len(digest) == 64:
            note = self._witness.state.note(digest)
            if note is not None:
                return Reply(200, note)
        return Reply(404, b"there are /add-checkpoint, /<sha256 of origin>/checkpoint, /metrics\n")

    def _read_logs(self) -> None:
        """Reload the list of logs when its file was changed; keep the old list if it is invalid."""
        with self._lock:
            try:
                changed = self._logs_path.stat().st_mtime_ns
                if changed != self._read_at:
                    self._witness.logs = WitnessedLogs(self._logs_path.read_text("utf-8"))
                    self._read_at = changed
            except (BadEvidence, OSError, UnicodeDecodeError) as error:
                _logger.warning("%s: the list of logs stays as it was: %s", self._logs_path, error)

    def _metrics(self) -> bytes:
        now = int(time.time())
        lines = [
            "# HELP auditlog_witness_log_records Records in the newest checkpoint.",
            "# TYPE auditlog_witness_log_records gauge",
            "# HELP auditlog_witness_checkpoint_age_seconds Time since it was last cosigned.",
            "# TYPE auditlog_witness_checkpoint_age_seconds gauge",
        ]
        for origin, size, at in self._witness.state.newest():
            label = origin.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'auditlog_witness_log_records{{origin="{label}"}} {size}')
            age = max(0, now - at)
            lines.append(f'auditlog_witness_checkpoint_age_seconds{{origin="{label}"}} {age}')
        return ("\n".join(lines) + "\n").encode()

    def _note(self, reply: Reply, body: bytes) -> None:
        if self._record is None or (reply.grown is None and reply.status not in (409, 422)):
            return
        accepted = reply.grown is not None
        checkpoint = body.partition(b"\n\n")[2].decode("utf-8", "replace").split("\n")[:20]
        try:
            self._record.emit(
                "witness.checkpoint_accepted" if accepted else "witness.checkpoint_refused",
                actor={"user_id": "witness", "auth_method": "internal"},
                resource={"resource_type": "log", "resource_id": checkpoint[0][:200]},
                outcome="success" if accepted else "failure",
                details={"status": reply.status, "checkpoint": checkpoint},
            )
        except AuditLogError as error:
            _logger.warning("an answer is not on record: %s", error)


def _handler(server: WitnessServer) -> type[BaseHTTPRequestHandler]:
    class WitnessHandler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_SECONDS
        server_version = "auditlog-witness"
        sys_version = ""

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path != "/add-checkpoint":
                self._reply(Reply(404, b"there is POST /add-checkpoint\n"))
            elif not length.isdigit() or len(length) > 9:
                self._reply(Reply(411, b"the request has no length\n"))
            elif int(length) > MAX_REQUEST_BYTES:
                self._reply(Reply(413, b"the request is too long\n"))
            else:
                self._reply(server.post(self.rfile.read(int(length))))

        def do_GET(self) -> None:
            self._reply(server.get(self.path))

        def _reply(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Log nothing: requests are counted in metrics and recorded in the audit log."""

    return WitnessHandler
