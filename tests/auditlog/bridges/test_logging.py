from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import auditlog
from auditlog.bridges.logging import AuditHandler
from tests.support.waiting import eventually

Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("queen.audit")
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()


def test_a_call_becomes_an_event(
    log: auditlog.Log, logger: logging.Logger, written: Written
) -> None:
    logger.addHandler(AuditHandler(log))
    with auditlog.bind(correlation_id="req-1"):
        logger.warning(
            "pool %s drained", "a", extra={"event_type": "pool.drained", "pool": "a", "token": "t"}
        )
    (record,) = written()
    assert record["event_type"] == "pool.drained"
    assert record["reason"] == "pool a drained"
    assert (record["severity"], record["outcome"]) == ("warning", "success")
    assert record["correlation_id"] == "req-1"
    token = record["details"].pop("token")
    assert record["details"] == {"logger": "queen.audit", "pool": "a"}
    assert token == "[redacted:token]"


def test_a_type_claimed_with_fields_of_another_kind_is_recorded_as_a_plain_call(
    log: auditlog.Log, logger: logging.Logger, written: Written
) -> None:
    logger.addHandler(AuditHandler(log))
    logger.warning("refused", extra={"event_type": "auth_failure", "ip": "nowhere"})
    logger.warning("refused", extra={"event_type": "auth_failure", "ip": "192.0.2.7"})
    logger.warning("refused", extra={"event_type": "No name"})
    claimed, typed, strange = written()
    assert (claimed["event_type"], claimed["details"]["claimed_type"]) == (
        "app.logged",
        "auth_failure",
    )
    assert (typed["event_type"], typed["details"]["ip"]) == ("auth_failure", "192.0.2.7")
    assert strange["details"]["claimed_type"] == "No name"


def test_an_exception_is_there_without_traceback_or_locals(
    log: auditlog.Log, logger: logging.Logger, written: Written
) -> None:
    logger.addHandler(AuditHandler(log, event_type="queen.logged"))
    try:
        secret = 1
        secret /= 0
    except ZeroDivisionError:
        logger.exception("failed", stack_info=True)
    (record,) = written()
    assert record["event_type"] == "queen.logged"
    assert (record["severity"], record["outcome"]) == ("error", "failure")
    assert record["details"] == {
        "logger": "queen.audit",
        "exception": {"type": "builtins.ZeroDivisionError", "message": "division by zero"},
    }


def test_what_no_record_can_hold_is_recorded_all_the_same(
    log: auditlog.Log, logger: logging.Logger, written: Written
) -> None:
    handler = AuditHandler(log, strict=True)
    logger.addHandler(handler)
    logger.info("of %s", object, extra={"request": object(), "actor": "alice"})
    wrong = {"msg": "a number: %d", "args": ("seven",), "levelno": logging.INFO}
    handler.handle(logging.makeLogRecord(wrong))
    logger.info("x" * 70_000)
    details = [record["details"] for record in written()]
    assert details[0]["request"] == "<object>"
    assert details[0]["_replaced"] == ["request was builtins.object"]
    assert details[1]["arguments"] == "do not fit the message"
    assert details[2]["reason"]["length"] == 70_000


def test_own_logger(log: auditlog.Log, written: Written) -> None:
    handler = AuditHandler(log)
    for name in ("auditlog", "auditlog.bridges"):
        record = {"name": name, "msg": "about itself", "levelno": logging.ERROR}
        handler.handle(logging.makeLogRecord(record))
    assert written() == []


def test_a_log_that_fails_under_a_root_handler_does_not_call_itself(
    log: auditlog.Log, caplog: pytest.LogCaptureFixture
) -> None:
    handler = AuditHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        log.close()
        for _ in range(3):
            logging.getLogger("queen").error("lost")
    finally:
        logging.getLogger().removeHandler(handler)
    said = [record.getMessage() for record in caplog.records if record.name == "auditlog.bridges"]
    assert len(said) == 1
    assert "logging: events are not recorded" in said[0]


def test_strict(log: auditlog.Log, logger: logging.Logger, written: Written) -> None:
    handler = AuditHandler(log, strict=True)
    logger.addHandler(handler)
    log.close()
    with pytest.raises(auditlog.LogClosed):
        logger.info("m")
    assert written() == []


def test_levels_and_filters_hold(
    log: auditlog.Log, logger: logging.Logger, written: Written
) -> None:
    handler = AuditHandler(log, level=logging.ERROR)
    handler.addFilter(lambda record: "noise" not in record.getMessage())
    logger.addHandler(handler)
    logger.warning("below")
    logger.error("noise")
    logger.critical("kept")
    (record,) = written()
    assert (record["reason"], record["severity"]) == ("kept", "critical")


def test_threads_are_not_held_up_by_each_other(tmp_path: Path, logger: logging.Logger) -> None:
    """While one thread waits for the disk another can log: they share the next commit."""
    entered = threading.Barrier(2)

    class Slow(auditlog.Log):
        def __init__(self) -> None:
            """It writes nowhere."""

        def emit(self, *_args: Any, **_fields: Any) -> Any:
            entered.wait(60)

    logger.addHandler(AuditHandler(Slow(), strict=True))
    threads = [threading.Thread(target=logger.info, args=("m",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not entered.broken


def test_reopened(tmp_path: Path, logger: logging.Logger) -> None:
    handler = AuditHandler(lambda: auditlog.open(tmp_path, service="s", host="h"))
    logger.addHandler(handler)
    assert list(tmp_path.iterdir()) == []  # opened by the first event, in the worker of a server
    logger.info("before")
    log = handler._recorder.source.current
    assert log is not None
    log._commits.fail(auditlog.LogFailed("the disk is gone"))
    logger.info("lost")
    eventually(lambda: not handler._recorder.source.down)
    logger.info("after")
    handler.close()
    assert [record.fields["reason"] for record in auditlog.read(tmp_path)] == ["before", "after"]
    with pytest.raises(auditlog.LogClosed):
        log.emit("some.event")
    assert auditlog.verify(tmp_path).ok
