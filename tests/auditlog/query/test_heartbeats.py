from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import auditlog
from auditlog.format.record import Record, parse_header
from auditlog.query.heartbeats import HEARTBEAT, names_heartbeats, without_heartbeats
from auditlog.query.predicate import predicate
from auditlog.query.syntax import parse
from tests.support.logs import LogBuilder

if TYPE_CHECKING:
    from pathlib import Path


def record(tmp_path: Path, event_type: str) -> Record:
    (line,) = LogBuilder(tmp_path).append(1, event_type=event_type)
    header = parse_header(line)
    assert header is not None
    return Record(line, header)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", False),
        ("service=queen-rbee", False),
        ("queen-rbee", False),
        ("event_type!=pool.drained", False),
        ("seq>0", False),
        ("event_type=log.heartbeat", True),
        (r"event_type~^log\.", True),
        ("event_type~^log", True),
        ("log.heartbeat", True),
        ("service=queen-rbee (severity=critical or event_type=log.heartbeat)", True),
        ("not event_type!=log.heartbeat event_type~heartbeat$", True),
        ("seq=1", True),
    ],
)
def test_named(tmp_path: Path, query: str, shown: bool) -> None:
    """named: heartbeats are left out, unless the query names them, their number or their hash"""
    asked = parse(query)
    assert predicate(asked)(beat := record(tmp_path, HEARTBEAT)), "else this shows nothing"
    assert predicate(without_heartbeats(asked))(beat) is shown


@pytest.mark.parametrize("query", ["", "service=queen-rbee", "event_type!=pool.drained"])
def test_what_else_a_log_says_of_itself_is_shown(tmp_path: Path, query: str) -> None:
    assert predicate(without_heartbeats(parse(query)))(record(tmp_path, "log.opened"))


def test_a_search_from_python_includes_them_when_it_is_told_to(tmp_path: Path) -> None:
    LogBuilder(tmp_path).append(1, event_type=HEARTBEAT)
    assert list(auditlog.search(tmp_path, "")) == []
    (found,) = auditlog.search(tmp_path, "", log_events=True)
    assert found.event_type == HEARTBEAT


def test_a_search_for_everything_becomes_one_condition() -> None:
    assert without_heartbeats(parse("")) == parse('event_type!="log.heartbeat"')


@pytest.mark.parametrize(
    ("query", "named"), [("not event_type=log.heartbeat", True), ("not service=a", False)]
)
def test_a_condition_that_is_denied_names_them_too(query: str, named: bool) -> None:
    assert names_heartbeats(parse(query)) is named
