from __future__ import annotations

import copy
import dataclasses
import pickle
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import InvalidEvent
from auditlog.events.actor import (
    Actor,
    Resource,
    actor_json,
    as_actor,
    as_resource,
    resource_json,
)
from auditlog.redaction.redactor import KEYLESS, Redactor
from tests.support.secrets import HIDDEN

_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_FIELDS = st.fixed_dictionaries(
    {"user_id": _NAMES},
    optional={
        "ip": st.one_of(st.none(), st.ip_addresses().map(str)),
        "auth_method": st.sampled_from([None, "bearer_token", "oidc", "passkey"]),
        "session_id": st.one_of(st.none(), _NAMES),
        "on_behalf_of": st.one_of(st.none(), _NAMES),
        "tenant": _NAMES,
        "roles": st.lists(_NAMES, max_size=3),
        "name": _NAMES,
    },
)


@given(_FIELDS)
def test_alike(fields: dict[str, Any]) -> None:
    assert as_actor(fields) == Actor(**fields)
    assert as_actor(fields).json == Actor(**fields).json


@pytest.mark.parametrize("redactor", [KEYLESS, Redactor()], ids=["keyless", "another"])
@pytest.mark.parametrize(
    "value",
    [
        "alice",
        Actor("alice"),
        {"user_id": "alice", "ip": "10.0.0.7", "roles": ["b", "a"]},
        MappingProxyType({"user_id": "alice", "ip": None}),
        {"user_id": "password=hunter2"},
    ],
    ids=["id", "object", "fields", "mapping", "secret"],
)
def test_alike_in_json(value: Any, redactor: Redactor) -> None:
    assert actor_json(value, redactor) == as_actor(value).json_for(redactor)


@pytest.mark.parametrize("kind", [dict, MappingProxyType, lambda fields: Resource(**fields)])
def test_alike_in_the_json_of_a_resource(kind: Any) -> None:
    value = kind({"resource_type": "pool", "resource_id": "p1"})
    assert resource_json(value, KEYLESS) == '{"resource_type":"pool","resource_id":"p1"}'


@pytest.mark.parametrize(
    ("make", "make_json", "given_fields"),
    [
        (as_actor, actor_json, {}),
        (as_actor, actor_json, {"user_id": "a", "role": "x"}),
        (as_actor, actor_json, {"user_id": "a", "session_id": ""}),
        (as_actor, actor_json, [1]),
        (as_resource, resource_json, {"resource_type": "pool"}),
        (as_resource, resource_json, {"resource_type": "pool", "resource_id": [7]}),
        (as_resource, resource_json, "p1"),
    ],
)
def test_alike_in_errors(make: Any, make_json: Any, given_fields: Any) -> None:
    with pytest.raises(InvalidEvent) as of_object:
        make(given_fields)
    with pytest.raises(InvalidEvent) as of_json:
        make_json(given_fields, KEYLESS)
    assert str(of_json.value) == str(of_object.value)


def test_the_json_is_made_once_for_a_log() -> None:
    """One actor usually causes many events."""
    actor, log = Actor("alice"), Redactor()
    made = actor.json_for(log)
    assert actor.json_for(log) is made
    assert actor.json_for(KEYLESS) == made


def test_an_object_is_taken_as_it_is() -> None:
    actor, resource = Actor("alice"), Resource("pool", "p1")
    assert as_actor(actor) is actor
    assert as_resource(resource) is resource
    assert as_resource({"resource_type": "pool", "resource_id": "p1"}) == resource


def test_the_json_has_the_fields_in_order_without_absent_ones() -> None:
    actor = Actor("alice", session_id="s-1", auth_method="mtls")
    assert actor.json == '{"user_id":"alice","auth_method":"mtls","session_id":"s-1"}'
    resource = Resource("task", "t-1", parent_id="p-1")
    assert resource.json == '{"resource_type":"task","resource_id":"t-1","parent_id":"p-1"}'


@pytest.mark.parametrize(
    ("make", "given_fields", "words"),
    [
        (as_actor, {}, "actor lacks user_id"),
        (as_actor, {"user_id": ""}, "actor.user_id is empty"),
        (as_actor, {"user_id": None}, "actor.user_id is NoneType"),
        (as_actor, {"user_id": "a", "role": "x"}, "actor has no field 'role'"),
        (as_actor, {"user_id": "a", 1: "x"}, "actor has no field '1'"),
        (as_actor, {"user_id": "a", "ip": "10.0.0"}, "actor.ip is not an IP address"),
        (as_actor, {"user_id": "a", "ip": 167772161}, "actor.ip is not an IP address"),
        (
            as_actor,
            {"user_id": "a", "auth_method": "Json Web"},
            "auth_method is not a lower-case word",
        ),
        (as_actor, {"user_id": "a", "auth_method": []}, "actor.auth_method is list, not a string"),
        (as_actor, {"user_id": "a", "session_id": ""}, "actor.session_id is empty"),
        (as_actor, {"user_id": "\ud800"}, "actor.user_id has a lone surrogate"),
        (as_resource, {"resource_type": "pool"}, "resource lacks resource_id"),
        (as_resource, {"resource_id": "p"}, "resource lacks resource_type"),
        (
            as_resource,
            {"resource_type": "pool", "resource_id": [7]},
            "resource.resource_id is list, not a string",
        ),
        (
            as_resource,
            {"resource_type": "pool", "resource_id": "p", "parent_id": True},
            "resource.parent_id is bool, not a string",
        ),
        (as_resource, {"resource_type": "a", "resource_id": "b", "x": 1}, "no field 'x'"),
    ],
)
def test_strict(make: Any, given_fields: Any, words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        make(given_fields)


def test_an_address_has_one_spelling() -> None:
    assert Actor("a", ip="2001:DB8:0:0::7").ip == "2001:db8::7"
    assert as_actor({"user_id": "a", "ip": ip_address("10.0.0.7")}) == Actor("a", ip="10.0.0.7")


@given(HIDDEN)
def test_a_secret_in_any_field_is_redacted(hidden: tuple[str, str]) -> None:
    secret, text = hidden
    shown = [Actor(text, session_id=text).json, Resource(text, text, parent_id=text).json]
    assert all(secret not in json for json in shown)


def test_a_refused_field_that_is_a_secret_is_not_shown() -> None:
    with pytest.raises(InvalidEvent) as refused:
        as_actor({"user_id": "a", "ghp_0123456789abcdefghij": 1})
    assert "ghp_" not in str(refused.value)


def test_copies_are_equal_and_complete() -> None:
    actor = Actor("alice", ip="10.0.0.7")
    for again in (copy.copy(actor), copy.deepcopy(actor), pickle.loads(pickle.dumps(actor))):
        assert again == actor
        assert again.json == actor.json
    changed = dataclasses.replace(actor, user_id="bob")
    assert changed.json == '{"user_id":"bob","ip":"10.0.0.7"}'
    assert dataclasses.asdict(Resource("pool", "p")) == {
        "resource_type": "pool",
        "resource_id": "p",
        "parent_id": None,
    }


@pytest.mark.parametrize("user_id", ["alice", 7, UUID(int=7)])
def test_an_id_alone_is_an_actor(user_id: Any) -> None:
    assert as_actor(user_id) == Actor(str(user_id)) == as_actor({"user_id": user_id})


def test_an_actor_says_for_whom_and_as_what_it_acted() -> None:
    actor = Actor("bot", on_behalf_of=UUID(int=7), tenant=12, roles={"b", "a"}, name="Bot")  # type: ignore[arg-type]  # taken as they are
    assert actor.json == (
        '{"user_id":"bot","on_behalf_of":"00000000-0000-0000-0000-000000000007","tenant":"12",'
        '"roles":["a","b"],"name":"Bot"}'
    )
