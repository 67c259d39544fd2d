from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

import auditlog
from auditlog import events
from auditlog.testing import Captured, capture

CASES: list[tuple[Any, dict[str, Any]]] = [
    ("pool.drained", {"actor": "alice", "details": {"n": Decimal(1), "password": "hunter2"}}),
    ("auth_failure", {"details": {"ip": "192.0.2.7"}}),
    (events.TaskSubmitted(task_id="t", model_ref="m", actor="alice"), {}),
    ("No Name", {}),
    ("pool.drained", {"outcome": "maybe"}),
    ("pool.drained", {"details": {f"n{n}": "x" * 3_000 for n in range(22)}}),
    (7, {}),
]


def outcome_of(log: auditlog.Log, event: Any, fields: dict[str, Any]) -> object:
    try:
        return log.emit(event, **fields).wait().seq > 0
    except auditlog.InvalidEvent as error:
        return type(error), error.reason


def test_like_the_real(tmp_path: Path) -> None:
    with (
        auditlog.open(tmp_path, service="test", host="localhost") as real,
        capture() as captured,
    ):
        for event, fields in CASES:
            assert outcome_of(captured.log, event, fields) == outcome_of(real, event, fields)
    written = [
        each
        for each in auditlog.read(tmp_path, log_events=True)
        if not each.event_type.startswith("log.")
    ]
    assert len(captured.records) == len(written) == 3
    for ours, theirs in zip(captured.records, written, strict=True):
        assert {**ours.fields, **dict.fromkeys(CHAIN)} == {**theirs.fields, **dict.fromkeys(CHAIN)}


CHAIN = ("seq", "prev_hash", "hash", "@timestamp", "salt")


def test_events_are_plain_dicts() -> None:
    with capture() as captured:
        captured.log.emit("pool.drained", actor="alice", details={"n": 1})
        captured.log.emit("pool.filled")
    assert captured.events == [
        {
            "event_type": "pool.drained",
            "actor": {"user_id": "alice"},
            "outcome": "success",
            "severity": "info",
            "details": {"n": 1},
        },
        {"event_type": "pool.filled", "outcome": "success", "severity": "info"},
    ]
    assert captured.of_type("pool.filled") == captured.events[1:]
    assert "pool.drained" in repr(captured)
    captured.clear()
    assert captured.events == []


def test_events_of_a_known_class_are_typed() -> None:
    event = events.TaskSubmitted(task_id="t", model_ref="m", actor="alice")
    with capture() as captured:
        captured.log.emit(event)
        captured.log.emit("pool.drained")
    assert captured.typed == [event, None]


def test_the_records_are_a_chain() -> None:
    with capture(service="shop") as captured:
        tickets = [captured.log.emit("pool.drained") for _ in range(3)]
    records = captured.records
    assert [record.hash for record in records] == [ticket.hash for ticket in tickets]
    assert [record.prev_hash for record in records[1:]] == [each.hash for each in records[:-1]]
    assert orjson.loads(records[0].line)["service"] == "shop"


def test_after_the_block_the_log_is_closed() -> None:
    with capture() as captured:
        captured.log.flush()
    with pytest.raises(auditlog.LogClosed):
        captured.log.emit("pool.drained")


def test_threads_share_it() -> None:
    with capture() as captured:
        threads = [
            threading.Thread(target=lambda: [captured.log.emit("a.b") for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [record.seq for record in captured.records] == list(range(1, 201))


def test_pytest_has_the_fixture(captured_audit: Captured) -> None:
    captured_audit.log.emit("pool.drained")
    assert captured_audit.events[0]["event_type"] == "pool.drained"
