"""Build the index template for audit log records.  Pure.

The mapping follows from the members of a record (auditlog.events.members).  Documents are stored as
they are in the file, so names of the Elastic Common Schema are aliases.  ``service`` and ``host``
are strings in the record, where an alias ``service.name`` cannot stand; there the name is a
multi-field.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_index_template.py):
  durable    an acknowledged write is on the server's disk (translog.durability is request)
  lenient    what the mapping does not know stays in the document and is not indexed
  resolves   every alias points to a field of the mapping
  own        who is given a template may change it: no table of it is anybody else's
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditlog.events.members import aliases, leaves, members
from auditlog.format.index_names import IndexNames
from shippers.sinks.elasticsearch.options import DEFAULT_PREFIX

if TYPE_CHECKING:
    from auditlog.events.field_kinds import Indexed

__all__ = ["TEMPLATE_VERSION", "index_template", "keyword", "template_body"]


TEMPLATE_VERSION: Final = 2
"""Version, increased with every change; an older template on the server is replaced."""

# Longer values stay in the document and are left out of the index.  Lucene refuses a term above
# 32,766 bytes, and with it the whole document.
_IGNORE_ABOVE: Final = 1024


def _properties() -> dict[str, Any]:
    """The mapping of the members of a record, then the aliases; every table of it is new."""
    mapping: dict[str, Any] = {}
    for member in leaves(members()):
        _put(mapping, member.path, _mapped(member.indexed))
    for ecs, member in aliases().items():
        group, _, name = ecs.partition(".")
        if group == member.path:  # an alias service.name cannot stand below the string service
            mapping[group]["fields"] = {name: _mapped("keyword")}
        else:
            _put(mapping, ecs, {"type": "alias", "path": member.path})
    return mapping


def keyword() -> dict[str, Any]:
    return {"type": "keyword", "ignore_above": _IGNORE_ABOVE}


def _mapped(indexed: Indexed) -> dict[str, Any]:
    """The mapping of one field."""
    match indexed:
        case "keyword":
            return keyword()
        case "ip":
            return {"type": "ip", "ignore_malformed": True}
        case "object":
            return {"type": "flattened", "ignore_above": _IGNORE_ABOVE, "depth_limit": 100}
        case "stored":
            return {"type": "keyword", "index": False, "doc_values": False}
        case _:
            return {"type": indexed}


def _put(mapping: dict[str, Any], path: str, field: dict[str, Any]) -> None:
    """Insert the field at its path, creating the objects above it."""
    *groups, name = path.split(".")
    for group in groups:
        mapping = mapping.setdefault(group, {"properties": {}})["properties"]
    mapping[name] = field


def index_template(
    prefix: str = DEFAULT_PREFIX, *, shards: int = 1, replicas: int = 1
) -> dict[str, Any]:
    """The body of ``PUT /_index_template/<prefix>``.  Raises ValueError for impossible numbers."""
    return template_body(
        IndexNames(prefix).pattern,
        priority=500,
        version=TEMPLATE_VERSION,
        description="Audit logs, one document a record, as in the file",
        mappings={"dynamic": False, "properties": _properties()},
        shards=shards,
        replicas=replicas,
    )


def template_body(
    pattern: str,
    *,
    priority: int,
    version: int,
    description: str,
    mappings: dict[str, Any],
    mapping_settings: dict[str, Any] | None = None,
    shards: int,
    replicas: int,
) -> dict[str, Any]:
    """A template for the indices of a wildcard.  Raises ValueError for impossible numbers."""
    if shards < 1 or replicas < 0:
        raise ValueError(f"shards must be at least 1 and replicas at least 0: {shards}, {replicas}")
    settings: dict[str, Any] = {
        "number_of_shards": shards,
        "number_of_replicas": replicas,
        "translog": {"durability": "request"},
    }
    if mapping_settings is not None:
        settings["mapping"] = mapping_settings
    return {
        "index_patterns": [pattern],
        "priority": priority,
        "version": version,
        "_meta": {"description": description},
        "template": {"settings": {"index": settings}, "mappings": mappings},
    }
