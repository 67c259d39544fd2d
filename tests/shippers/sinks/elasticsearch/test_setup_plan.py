from __future__ import annotations

import copy
import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.sinks.elasticsearch.document_template import document_template
from shippers.sinks.elasticsearch.index_template import index_template
from shippers.sinks.elasticsearch.setup_plan import (
    ClusterState,
    SetupCheck,
    SetupPlan,
    TemplatePlan,
    plan_setup,
)
from tests.support.elasticsearch import Cluster, request

NAME = "llama-orch-audit"
WANTED = index_template()
WORKER = "llama-orch-worker"
OF_WORKER = document_template(NAME, "worker")
HELD = {"create_doc": True, "auto_configure": True, "delete": False}
GOOD = ClusterState(
    versions=("9.5.0",),
    templates={NAME: WANTED},
    durability={},
    mappings={f"{NAME}-2026.11.23": WANTED["template"]["mappings"]},
    secured=True,
    may_manage_templates=True,
    shipper={f"{NAME}-*": HELD},
    skew=dt.timedelta(0),
    troubles={},
)


def plan(**changes: Any) -> SetupPlan:
    return plan_setup(replace(GOOD, **changes), {NAME: WANTED})


def found(made: SetupPlan) -> list[tuple[str, str]]:
    """Check and state of what is not ok."""
    return [(f.check, f.state) for f in made.checks if f.state != "ok"]


def test_a_cluster_that_is_fit_has_nothing_but_ok() -> None:
    made = plan()
    assert (made.ok, made.changes, found(made)) == (True, (), [])
    assert made.templates == (TemplatePlan(NAME, "keep", ()),)
    assert {f.check for f in made.checks} == {
        "version", "template", "privileges", "indices", "clock",
    }  # fmt: skip


def test_idempotent(elasticsearch: Cluster, index_prefix: str) -> None:
    """idempotent: the templates as the server gives them back are no change"""
    wanted = {
        index_prefix: index_template(index_prefix, shards=2, replicas=0),
        f"{index_prefix}-worker": document_template(index_prefix, "worker", replicas=0),
    }
    stored = {}
    for name, body in wanted.items():
        path = f"/_index_template/{name}"
        assert request(elasticsearch.url, "PUT", path, body)[0] == 200
        _, answer = request(elasticsearch.url, "GET", path)
        stored[name] = answer["index_templates"][0]["index_template"]
    made = plan_setup(replace(GOOD, templates=stored, mappings={}), wanted)
    assert made.templates == tuple(TemplatePlan(name, "keep", ()) for name in wanted)
    assert found(made) == []


texts = st.text(alphabet="abcd", min_size=1, max_size=2)
leaves = st.booleans() | st.integers(0, 9) | texts | st.lists(texts, min_size=1, max_size=2)
trees = st.recursive(
    st.dictionaries(texts, leaves, max_size=3),
    lambda inner: st.dictionaries(texts, inner | leaves, max_size=3),
    max_leaves=6,
)


@given(trees, trees)
def test_shows(before: dict[str, Any], after: dict[str, Any]) -> None:
    """shows: every difference between two templates is in the diff, and nothing else is"""

    def flat(tree: dict[str, Any], above: tuple[str, ...] = ()) -> dict[str, object]:
        made: dict[str, object] = {}
        for key, value in tree.items():
            if isinstance(value, dict):
                made |= flat(value, (*above, key))
            elif not (key == "type" and value == "object"):
                text = value if isinstance(value, str) else str(value).lower().replace("'", '"')
                made[".".join((*above, key))] = text
        return made

    base = {"index_patterns": ["x"], "priority": 1, "template": {"mappings": {"properties": {}}}}
    state = replace(GOOD, templates={NAME: {**base, "our": before}}, mappings={})
    (made,) = plan_setup(state, {NAME: {**base, "our": after}}).templates
    old, new = flat({"our": before}), flat({"our": after})
    gone = {f"- {key} = {old[key]}" for key in old if new.get(key) != old[key]}
    came = {f"+ {key} = {new[key]}" for key in new if old.get(key) != new[key]}
    assert set(made.diff) == gone | came


def changed(path: str, value: object) -> dict[str, Any]:
    made = copy.deepcopy(WANTED)
    *inner, last = path.split(".")
    place: Any = made
    for name in inner:
        place = place[name]
    place[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 0),
        ("template.settings.index.translog.durability", "async"),
        ("template.settings.index.number_of_replicas", "2"),
        ("template.mappings.dynamic", "true"),
        ("template.mappings.properties.details.type", "object"),
    ],
)
def test_a_template_that_drifted_is_updated_and_the_diff_names_it(path: str, value: object) -> None:
    made = plan(templates={NAME: changed(path, value)})
    (update,) = made.changes
    assert update.action == "update"
    assert any(line.startswith(f"+ {path} = ") for line in update.diff)
    assert found(made) == [("template", "change")]


def test_a_missing_template_is_created() -> None:
    (made,) = plan(templates={}).changes
    assert made.action == "create"
    assert all(line.startswith("+ ") for line in made.diff)
    assert "+ template.settings.index.translog.durability = request" in made.diff


def of_both(**changes: Any) -> SetupPlan:
    """With a source besides the audit logs; everything there is as it should be."""
    good = replace(
        GOOD,
        templates={NAME: WANTED, WORKER: OF_WORKER},
        shipper={f"{NAME}-*": HELD, f"{WORKER}-*": HELD},
    )
    return plan_setup(replace(good, **changes), {NAME: WANTED, WORKER: OF_WORKER})


def test_each_source_has_a_template_of_its_own() -> None:
    assert (of_both().ok, of_both().changes, found(of_both())) == (True, (), [])
    made = of_both(templates={NAME: WANTED})
    assert [(change.name, change.action) for change in made.changes] == [(WORKER, "create")]
    assert found(made) == [("template", "change")]
    version = OF_WORKER["version"]
    drifted = {**OF_WORKER, "version": 0}
    (change,) = of_both(templates={NAME: WANTED, WORKER: drifted}).changes
    assert change == TemplatePlan(WORKER, "update", ("- version = 0", f"+ version = {version}"))
    made = of_both(templates={NAME: WANTED}, may_manage_templates=False)
    assert found(made) == [("template", "missing")]
    lacks = of_both(shipper={f"{NAME}-*": HELD, f"{WORKER}-*": {}})
    assert [f.detail for f in lacks.checks if f.state == "missing"] == [
        f"the shipper's user lacks create_doc and auto_configure on {WORKER}-*"
    ]


def test_an_index_is_compared_with_the_template_that_made_it() -> None:
    """Without -audit in the prefix, the audit logs' pattern fits the other sources' indices too."""
    wanted = {"x": index_template("x"), "x-worker": document_template("x", "worker")}
    brought = copy.deepcopy(wanted["x-worker"]["template"]["mappings"])
    brought["properties"]["what_a_document_brought"] = {"type": "keyword"}
    guessed = {"properties": {"message": {"type": "keyword"}}}

    def warned(mapping: dict[str, Any]) -> list[tuple[str, str]]:
        state = replace(GOOD, templates=wanted, mappings={"x-worker-2026.11.23": mapping})
        return found(plan_setup(state, wanted))

    assert warned(brought) == []
    assert warned(guessed) == [("indices", "warning")]
    assert warned(wanted["x"]["template"]["mappings"]) == [("indices", "warning")]


def rivals(*others: tuple[str, int]) -> dict[str, Any]:
    """Ours, and templates of others by pattern and priority."""
    return {NAME: WANTED} | {
        f"other {pattern}": {"index_patterns": [pattern], "priority": priority}
        for pattern, priority in others
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"versions": ("8.18.4",)}, [("version", "missing")]),
        ({"versions": ("7.17.0", "9.0.0")}, [("version", "missing")]),
        ({"versions": ("8.19", "8.19.0")}, []),
        ({"versions": ("9.99.0",)}, []),
        ({"versions": ("10.0.0",)}, [("version", "warning")]),
        ({"versions": None, "troubles": {"version": "the server answered 403"}},
         [("version", "missing")]),
        ({"templates": {}, "may_manage_templates": False}, [("template", "missing")]),
        ({"templates": None}, [("template", "missing")]),
        ({"templates": rivals(("llama-*", 500))}, [("template", "missing")]),
        ({"templates": rivals(("llama-*", 499), ("x-*", 900))}, []),
        ({"secured": False, "shipper": None}, [("privileges", "warning")]),
        ({"secured": None}, [("privileges", "missing")]),
        ({"shipper": None}, []),
        ({"shipper": None, "troubles": None}, []),
        ({"shipper": None, "troubles": {"shipper": "the server answered 403"}},
         [("privileges", "missing")]),
        ({"shipper": {f"{NAME}-*": {"create_doc": True}}}, [("privileges", "missing")]),
        ({"shipper": {f"{NAME}-*": {**HELD, "delete": True}}},
         [("privileges", "warning")]),
        ({"durability": {f"{NAME}-2026.11.22": "ASYNC"}}, [("indices", "warning")]),
        ({"durability": {f"{NAME}-2026.11.22": "request"}}, []),
        ({"durability": None}, [("indices", "missing")]),
        ({"mappings": {f"{NAME}-2026.11.22": {"properties": {"log": {"type": "text"}}}}},
         [("indices", "warning")]),
        ({"mappings": {"other-2026.11.22": {"properties": {"log": {"type": "text"}}}}}, []),
        ({"mappings": None}, [("indices", "missing")]),
        ({"skew": None}, [("clock", "missing")]),
        ({"skew": dt.timedelta(seconds=2)}, []),
        ({"skew": dt.timedelta(seconds=3)}, [("clock", "warning")]),
        ({"skew": dt.timedelta(seconds=-3)}, [("clock", "warning")]),
        ({"skew": dt.timedelta(seconds=1)}, []),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    made = plan(**changes)
    assert found(made) == expected
    wrong = {check for check, _ in expected} - {"template"}  # which has a finding for each
    assert not wrong & {f.check for f in made.checks if f.state == "ok"}
    assert made.ok == all(state != "missing" for _, state in expected)


def test_many_indices_are_counted_and_not_all_listed() -> None:
    durability = {f"{NAME}-2026.11.{day:02}": "async" for day in range(1, 21)}
    finding: SetupCheck
    (finding,) = (f for f in plan(durability=durability).checks if f.state == "warning")
    assert "2026.11.01" in finding.detail
    assert finding.detail.count(NAME) == 5
    assert "and 15 more" in finding.detail


def details(made: SetupPlan) -> list[str]:
    return [finding.detail for finding in made.checks if finding.state != "ok"]


@pytest.mark.parametrize("check", ["version", "template", "privileges", "indices", "clock"])
def test_why_something_was_not_observed_is_said(check: str) -> None:
    nothing = ClusterState()
    assert set(details(plan_setup(nothing, {NAME: WANTED}))) == {"it was not looked at"}
    knows = replace(nothing, troubles={check: "the server answered 403"})
    made = plan_setup(knows, {NAME: WANTED})
    assert made.templates == (TemplatePlan(NAME, "unknown", ()),)
    assert {f.check for f in made.checks if f.detail == "the server answered 403"} == {check}


@pytest.mark.parametrize(("seconds", "word"), [(3.25, "3.2 s ahead"), (-3.25, "3.2 s behind")])
def test_a_clock_is_said_to_be_ahead_or_behind(seconds: float, word: str) -> None:
    (detail,) = details(plan(skew=dt.timedelta(seconds=seconds)))
    assert detail == f"the cluster's clock is {word}"


def test_a_template_without_a_priority_has_the_lowest() -> None:
    other = {"index_patterns": ["llama-*"]}
    lowest = {**WANTED, "priority": 0}
    made = plan_setup(replace(GOOD, templates={NAME: lowest, "x": other}), {NAME: lowest})
    (detail,) = details(made)
    assert detail == "the template x takes the same indices with priority 0, ours has 0"
    above = {**WANTED, "priority": 1}
    made = plan_setup(replace(GOOD, templates={NAME: above, "x": other}), {NAME: above})
    assert found(made) == []


@pytest.mark.parametrize(("count", "end"), [(5, ".05"), (6, ".05 and 1 more")])
def test_up_to_five_indices_are_listed(count: int, end: str) -> None:
    durability = {f"{NAME}-2026.11.{day:02}": "async" for day in range(1, count + 1)}
    (detail,) = details(plan(durability=durability))
    named, _, _ = detail.removeprefix("translog.durability is async in ").partition(":")
    assert named.endswith(end)


def test_an_index_that_is_lax_and_strange_is_said_to_be_both() -> None:
    index = f"{NAME}-2026.11.22"
    guessed = {"properties": {"log": {"type": "text"}}}
    made = plan(durability={index: "async"}, mappings={index: guessed})
    assert found(made) == [("indices", "warning"), ("indices", "warning")]


def test_every_privilege_too_many_is_named() -> None:
    held = {**HELD, "index": True, "manage": True}
    (detail,) = details(plan(shipper={f"{NAME}-*": HELD, f"{WORKER}-*": held}))
    assert detail.startswith("the shipper's user also has index, manage, and could")


@pytest.mark.parametrize(
    "filled_in",
    [
        {"composed_of": []},
        {"allow_auto_create": None},
        {"created_date": 1, "modified_date_millis": 2},
        {"type": "object"},
    ],
)
def test_a_field_that_the_server_fills_in_is_no_difference(filled_in: dict[str, Any]) -> None:
    """The fields behind it are compared all the same."""
    assert plan(templates={NAME: {**filled_in, **WANTED}}).changes == ()
    drifted = {**filled_in, **WANTED, "version": 0}
    (update,) = plan(templates={NAME: drifted}).changes
    assert update.diff == ("- version = 0", f"+ version = {WANTED['version']}")


def test_the_order_of_the_members_of_an_object_in_a_list_is_no_difference() -> None:
    before = {**WANTED, "x": [{"a": 1, "b": 2}]}
    after = {**WANTED, "x": [{"b": 2, "a": 1}]}
    made = plan_setup(replace(GOOD, templates={NAME: before}), {NAME: after})
    assert made.changes == ()


def test_an_index_of_records_has_no_field_but_the_template_s() -> None:
    """A document may bring fields of its own, a record may not."""
    mapping = copy.deepcopy(WANTED["template"]["mappings"])
    mapping["properties"]["another"] = {"type": "keyword"}
    made = plan(mappings={f"{NAME}-2026.11.22": mapping})
    assert found(made) == [("indices", "warning")]
