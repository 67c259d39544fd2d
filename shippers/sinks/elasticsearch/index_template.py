"""The index template: how records of the audit log are searchable.  Pure.

Documents are stored as they are in the file, so the mapping adapts to the record and not the other
way round: names of the Elastic Common Schema are aliases.  ``service`` and ``host`` are strings in
the record, where an alias ``service.name`` cannot stand; there the name is a multi-field.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_index_template.py):
  durable    an acknowledged write is on the server's disk (translog.durability is request)
  lenient    what the mapping does not know stays in the document and is not indexed
  resolves   every alias points to a field of the mapping
  own        who is given a template may change it: no table of it is anybody else's
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["DEFAULT_PREFIX", "TEMPLATE_VERSION", "index_template"]

DEFAULT_PREFIX: Final = "llama-orch-audit"

TEMPLATE_VERSION: Final = 1
"""Raised with every change of the template; an older one on the server is replaced."""

# Longer values stay in the document and are left out of the index.  Lucene refuses a term above
# 32,766 bytes, and with it the whole document.
_IGNORE_ABOVE: Final = 1024


def _keyword() -> dict[str, Any]:
    return {"type": "keyword", "ignore_above": _IGNORE_ABOVE}


def _named() -> dict[str, Any]:
    return {**_keyword(), "fields": {"name": _keyword()}}


def _alias(path: str) -> dict[str, Any]:
    return {"type": "alias", "path": path}


def _properties() -> dict[str, Any]:
    return {
        "v": {"type": "short"},
        "log": _keyword(),
        "seq": {"type": "long"},
        "prev_hash": {"type": "keyword", "index": False, "doc_values": False},
        "@timestamp": {"type": "date"},
        "event_type": _keyword(),
        "service": _named(),
        "host": _named(),
        "actor": {
            "properties": {
                "user_id": _keyword(),
                "ip": {"type": "ip", "ignore_malformed": True},
                "auth_method": _keyword(),
                "session_id": _keyword(),
            }
        },
        "resource": {
            "properties": {
                "resource_type": _keyword(),
                "resource_id": _keyword(),
                "parent_id": _keyword(),
            }
        },
        "outcome": _keyword(),
        "reason": _keyword(),
        "severity": _keyword(),
        "correlation_id": _keyword(),
        "details": {"type": "flattened", "ignore_above": _IGNORE_ABOVE, "depth_limit": 100},
        "hash": _keyword(),
        "event": {
            "properties": {
                "action": _alias("event_type"),
                "sequence": _alias("seq"),
                "hash": _alias("hash"),
                "outcome": _alias("outcome"),
                "reason": _alias("reason"),
            }
        },
        "user": {"properties": {"id": _alias("actor.user_id")}},
        "source": {"properties": {"ip": _alias("actor.ip")}},
        "trace": {"properties": {"id": _alias("correlation_id")}},
    }


def index_template(
    prefix: str = DEFAULT_PREFIX, *, shards: int = 1, replicas: int = 1
) -> dict[str, Any]:
    """The body of ``PUT /_index_template/<prefix>``.  Raises ValueError for impossible numbers."""
    if shards < 1 or replicas < 0:
        raise ValueError(f"shards must be at least 1 and replicas at least 0: {shards}, {replicas}")
    return {
        "index_patterns": [f"{prefix}-*"],
        "priority": 500,
        "version": TEMPLATE_VERSION,
        "_meta": {"description": "Audit logs, one document a record, as in the file"},
        "template": {
            "settings": {
                "index": {
                    "number_of_shards": shards,
                    "number_of_replicas": replicas,
                    "translog": {"durability": "request"},
                }
            },
            "mappings": {"dynamic": False, "properties": _properties()},
        },
    }
