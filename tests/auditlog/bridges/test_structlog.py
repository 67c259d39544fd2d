from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

import auditlog
from auditlog.bridges.structlog import AuditProcessor
from tests.support.waiting import eventually

Written = Callable[[], list[dict[str, Any]]]


def test_passes_on(log: auditlog.Log, written: Written) -> None:
    audited = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[AuditProcessor(log), structlog.processors.KeyValueRenderer(sort_keys=True)],
    )
    with auditlog.bind(actor={"user_id": "alice"}):
        returned = audited.warning("pool drained", event_type="pool.drained", pool="a", token="t")
    assert returned == "event='pool drained' event_type='pool.drained' pool='a' token='t'"
    (record,) = written()
    assert record["event_type"] == "pool.drained"
    assert record["reason"] == "pool drained"
    assert record["severity"] == "warning"
    assert record["actor"] == {"user_id": "alice"}
    assert record["details"].pop("token") == "[redacted:token]"
    assert record["details"] == {"logger": "structlog", "pool": "a"}


def test_final(log: auditlog.Log, written: Written) -> None:
    printed: list[Any] = []

    class Printing:
        def msg(self, **fields: Any) -> None:
            printed.append(fields)

        info = msg

    audited = structlog.wrap_logger(Printing(), processors=[AuditProcessor(log, final=True)])
    audited.info("pool drained", outcome="partial_success")
    assert printed == []
    assert written()[0]["outcome"] == "partial_success"


@pytest.mark.parametrize("how", ["true", "tuple", "exception", "method"])
def test_an_exception_is_there_by_type_and_message(
    log: auditlog.Log, written: Written, how: str
) -> None:
    audited = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[
            AuditProcessor(log),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    try:
        secret = 1
        secret /= 0
    except ZeroDivisionError as error:
        if how == "method":
            audited.exception("failed")
        else:
            given = {"true": True, "tuple": sys.exc_info(), "exception": error}[how]
            audited.error("failed", exc_info=given)
    (record,) = written()
    assert record["severity"] == "error"
    assert record["details"] == {
        "logger": "structlog",
        "exception": {"type": "builtins.ZeroDivisionError", "message": "division by zero"},
    }


@pytest.mark.parametrize(
    ("method", "level", "severity"),
    [
        ("debug", None, "info"),
        ("msg", None, "info"),
        ("warn", None, "warning"),
        ("exception", None, "error"),
        ("fatal", None, "critical"),
        ("info", "ERROR", "error"),
    ],
)
def test_the_method_or_the_level_decides_the_severity(
    log: auditlog.Log, written: Written, method: str, level: str | None, severity: str
) -> None:
    event = {"event": "m"} if level is None else {"event": "m", "level": level}
    AuditProcessor(log)(None, method, event)
    assert written()[0]["severity"] == severity


def test_what_other_processors_added_is_not_recorded(log: auditlog.Log, written: Written) -> None:
    audited = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            AuditProcessor(log),
            structlog.processors.JSONRenderer(),
        ],
    )
    audited.critical("m", request=object(), logger="queen", exc_info=ValueError("v"))
    (record,) = written()
    assert record["severity"] == "critical"
    assert record["details"] == {
        "logger": "queen",
        "request": "<object>",
        "_replaced": ["request was builtins.object"],
    }


def test_own_logger(log: auditlog.Log, written: Written) -> None:
    event = {"event": "about itself", "logger": "auditlog.bridges"}
    assert AuditProcessor(log)(None, "info", event) is event
    assert written() == []


def test_a_failed_log_is_said_once_or_raised(
    log: auditlog.Log, caplog: pytest.LogCaptureFixture
) -> None:
    log.close()
    for _ in range(2):
        AuditProcessor.__call__(lenient := AuditProcessor(log), None, "info", {"event": "m"})
        lenient(None, "info", {"event": "m"})
        assert len(caplog.records) == 1
        caplog.clear()
    with pytest.raises(auditlog.LogClosed):
        AuditProcessor(log, strict=True)(None, "info", {"event": "m"})


def test_structlog_is_not_imported_for_it() -> None:
    code = "import sys, auditlog.bridges.structlog; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_reopened(tmp_path: Path) -> None:
    processor = AuditProcessor(lambda: auditlog.open(tmp_path, service="s", host="h"), final=True)
    logger = structlog.wrap_logger(None, processors=[processor])
    assert list(tmp_path.iterdir()) == []
    logger.info("before")
    log = processor._recorder.source.current
    assert log is not None
    log._commits.fail(auditlog.LogFailed("the disk is gone"))
    logger.info("lost")
    eventually(lambda: not processor._recorder.source.down)
    logger.info("after")
    log.close()
    assert [record.fields["reason"] for record in auditlog.read(tmp_path)] == ["before", "after"]
