from __future__ import annotations

import subprocess
import sys

from auditlog.events.actor import Actor
from auditlog.events.base import Event
from auditlog.events.members import Member, aliases, leaves, members
from tests.support.unmeasured import unmeasured

ONE_MORE = """
from typing import Annotated, ClassVar

from auditlog.events import members as record
from auditlog.events.actor import Actor
from auditlog.events.field_kinds import EcsName, Label

class ActorWithShift(Actor):
    shift: Annotated[Label, EcsName("user.shift")] | None = None

record.Actor = ActorWithShift

from auditctl.export.rows import COLUMNS
from auditlog.query.syntax import ALIASES
from auditlog.events.schema import record_schema
from shippers.sinks.elasticsearch.index_template import index_template

schema = record_schema()["$defs"]["actor"]
assert list(schema["properties"])[-1] == "shift", schema
assert schema["properties"]["shift"] == {"type": "string", "minLength": 1}
assert "shift" not in schema["required"]
mapping = index_template()["template"]["mappings"]["properties"]
assert mapping["actor"]["properties"]["shift"]["type"] == "keyword"
assert mapping["user"]["properties"]["shift"] == {"type": "alias", "path": "actor.shift"}
assert COLUMNS.index("actor.shift") < COLUMNS.index("resource.resource_type")
assert ALIASES["user.shift"] == "actor.shift"
assert '"shift":"night"' in ActorWithShift("alice", shift="night").json
"""


def test_one_place() -> None:
    """one_place: a field that is declared in Actor is in everything that is made of it"""
    subprocess.run([sys.executable, "-W", "error", "-c", ONE_MORE], check=True, env=unmeasured())


def test_the_members_are_in_the_order_of_the_record() -> None:
    paths = [member.path for member in members()]
    assert paths[:4] == ["v", "log", "seq", "prev_hash"]
    assert paths[8:-2] == [field.name for field in Event.declared]
    assert paths[-2:] == ["salt", "hash"]


def test_the_leaves_of_an_object_stand_in_its_place() -> None:
    paths = [member.path for member in leaves(members())]
    assert [path for path in paths if path.startswith("actor")] == [
        f"actor.{field.name}" for field in Actor.declared
    ]


def test_an_alias_never_stands_below_a_member_that_is_a_string() -> None:
    assert "log.level" not in aliases()
    assert aliases()["service.name"].path == "service"
    assert aliases()["user.id"].path == "actor.user_id"


def test_every_record_has_all_members_but_these() -> None:
    optional = {member.path for member in members() if not member.required}
    assert optional == {"actor", "resource", "reason", "correlation_id", "details", "salt"}
    in_objects = {member.path for member in leaves(members()) if member.required}
    assert in_objects >= {"actor.user_id", "resource.resource_type", "resource.resource_id"}
    assert not in_objects & {"actor.ip", "actor.name", "resource.parent_id"}
    assert Member("a", {}).required


def test_the_version_is_one_and_records_are_counted_from_one() -> None:
    version, _, seq, *_ = members()
    assert version.schema == {"const": 1}
    assert seq.schema == {"type": "integer", "minimum": 1}
