"""What a cluster still needs before it is fit for audit logs, and what is wrong with it.  Pure.

A finding is one of: ok, change (set-up does it), warning (it works, and a person should know) or
missing (it will not work, or set-up cannot do its part).

Invariants (tests of the same name in tests/shippers/test_setup_plan.py):
  idempotent   the template as the server gives it back is no change
  shows        every difference between two templates is in the diff, and nothing else is
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SHIPPER_PRIVILEGES", "ClusterState", "Finding", "SetupPlan", "plan_setup"]

SHIPPER_PRIVILEGES: Final = ("create_doc", "auto_configure")
SHIPPER_EXCESS: Final = ("index", "delete", "delete_index", "manage")
"""With one of these a shipper could change or remove what it has shipped."""

_OLDEST: Final = (8, 19)
_NEWEST_MAJOR: Final = 9
_SKEW_ALLOWED: Final = dt.timedelta(seconds=2)
_SERVERS_OWN: Final = {
    f"{what}_date{form}" for what in ("created", "modified") for form in ("", "_millis")
}
"""What version 9 notes in a template by itself."""
_NAMED: Final = 5  # indices listed in one finding

State = Literal["ok", "change", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``hint`` says what to do where that is anything."""

    check: str
    state: State
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What was seen of a cluster.  None: it could not be seen; ``troubles`` says why, by check.

    template         the index template of our name as the server has it; {} when there is none
    rivals           other templates for the same indices: name to (patterns, priority)
    durability       index to its translog durability, where it is not the default
    mappings         index to its mapping
    secured          whether the cluster asks for credentials at all
    shipper          privilege to whether the shipper's user has it; None when nobody is named
    skew             the cluster's clock less ours
    """

    versions: tuple[str, ...] | None = None
    template: Mapping[str, Any] | None = None
    rivals: Mapping[str, tuple[tuple[str, ...], int]] | None = None
    durability: Mapping[str, str] | None = None
    mappings: Mapping[str, Any] | None = None
    secured: bool | None = None
    may_manage_templates: bool | None = None
    shipper: Mapping[str, bool] | None = None
    skew: dt.timedelta | None = None
    troubles: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """``action`` on the template, the ``diff`` it makes (lines with + or -), and all findings."""

    action: Literal["create", "update", "keep", "unknown"]
    diff: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.state != "missing" for finding in self.findings)


def plan_setup(state: ClusterState, name: str, wanted: Mapping[str, Any]) -> SetupPlan:
    """Compare what was seen with the template that is wanted under the name."""
    diff = () if state.template is None else tuple(_diff(state.template, wanted))
    action: Literal["create", "update", "keep", "unknown"] = "keep"
    if state.template is None:
        action = "unknown"
    elif not state.template:
        action = "create"
    elif diff:
        action = "update"
    findings = (
        *_version(state),
        *_template(state, name, action, wanted),
        *_privileges(state),
        *_indices(state, wanted),
        *_clock(state),
    )
    return SetupPlan(action, diff, findings)


def _unseen(state: ClusterState, check: str, hint: str) -> Finding:
    return Finding(
        check, "missing", (state.troubles or {}).get(check, "it was not looked at"), hint
    )


def _version(state: ClusterState) -> Iterator[Finding]:
    if state.versions is None:
        yield _unseen(state, "version", "The set-up user needs the cluster privilege monitor.")
        return
    named = ", ".join(state.versions)
    numbers = [tuple(map(int, re.findall(r"\d+", version)[:2])) for version in state.versions]
    if any(number < _OLDEST for number in numbers):
        yield Finding("version", "missing", f"Elasticsearch {named}", "8.19 or newer is needed.")
    elif any(number[0] > _NEWEST_MAJOR for number in numbers):
        yield Finding("version", "warning", f"Elasticsearch {named} is newer than what was tested")
    else:
        yield Finding("version", "ok", f"Elasticsearch {named}")


def _template(
    state: ClusterState, name: str, action: str, wanted: Mapping[str, Any]
) -> Iterator[Finding]:
    if state.template is None:
        yield _unseen(state, "template", "It needs the cluster privilege manage_index_templates.")
        return
    if action == "keep":
        yield Finding("template", "ok", f"{name} is as it should be")
    elif state.may_manage_templates is False:
        yield Finding(
            "template",
            "missing",
            f"{name} has to be {action}d, and this user may not",
            "Use a user with the role in deploy/elasticsearch/role-auditlog_setup.json.",
        )
    else:
        yield Finding("template", "change", f"{name} is to be {action}d")
    ours = wanted["index_patterns"][0]
    for rival, (patterns, priority) in sorted((state.rivals or {}).items()):
        example = ours.replace("*", "2026.11.23")
        if priority >= wanted["priority"] and any(fnmatch.fnmatch(example, p) for p in patterns):
            yield Finding(
                "template",
                "missing",
                f"the template {rival} takes the same indices with priority {priority}, "
                f"ours has {wanted['priority']}",
                "Lower its priority, or narrow its index_patterns.",
            )


def _privileges(state: ClusterState) -> Iterator[Finding]:
    if state.secured is False:
        yield Finding(
            "privileges",
            "warning",
            "security is off: whoever reaches the cluster can change and delete records",
            "Set xpack.security.enabled, and give the shipper the role auditlog_shipper.",
        )
        return
    if state.secured is None:
        yield _unseen(state, "privileges", "")
        return
    if state.shipper is None:
        if trouble := (state.troubles or {}).get("shipper"):
            yield Finding("privileges", "missing", f"the shipper's user: {trouble}")
        return
    lacking = [name for name in SHIPPER_PRIVILEGES if not state.shipper.get(name)]
    too_many = [name for name in SHIPPER_EXCESS if state.shipper.get(name)]
    if lacking:
        yield Finding(
            "privileges",
            "missing",
            f"the shipper's user lacks {' and '.join(lacking)} on the indices",
            "Give it the role in deploy/elasticsearch/role-auditlog_shipper.json.",
        )
    if too_many:
        yield Finding(
            "privileges",
            "warning",
            f"the shipper's user also has {', '.join(too_many)}, and could change what it shipped",
            "Give it the role in deploy/elasticsearch/role-auditlog_shipper.json alone.",
        )
    if not lacking and not too_many:
        yield Finding("privileges", "ok", "the shipper's user can append, and nothing else")


def _indices(state: ClusterState, wanted: Mapping[str, Any]) -> Iterator[Finding]:
    if state.durability is None or state.mappings is None:
        yield _unseen(state, "indices", "The set-up user needs view_index_metadata on the indices.")
        return
    lax = sorted(name for name, value in state.durability.items() if value.lower() == "async")
    if lax:
        yield Finding(
            "indices",
            "warning",
            f"translog.durability is async in {_some(lax)}: an acknowledged record can be lost",
            'PUT /<index>/_settings {"index.translog.durability": "request"}',
        )
    properties = wanted["template"]["mappings"]["properties"]
    strange = sorted(
        name
        for name, mapping in state.mappings.items()
        if any(_diff(mapping.get("properties", {}), properties))
    )
    if strange:
        yield Finding(
            "indices",
            "warning",
            f"the mapping of {_some(strange)} is not the template's: it was made before it",
            "Its records are all there; reindex it where its days have to be searched alike.",
        )
    if not lax and not strange:
        yield Finding("indices", "ok", f"{len(state.mappings)} there, each as the template has it")


def _clock(state: ClusterState) -> Iterator[Finding]:
    if state.skew is None:
        yield _unseen(state, "clock", "The set-up user needs the cluster privilege monitor.")
    elif abs(state.skew) > _SKEW_ALLOWED:
        seconds = state.skew.total_seconds()
        yield Finding(
            "clock",
            "warning",
            f"the cluster's clock is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}",
            "Look at the time synchronisation of this host and of the cluster's.",
        )
    else:
        yield Finding("clock", "ok", "the cluster's clock and ours agree")


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
            yield path, inner if isinstance(inner, str) else json.dumps(inner)
