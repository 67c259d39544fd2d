from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from auditctl.export.rows import COLUMNS, ecs, row
from auditlog.format.record import decode
from tests.support.logs import make_line
from tests.support.questions import bodies

CELLS = st.text(max_size=6) | st.sampled_from(["=1+1", "+x", "-x", "@x", "\tx", "\rx"])


@given(user=CELLS, reason=CELLS, body=bodies)
def test_harmless(user: str, reason: str, body: dict[str, Any]) -> None:
    fields = {**body, "actor": {"user_id": user}, "reason": reason}
    line, _ = make_line("queen-rbee@hive1", 1, **fields)
    cells = row(decode(line))
    assert len(cells) == len(COLUMNS)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in cells)
    shown = dict(zip(COLUMNS, cells, strict=True))
    assert shown["actor.user_id"] in (user, f"'{user}")


def test_a_row_has_every_value_where_it_belongs() -> None:
    line, digest = make_line("queen-rbee@hive1", 7, correlation_id="req-1", details={"n": [1]})
    shown = dict(zip(COLUMNS, row(decode(line)), strict=True))
    assert shown["seq"] == "7"
    assert shown["actor.ip"] == "192.0.2.7"
    assert shown["details"] == '{"n":[1]}'
    assert (shown["hash"], shown["reason"]) == (digest, "")


GROUPS = {"@timestamp", "ecs", "event", "service", "host", "user", "source", "trace", "log"}


@given(body=bodies)
def test_ecs(body: dict[str, Any]) -> None:
    line, digest = make_line("queen-rbee@hive1", 7, **body)
    document = ecs(decode(line))
    assert set(document) <= GROUPS | {"auditlog"}
    assert document["event"]["sequence"] == 7
    assert document["event"]["hash"] == digest
    assert document["event"]["outcome"] in ("success", "failure", "unknown")
    assert document["service"] == {"name": "queen-rbee"}
    assert document["auditlog"]["details"] == body["details"]
    assert document["auditlog"]["log"] == "queen-rbee@hive1"
    assert document["auditlog"]["outcome"] == decode(line).fields["outcome"]
