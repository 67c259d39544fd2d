from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import auditlog
from auditlog.events.actor import OUTCOMES
from auditlog.events.base import ARCHIVE_TYPES, Event
from auditlog.events.body import encode_body, service_host
from auditlog.events.field_kinds import KINDS
from auditlog.events.schema import record_schema, render
from auditlog.events.vocabulary import EVENT_TYPES
from auditlog.format.record import GENESIS_HASH, log_prefix, seal
from auditlog.writer.clock import SECOND_NS
from tests.support.erasures import stub
from tests.support.logs import make_line

ROOT: Final = Path(__file__).parents[3]
VALIDATOR: Final = Draft202012Validator(
    record_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER
)
NAMES: Final = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "Id": NAMES,
    "Label": NAMES,
    "Word": st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    "Text": st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
    "Digest": st.from_regex(r"(sha256:)?[0-9a-fA-F]{8,128}", fullmatch=True),
    "Address": st.ip_addresses().map(str),
    "Count": st.integers(0, 2**64 - 1),
    "Number": st.floats(0, 1e12) | st.integers(0, 2**64 - 1),
    "bool": st.booleans(),
    "Instant": st.datetimes(timezones=st.timezones(), min_value=dt.datetime(2000, 1, 1)),  # noqa: DTZ001  (a bound has no zone)
    "Labels": st.lists(NAMES, max_size=4),
    "Changes": st.dictionaries(NAMES, st.integers(0, 9), max_size=3),
}


def fields_of(event: type[Event]) -> st.SearchStrategy[dict[str, Any]]:
    required = {f.name: VALUES[f.kind.name] for f in event.own_fields if f.required}
    optional = {f.name: VALUES[f.kind.name] for f in event.own_fields if not f.required}
    optional |= {
        "actor": st.builds(
            auditlog.Actor,
            NAMES,
            ip=st.none() | VALUES["Address"],
            auth_method=st.sampled_from([None, "mtls", "passkey"]),
            roles=st.none() | st.lists(NAMES, max_size=2),
            tenant=st.none() | NAMES,
            session_id=st.none() | NAMES,
        ),
        "resource": st.builds(auditlog.Resource, NAMES, NAMES, st.none() | NAMES),
        "outcome": st.sampled_from(OUTCOMES),
        "reason": VALUES["Text"],
        "severity": st.sampled_from(["info", "warning", "error", "critical"]),
        "correlation_id": NAMES,
        "details": st.dictionaries(NAMES, st.none() | st.lists(st.floats(0, 1)), max_size=2).map(
            lambda details: {f"x{key}": value for key, value in details.items()}
        ),
    }
    return st.fixed_dictionaries(required, optional=optional)


def record_of(event: Event) -> dict[str, Any]:
    """The record that a writer makes of the event, taken apart by somebody else's JSON."""
    body = encode_body(event, service_host=service_host("queen-rbee", "hive1"))
    line, _ = seal(
        log_prefix("queen-rbee@hive1"), 1, GENESIS_HASH, "2026-11-23T07:12:00.123456Z", body
    )
    record: dict[str, Any] = json.loads(line)
    return record


def example_of(event_type: str) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "Id": "x-1",
        "Label": "a",
        "Word": "a",
        "Text": "b",
        "Digest": "sha256:" + "0" * 64,
        "Address": "192.0.2.7",
        "Count": 3,
        "Number": 0.5,
        "bool": True,
        "Instant": dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
        "Labels": ["c"],
        "Changes": {"d": 1},
    }
    event = EVENT_TYPES[event_type]
    return record_of(
        event(
            actor={"user_id": "alice", "ip": "2001:db8::7", "auth_method": "mtls"},
            **{field.name: plain[field.kind.name] for field in event.own_fields},
        )
    )


def test_the_schema_itself_is_valid() -> None:
    Draft202012Validator.check_schema(record_schema())


def test_every_kind_of_field_has_its_schema() -> None:
    assert set(KINDS) - {"int", "float", "Any"} == set(VALUES)  # those no event of ours has


def test_current() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "auditlog.events.schema"], cwd=ROOT, capture_output=True, check=True
    )
    assert made.stdout == render()
    committed = (ROOT / "docs/schema/record.schema.json").read_bytes()
    assert committed == made.stdout, (
        "run python -m auditlog.events.schema > docs/schema/record.schema.json"
    )


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_accepts_every_event_of_the_vocabulary(event_type: str) -> None:
    VALIDATOR.validate(example_of(event_type))


@given(
    st.sampled_from(list(EVENT_TYPES.values())).flatmap(
        lambda event: st.tuples(st.just(event), fields_of(event))
    )
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_accepts_whatever_an_event_can_hold(made: tuple[type[Event], dict[str, Any]]) -> None:
    event, fields = made
    VALIDATOR.validate(record_of(event(**fields)))


def test_accepts_what_a_log_writes_about_itself(tmp_path: Path) -> None:
    now = [1_795_417_920 * SECOND_NS]

    def open_log(**options: Any) -> auditlog.Log:
        return auditlog.open(
            tmp_path, service="queen-rbee", host="hive1", clock=lambda: now[0], **options
        )

    with open_log(space_low_bytes=1 << 61, space_critical_bytes=1 << 60) as log:
        log.emit("pool.drained", details={"anything": [None, {}]})
        now[0] -= 3600 * SECOND_NS
        log.emit("pool.drained")
        log._own._heartbeat._due_at = 0.0
        log._own.tick()
    segment = max(tmp_path.glob("*.ndjson"))
    segment.write_bytes(segment.read_bytes() + b'{"v":1,"log":"queen')
    with open_log(instance=None) as log:
        log._own.refused = 3
        log.emit("pool.drained")
    now[0] -= 5 * 86400 * SECOND_NS
    with open_log() as log:
        log.emit("pool.drained")
    seen = set()
    for record in auditlog.read(tmp_path, log_events=True):
        VALIDATOR.validate(json.loads(record.line))
        seen.add(record.event_type)
    # Of the archive: tests/shippers/archive/test_service.py.
    assert (
        seen
        >= set(record_schema()["$defs"])
        - set(EVENT_TYPES)
        - {"actor", "resource", "stub"}
        - ARCHIVE_TYPES
    )


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for name in path[:-1]:
            record = record[name]
        record[path[-1]] = to

    return change


def _drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for name in path[:-1]:
            record = record[name]
        del record[path[-1]]

    return change


BROKEN: Final = {
    **{f"no {name}": _drop(name) for name in record_schema()["required"]},
    "no details": _drop("details"),
    "no resource": _drop("resource"),
    "a required field is missing": _drop("details", "model_ref"),
    "version 2": _set("v", to=2),
    "a strange member": _set("user", to="alice"),
    "a number that is text": _set("seq", to="1"),
    "record 0": _set("seq", to=0),
    "a short hash": _set("hash", to="ab"),
    "a timestamp with an offset": _set("@timestamp", to="2026-11-23T07:12:00.123456+01:00"),
    "a timestamp without fraction": _set("@timestamp", to="2026-11-23T07:12:00Z"),
    "a type in capitals": _set("event_type", to="TaskSubmitted"),
    "an unknown type of the log's": _set("event_type", to="log.forged"),
    "an unknown outcome": _set("outcome", to="maybe"),
    "an unknown severity": _set("severity", to="debug"),
    "an actor without a name": _drop("actor", "user_id"),
    "an actor with a nickname": _set("actor", "nickname", to="al"),
    "an auth method that is not a word": _set("actor", "auth_method", to="Pass Word"),
    "an address that is none": _set("actor", "ip", to="localhost"),
    "a negative count": _set("details", "prompt_length", to=-1),
    "a prompt for its hash": _set("details", "prompt_hash", to="tell me"),
    "an empty id": _set("details", "task_id", to=""),
    "a list of numbers": _set("details", to=[1]),
    "a resource by its name": _set("resource", to="task-1"),
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_rejects(change: Callable[[dict[str, Any]], None]) -> None:
    record = example_of("task_submitted")
    change(record)
    assert not VALIDATOR.is_valid(record)


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_rejects_each_field_missing_or_of_another_kind(event_type: str) -> None:
    for field in EVENT_TYPES[event_type].own_fields:
        record = example_of(event_type)
        record["details"][field.name] = [{"neither": "this"}]
        if field.kind.name != "Changes":
            assert not VALIDATOR.is_valid(record), field.name
        if field.required:
            del record["details"][field.name]
            assert not VALIDATOR.is_valid(record), field.name


def test_a_stub_is_what_the_schema_says_and_no_record() -> None:
    whole = record_schema()
    line = orjson.loads(stub(make_line("queen-rbee@hive1", 42, "ab" * 32)[0]))
    check = Draft202012Validator({"$defs": whole["$defs"], "$ref": "#/$defs/stub"})
    assert check.is_valid(line)
    assert not check.is_valid({**line, "actor": {"user_id": "alice"}})
    assert not check.is_valid({**line, "leaf": "short"})
    assert not Draft202012Validator(whole).is_valid(line)
