"""Inspect a cluster for set-up, and install the index templates.

Each question is asked by itself: what one user may not see must not hide the rest.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import elasticsearch
import orjson

from shippers.errors import SinkRefused
from shippers.sinks.elasticsearch.connection import FAILURES, is_something_else, trouble
from shippers.sinks.elasticsearch.document_template import template_for
from shippers.sinks.elasticsearch.setup_plan import (
    SHIPPER_EXCESS,
    SHIPPER_PRIVILEGES,
    ClusterState,
    SetupPlan,
    plan_setup,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shippers.sinks.elasticsearch.connection import Connection

__all__ = ["Setup"]

_T = TypeVar("_T")
_NO_SECURITY: Final = (400, 404, 405, 500)
"""Errors of _has_privileges, by version, on a cluster whose security is off."""


class Setup:
    """The set-up of one cluster.

    ``connection`` is that of a user who may manage index templates, ``shipper`` that of the user
    who ships, where it is known; ``sources`` are the names of what is shipped besides the audit
    logs.  ``templates`` are the bodies that are wanted, by name.  Raises SinkRefused when the
    cluster cannot be reached.
    """

    def __init__(
        self,
        connection: Connection,
        shipper: Connection | None = None,
        sources: Sequence[str] = (),
    ) -> None:
        self._connection = connection
        self._shipper = shipper
        options = connection.options
        try:
            self._product = connection.product()
        except FAILURES as error:
            raise self._refused("the cluster cannot be looked at", error) from error
        self.templates = dict(
            template_for(options, source, self._product) for source in ("", *sources)
        )
        self._patterns = [
            pattern for t in self.templates.values() for pattern in t["index_patterns"]
        ]

    def plan(self) -> SetupPlan:
        """Look at the cluster; changes nothing."""
        return plan_setup(self.look(), self.templates)

    def apply(self, plan: SetupPlan) -> None:
        """Carry out the plan; idempotent.  Raises SinkRefused."""
        for change in plan.changes:
            body = orjson.dumps(self.templates[change.name])
            try:
                self._connection.request("PUT", f"/_index_template/{change.name}", body=body)
            except FAILURES as error:
                what = f"the index template {change.name} was not put"
                raise self._refused(what, error) from error

    def look(self) -> ClusterState:
        try:
            self._connection.request("GET", "/_cluster/health", {"filter_path": "status"})
        except FAILURES as error:
            forbidden = isinstance(error, elasticsearch.AuthorizationException)
            if not forbidden or is_something_else(error):  # else it is there, and knows us
                raise self._refused("the cluster cannot be looked at", error) from error
        troubles: dict[str, str] = {}

        def ask(check: str, question: Callable[[], _T]) -> _T | None:
            try:
                return question()
            except FAILURES as error:
                troubles.setdefault(check, trouble(error).reason)
                return None

        state = ClusterState(
            product=self._product,
            versions=ask("version", self._versions),
            templates=ask("template", self._present),
            durability=ask("indices", self._durability),
            mappings=ask("indices", self._mappings),
            skew=ask("clock", self._skew),
        )
        if self._product == "opensearch":
            secured = ask("privileges", lambda: _has_security_plugin(self._connection))
            return replace(state, secured=secured, troubles=troubles)
        own = ask("privileges", lambda: _privileges(self._connection, ["manage_index_templates"]))
        if own is not None:
            may_manage = own.get("cluster", {}).get("manage_index_templates", True)
            state = replace(state, secured=bool(own), may_manage_templates=may_manage)
        if state.secured and self._shipper is not None:
            shipper = self._shipper
            names = [*SHIPPER_PRIVILEGES, *SHIPPER_EXCESS]
            asked = ask("shipper", lambda: _privileges(shipper, [], self._patterns, names))
            state = replace(state, shipper=None if asked is None else asked.get("index", {}))
        return replace(state, troubles=troubles)

    def _versions(self) -> tuple[str, ...]:
        nodes = self._connection.request("GET", "/_nodes/_all/jvm", _only("nodes.*.version"))
        return tuple(sorted({node["version"] for node in nodes["nodes"].values()}))

    def _present(self) -> dict[str, dict[str, Any]]:
        answer = self._connection.request("GET", "/_index_template")
        return {entry["name"]: entry["index_template"] for entry in answer["index_templates"]}

    def _durability(self) -> dict[str, str]:
        path = "*.settings.index.translog.durability"
        answer = self._of_indices("_settings", path) or {}
        return {
            name: found["settings"]["index"]["translog"]["durability"]
            for name, found in answer.items()
        }

    def _mappings(self) -> dict[str, Any]:
        answer = self._of_indices("_mapping", "*.mappings") or {}
        return {name: found.get("mappings", {}) for name, found in answer.items()}

    def _of_indices(self, what: str, path: str) -> Mapping[str, Any] | None:
        answer: Mapping[str, Any] | None = self._connection.request(
            "GET",
            f"/{','.join(self._patterns)}/{what}",
            {**_only(path), "allow_no_indices": "true"},
        )
        return answer

    def _skew(self) -> dt.timedelta | None:
        sent = dt.datetime.now(dt.UTC)
        answer = self._connection.request(
            "GET", "/_nodes/stats/process", _only("nodes.*.timestamp")
        )
        received = dt.datetime.now(dt.UTC)
        times = [
            dt.datetime.fromtimestamp(node["timestamp"] / 1000, dt.UTC)
            for node in answer["nodes"].values()
        ]
        # Statistics are a second old at most, and an answer takes its time: inside is no skew.
        early = min(times) - (sent - dt.timedelta(seconds=1))
        late = max(times) - received
        return early if early < dt.timedelta(0) else max(late, dt.timedelta(0))

    def _refused(self, what: str, error: BaseException) -> SinkRefused:
        return SinkRefused(
            f"{self._connection.options.address}: {what}: {trouble(error).reason}",
            hint="Check the sink's urls, certificate authority and credentials.",
        )


def _only(path: str) -> dict[str, str]:
    return {"filter_path": path}


def _has_security_plugin(connection: Connection) -> bool:
    """Whether OpenSearch asks for credentials; it cannot be asked for the privileges of a user."""
    try:
        connection.request("GET", "/_plugins/_security/authinfo")
    except elasticsearch.ApiError as error:
        if error.status_code in _NO_SECURITY:
            return False
        raise
    return True


def _privileges(
    connection: Connection,
    cluster: Sequence[str],
    patterns: Sequence[str] = (),
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Ask the server for the user's privileges; {} where security is off."""
    body: dict[str, Any] = {"cluster": cluster}
    if patterns:
        body["index"] = [{"names": patterns, "privileges": names}]
    try:
        answer = connection.request(
            "POST", "/_security/user/_has_privileges", body=orjson.dumps(body)
        )
    except elasticsearch.ApiError as error:
        if error.status_code in _NO_SECURITY:
            return {}
        raise
    return dict(answer)
