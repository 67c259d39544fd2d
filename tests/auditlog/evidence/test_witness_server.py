"""The witness over HTTP."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from auditlog.evidence.note import Signer
from auditlog.evidence.witness import Witness, WitnessedLogs, open_state
from auditlog.evidence.witness_client import fetch_checkpoint, request_body
from auditlog.evidence.witness_server import WitnessServer
from auditlog.reading.inventory import scan
from auditlog.reading.selection import read
from auditlog.writer.opening import ReservedService, open_log
from tests.support.trees import ORIGIN, leaves_of, signed

SIGNER = Signer(ORIGIN, bytes(range(32)))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WitnessServer]:
    logs = tmp_path / "logs"
    logs.write_text(f"{SIGNER.key}\n")
    signer, state = open_state(tmp_path / "state", "witness.example/w1")
    with open_log(tmp_path / "audit", service=ReservedService("witness"), host="w1") as record:
        memory = Witness(signer, state, WitnessedLogs(logs.read_text()))
        made = WitnessServer(("127.0.0.1", 0), memory, logs, record)
        thread = threading.Thread(target=made.serve, daemon=True)
        thread.start()
        yield made
        made.close()
        thread.join()
        state.close()


def posted(server: WitnessServer, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("POST", "/add-checkpoint", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def got(server: WitnessServer, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


def test_serves(server: WitnessServer) -> None:
    url = f"http://127.0.0.1:{server.port}"
    assert fetch_checkpoint(url, ORIGIN) is None
    note = signed(leaves_of(3), SIGNER)
    assert posted(server, request_body(0, [], note)) == 200
    kept = fetch_checkpoint(url, ORIGIN)
    assert kept is not None
    assert (kept.text, len(kept.signatures)) == (note.text, 2)
    assert got(server, f"/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint").encode() == (
        kept.to_bytes()
    )
    metrics = got(server, "/metrics")
    assert f'auditlog_witness_log_records{{origin="{ORIGIN}"}} 3' in metrics
    assert f'auditlog_witness_checkpoint_age_seconds{{origin="{ORIGIN}"}} ' in metrics
    assert got(server, "/healthz") == "ok\n"


def test_serves_a_log_that_was_added_to_the_list_while_it_runs(
    server: WitnessServer, tmp_path: Path
) -> None:
    origin = "audit.example.com/hive2/a@b"
    request = request_body(0, [], signed(leaves_of(3), SIGNER, origin=origin))
    assert posted(server, request) == 404
    (tmp_path / "logs").write_text("rubbish\n")
    assert posted(server, request) == 404
    (tmp_path / "logs").write_text(f"{SIGNER.key}\n{SIGNER.renamed(origin).key}\n")
    assert posted(server, request) == 200


def test_bounded(server: WitnessServer) -> None:
    assert posted(server, b"x" * 70_000) == 413
    assert posted(server, b"", **{"Content-Length": "rubbish"}) == 411
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")
        assert posted(server, request_body(0, [], signed(leaves_of(3), SIGNER))) == 200


def test_recorded(server: WitnessServer, tmp_path: Path) -> None:
    posted(server, request_body(0, [], signed(leaves_of(3), SIGNER)))
    posted(server, request_body(3, [], signed(leaves_of(4)[1:], SIGNER)))
    assert server._record is not None
    server._record.flush(20)
    (log,) = scan(tmp_path / "audit").logs
    assert log.service == "witness"
    types = [record.event_type for record in read(tmp_path / "audit", log_events=True)]
    assert types[-2:] == ["witness.checkpoint_accepted", "witness.checkpoint_refused"]


def test_finished(tmp_path: Path) -> None:
    """A request that came before the server is closed is cosigned, remembered and on record."""
    logs = tmp_path / "logs"
    logs.write_text(f"{SIGNER.key}\n")
    signer, state = open_state(tmp_path / "state", "witness.example/w1")
    request = request_body(0, [], signed(leaves_of(3), SIGNER))
    with open_log(tmp_path / "audit", service=ReservedService("witness"), host="w1") as record:
        memory = Witness(signer, state, WitnessedLogs(logs.read_text()))
        made = WitnessServer(("127.0.0.1", 0), memory, logs, record)
        serving = threading.Thread(target=made.serve, daemon=True)
        serving.start()
        answers: list[int] = []
        with state.transaction():  # the request has to wait for it
            asking = threading.Thread(target=lambda: answers.append(posted(made, request)))
            asking.start()
            with made._answers:
                made._answers.wait_for(lambda: made._answering > 0, 60)
            closing = threading.Thread(target=made.close)
            closing.start()
            serving.join()
            closing.join(0.2)
            assert closing.is_alive()
        closing.join()
        record.flush(20)
        assert state.newest()[0][:2] == (ORIGIN, 3)
        state.close()
        assert made.post(request).status == 503
    asking.join()
    assert answers == [200]
    types = [record.event_type for record in read(tmp_path / "audit", log_events=True)]
    assert "witness.checkpoint_accepted" in types
