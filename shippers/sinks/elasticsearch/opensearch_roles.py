"""Define the least privileges of each of our users for OpenSearch's security plugin.  Pure.

They are those of shippers.sinks.elasticsearch.roles, with one difference: OpenSearch has a single
action for creating and for replacing a document, so who ships can also replace one.  A replaced
record does not go unnoticed: its hash is another one, which reconcile and a search report.

deploy/opensearch/roles.yml has them as a file, made from here.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["OPENSEARCH_ROLES", "opensearch_roles_yml"]

_PATTERN: Final = "llama-orch-*"
_RECORDS: Final = "llama-orch-audit-*"
_READ: Final = (
    "indices:data/read/*",
    "indices:admin/mappings/get*",
    "indices:admin/mappings/fields/get*",
    "indices:monitor/settings/get",
)


def _role(
    cluster: tuple[str, ...], pattern: str = "", actions: tuple[str, ...] = ()
) -> dict[str, Any]:
    index = [{"index_patterns": [pattern], "allowed_actions": [*actions]}] if pattern else []
    return {"cluster_permissions": [*cluster], "index_permissions": index}


OPENSEARCH_ROLES: Final[dict[str, dict[str, Any]]] = {
    "auditlog_shipper": _role(
        ("indices:data/write/bulk",),
        _PATTERN,
        (
            "indices:data/write/bulk[s]",
            "indices:data/write/index",
            "indices:admin/create",
            "indices:admin/auto_create",
            "indices:admin/mapping/put",
        ),
    ),
    "auditlog_auditor": _role(
        (
            "cluster:monitor/main",
            "indices:data/read/mget",
            "indices:data/read/scroll*",
            "indices:data/read/point_in_time/*",
        ),
        _PATTERN,
        _READ,
    ),
    "auditlog_setup": _role(
        (
            "cluster:monitor/*",
            "indices:admin/index_template/get",
            "indices:admin/index_template/put",
        ),
        _PATTERN,
        ("indices:admin/mappings/get*", "indices:monitor/settings/get"),
    ),
    "auditlog_erasure": _role(
        ("indices:data/write/bulk", "indices:data/read/mget", "cluster:monitor/main"),
        _RECORDS,
        (
            "indices:data/read/get",
            "indices:data/read/mget*",
            "indices:data/write/bulk[s]",
            "indices:data/write/delete",
        ),
    ),
    "auditlog_index_retention": _role(
        ("cluster:monitor/main",),
        _RECORDS,
        ("indices:monitor/stats", "indices:admin/create", "indices:admin/delete"),
    ),
}
"""Return the bodies of ``PUT /_plugins/_security/api/roles/<name>``, by name."""


def opensearch_roles_yml() -> str:
    """The roles as the security plugin's ``roles.yml``."""
    lines = ["# The roles of auditlog: append this to config/opensearch-security/roles.yml,"]
    lines += ["# and run securityadmin.sh.", "_meta:", "  type: roles", "  config_version: 2"]
    for name, role in OPENSEARCH_ROLES.items():
        lines += [f"{name}:", f"  cluster_permissions: {_flow(role['cluster_permissions'])}"]
        lines.append("  index_permissions:")
        for entry in role["index_permissions"]:
            lines.append(f"    - index_patterns: {_flow(entry['index_patterns'])}")
            lines.append(f"      allowed_actions: {_flow(entry['allowed_actions'])}")
    return "\n".join(lines) + "\n"


def _flow(texts: list[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"
