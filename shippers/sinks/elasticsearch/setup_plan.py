"""Compare a cluster with the required set-up: changes to make, and problems.  Pure.

The cluster needs the index template of the audit logs and one for each other source.  If several
fit an index, the server takes the one with the highest priority, and so do we.

The state of a check is ok, change (set-up does it), warning (it works, but a person should know) or
missing (it will not work, or set-up cannot do its part).

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_setup_plan.py):
  idempotent   the templates as the server gives them back are no change
  shows        the diff has every difference between two templates, and nothing else
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from shippers.sinks.elasticsearch.product import Product

__all__ = [
    "SHIPPER_PRIVILEGES",
    "ClusterState",
    "SetupCheck",
    "SetupPlan",
    "TemplatePlan",
    "plan_setup",
]

SHIPPER_PRIVILEGES: Final = ("create_doc", "auto_configure")
SHIPPER_EXCESS: Final = ("index", "delete", "delete_index", "manage")
"""Privileges that would let a shipper change or remove shipped records."""

_VERSIONS: Final[Mapping[Product, tuple[str, tuple[int, int], int]]] = {
    "elasticsearch": ("Elasticsearch", (8, 19), 9),
    "opensearch": ("OpenSearch", (2, 19), 2),
}
"""Name, oldest version that is supported, and newest major version that was tested."""
_SECURE: Final[Mapping[Product, str]] = {
    "elasticsearch": "Set xpack.security.enabled, and give the shipper the role auditlog_shipper.",
    "opensearch": "Install the security plugin, and give the shipper the role auditlog_shipper.",
}
_SKEW_ALLOWED: Final = dt.timedelta(seconds=2)
_SERVERS_OWN: Final = {
    f"{what}_date{form}" for what in ("created", "modified") for form in ("", "_millis")
}
"""Fields that version 9 adds to a template by itself; they are not compared."""
_NAMED: Final = 5  # indices listed in one finding

State = Literal["ok", "change", "warning", "missing"]
SetupAction = Literal["create", "update", "keep", "unknown"]


@dataclass(frozen=True, slots=True)
class SetupCheck:
    """One thing that was checked; ``hint`` says what to do about it, if anything."""

    check: str
    state: State
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The observed state of a cluster.  None: not observed; ``troubles`` says why, by check.

    templates        every index template of the server, ours or not, by name
    durability       index to its translog durability, where it is not the default
    mappings         index to its mapping
    secured          whether the cluster asks for credentials at all
    shipper          index pattern to privilege to whether the shipper's user has it there; None
                     when nobody is named
    skew             the cluster's clock less ours
    """

    product: Product = "elasticsearch"
    versions: tuple[str, ...] | None = None
    templates: Mapping[str, Mapping[str, Any]] | None = None
    durability: Mapping[str, str] | None = None
    mappings: Mapping[str, Any] | None = None
    secured: bool | None = None
    may_manage_templates: bool | None = None
    shipper: Mapping[str, Mapping[str, bool]] | None = None
    skew: dt.timedelta | None = None
    troubles: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class TemplatePlan:
    """``action`` on the template of this name, and the ``diff`` it makes (lines with + or -)."""

    name: str
    action: SetupAction
    diff: tuple[str, ...]

    @property
    def changes(self) -> bool:
        return self.action in ("create", "update")


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """The change to each wanted template, the audit logs' first, and all findings."""

    templates: tuple[TemplatePlan, ...]
    checks: tuple[SetupCheck, ...]

    @property
    def ok(self) -> bool:
        return all(finding.state != "missing" for finding in self.checks)

    @property
    def changes(self) -> tuple[TemplatePlan, ...]:
        return tuple(template for template in self.templates if template.changes)


def plan_setup(state: ClusterState, wanted: Mapping[str, Mapping[str, Any]]) -> SetupPlan:
    """Compare what was seen with the templates that are wanted, by name."""
    templates = tuple(_plan_template(state, name, body) for name, body in wanted.items())
    findings = (
        *_version(state),
        *_templates(state, templates, wanted),
        *_privileges(state),
        *_indices(state, wanted),
        *_clock(state),
    )
    return SetupPlan(templates, findings)


def _plan_template(state: ClusterState, name: str, wanted: Mapping[str, Any]) -> TemplatePlan:
    if state.templates is None:
        return TemplatePlan(name, "unknown", ())
    present = state.templates.get(name, {})
    diff = tuple(_diff(present, wanted))
    action: SetupAction = "create" if not present else "update" if diff else "keep"
    return TemplatePlan(name, action, diff)


def _unseen(state: ClusterState, check: str, hint: str) -> SetupCheck:
    return SetupCheck(
        check, "missing", (state.troubles or {}).get(check, "it was not looked at"), hint
    )


def _version(state: ClusterState) -> Iterator[SetupCheck]:
    if state.versions is None:
        yield _unseen(state, "version", "The set-up user needs the cluster privilege monitor.")
        return
    product, oldest, newest_major = _VERSIONS[state.product]
    named = f"{product} {', '.join(state.versions)}"
    numbers = [tuple(map(int, re.findall(r"\d+", version))) for version in state.versions]
    if any(number < oldest for number in numbers):
        needed = ".".join(map(str, oldest))
        yield SetupCheck("version", "missing", named, f"{needed} or newer is needed.")
    elif any(number[0] > newest_major for number in numbers):
        yield SetupCheck("version", "warning", f"{named} is newer than what was tested")
    else:
        yield SetupCheck("version", "ok", named)


def _templates(
    state: ClusterState,
    plans: Iterable[TemplatePlan],
    wanted: Mapping[str, Mapping[str, Any]],
) -> Iterator[SetupCheck]:
    if state.templates is None:
        yield _unseen(state, "template", "It needs the cluster privilege manage_index_templates.")
        return
    for plan in plans:
        yield _template(state, plan)
        yield from _rivals(state.templates, wanted, wanted[plan.name])


def _template(state: ClusterState, plan: TemplatePlan) -> SetupCheck:
    if not plan.changes:
        return SetupCheck("template", "ok", f"{plan.name} is as it should be")
    if state.may_manage_templates is False:
        return SetupCheck(
            "template",
            "missing",
            f"{plan.name} has to be {plan.action}d, and this user may not",
            "Use a user with the role in deploy/elasticsearch/role-auditlog_setup.json.",
        )
    return SetupCheck("template", "change", f"{plan.name} is to be {plan.action}d")


def _rivals(
    present: Mapping[str, Mapping[str, Any]],
    wanted: Mapping[str, Mapping[str, Any]],
    ours: Mapping[str, Any],
) -> Iterator[SetupCheck]:
    """Templates that are none of ours, and are taken instead of this one."""
    example = ours["index_patterns"][0].replace("*", "2026.11.23")
    for name, rival in sorted(present.items()):
        priority = int(rival.get("priority") or 0)
        if name not in wanted and priority >= ours["priority"] and _fits(rival, example):
            yield SetupCheck(
                "template",
                "missing",
                f"the template {name} takes the same indices with priority {priority}, "
                f"ours has {ours['priority']}",
                "Lower its priority, or narrow its index_patterns.",
            )


def _fits(template: Mapping[str, Any], index: str) -> bool:
    return any(fnmatch.fnmatchcase(index, each) for each in template.get("index_patterns", ()))


def _privileges(state: ClusterState) -> Iterator[SetupCheck]:
    if state.secured is False:
        yield SetupCheck(
            "privileges",
            "warning",
            "security is off: whoever reaches the cluster can change and delete records",
            _SECURE[state.product],
        )
        return
    if state.secured is None:
        yield _unseen(state, "privileges", "")
        return
    if state.product == "opensearch":
        yield SetupCheck(
            "privileges",
            "ok",
            "security is on; OpenSearch cannot be asked what a user may do",
            "The roles in deploy/opensearch/roles.yml are enough.",
        )
        return
    if state.shipper is None:
        if trouble := (state.troubles or {}).get("shipper"):
            yield SetupCheck("privileges", "missing", f"the shipper's user: {trouble}")
        return
    lacking = [
        (pattern, names)
        for pattern, held in state.shipper.items()
        if (names := [name for name in SHIPPER_PRIVILEGES if not held.get(name)])
    ]
    too_many = [
        name for name in SHIPPER_EXCESS if any(held.get(name) for held in state.shipper.values())
    ]
    for pattern, names in lacking:
        yield SetupCheck(
            "privileges",
            "missing",
            f"the shipper's user lacks {' and '.join(names)} on {pattern}",
            "Give it the role in deploy/elasticsearch/role-auditlog_shipper.json.",
        )
    if too_many:
        yield SetupCheck(
            "privileges",
            "warning",
            f"the shipper's user also has {', '.join(too_many)}, and could change what it shipped",
            "Give it the role in deploy/elasticsearch/role-auditlog_shipper.json alone.",
        )
    if not lacking and not too_many:
        yield SetupCheck("privileges", "ok", "the shipper's user can append, and nothing else")


def _indices(state: ClusterState, wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[SetupCheck]:
    if state.durability is None or state.mappings is None:
        yield _unseen(state, "indices", "The set-up user needs view_index_metadata on the indices.")
        return
    lax = sorted(name for name, value in state.durability.items() if value.lower() == "async")
    if lax:
        yield SetupCheck(
            "indices",
            "warning",
            f"translog.durability is async in {_some(lax)}: an acknowledged record can be lost",
            'PUT /<index>/_settings {"index.translog.durability": "request"}',
        )
    strange = sorted(
        name for name, mapping in state.mappings.items() if _is_strange(name, mapping, wanted)
    )
    if strange:
        yield SetupCheck(
            "indices",
            "warning",
            f"the mapping of {_some(strange)} is not the template's: it was made before it",
            "Its records are all there; reindex it where its days have to be searched alike.",
        )
    if not lax and not strange:
        yield SetupCheck(
            "indices", "ok", f"{len(state.mappings)} there, each as the template has it"
        )


def _is_strange(
    index: str, mapping: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Whether the mapping of an index of ours is not what its template makes."""
    fitting = [template for template in wanted.values() if _fits(template, index)]
    if not fitting:
        return False
    mappings = max(fitting, key=lambda template: template["priority"])["template"]["mappings"]
    differences = _diff(mapping.get("properties", {}), mappings["properties"])
    if mappings.get("dynamic") is not False:
        # Additional fields, mapped from documents, are fine: report missing and differing ones.
        differences = (line for line in differences if line.startswith("+"))
    return any(differences)


def _clock(state: ClusterState) -> Iterator[SetupCheck]:
    if state.skew is None:
        yield _unseen(state, "clock", "The set-up user needs the cluster privilege monitor.")
    elif abs(state.skew) > _SKEW_ALLOWED:
        seconds = state.skew.total_seconds()
        yield SetupCheck(
            "clock",
            "warning",
            f"the cluster's clock is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}",
            "Look at the time synchronisation of this host and of the cluster's.",
        )
    else:
        yield SetupCheck("clock", "ok", "the cluster's clock and ours agree")


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    old, new = dict(_flatten(before)), dict(_flatten(after))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            if key in old:
                yield f"- {key} = {old[key]}"
            if key in new:
                yield f"+ {key} = {new[key]}"


def _flatten(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Leaves by their path, as text: the server gives numbers and booleans back as texts."""
    for key, inner in value.items():
        path = f"{above}.{key}" if above else key
        if isinstance(inner, dict):
            # Of an object with properties the server leaves out, or fills in, its type.
            yield from _flatten(inner, path)
        elif inner in ([], None) or (key == "type" and inner == "object") or key in _SERVERS_OWN:
            continue
        else:
            yield path, inner if isinstance(inner, str) else json.dumps(inner, sort_keys=True)
