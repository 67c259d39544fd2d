"""Define each user's least privileges, as Elasticsearch roles.  Pure.

    auditlog_shipper   creates documents and, with a template, the index of a new day; nothing else:
                       it cannot change, delete or even read a document
    auditlog_auditor   reads: search, verify --against; with the shipper's role, reconcile
    auditlog_setup     puts the index template and looks at the cluster; has no document at all
    auditlog_erasure           compares and deletes documents, for `auditctl erase`
    auditlog_index_retention   lists and deletes indices, and makes those of tomorrow; reads and
                               writes no document

deploy/elasticsearch/ has them as files, made from here.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_roles.py):
  files         the files in deploy/elasticsearch are what this module makes
  deletes_only  who retains indices can delete one of a day, and touch no document and no other
  erases_only   who erases records can read and delete a document, and neither change nor make one
  append_only   the shipper's role can create a document, can neither change nor delete one
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ROLES", "roles_yml"]

_PATTERN: Final = "llama-orch-*"
_RECORDS: Final = "llama-orch-audit-*"

ROLES: Final[dict[str, dict[str, Any]]] = {
    "auditlog_shipper": {
        "cluster": [],
        "indices": [{"names": [_PATTERN], "privileges": ["create_doc", "auto_configure"]}],
    },
    "auditlog_auditor": {
        "cluster": [],
        "indices": [{"names": [_PATTERN], "privileges": ["read", "view_index_metadata"]}],
    },
    "auditlog_setup": {
        "cluster": ["manage_index_templates", "monitor"],
        "indices": [{"names": [_PATTERN], "privileges": ["view_index_metadata"]}],
    },
    "auditlog_erasure": {
        "cluster": [],
        "indices": [{"names": [_RECORDS], "privileges": ["delete", "read"]}],
    },
    "auditlog_index_retention": {
        "cluster": [],
        "indices": [
            {"names": [_RECORDS], "privileges": ["monitor", "create_index", "delete_index"]}
        ],
    },
}
"""Return the bodies of ``PUT /_security/role/<name>``, by name."""


def roles_yml() -> str:
    """The roles as a ``roles.yml`` of the file realm, which needs no cluster to be set up."""
    lines = ["# The roles of auditlog: append this to config/roles.yml on every node."]
    for name, role in ROLES.items():
        lines += [f"{name}:", f"  cluster: {_flow(role['cluster'])}", "  indices:"]
        for entry in role["indices"]:
            lines.append(f"    - names: {_flow(entry['names'])}")
            lines.append(f"      privileges: {_flow(entry['privileges'])}")
    return "\n".join(lines) + "\n"


def _flow(texts: list[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"
