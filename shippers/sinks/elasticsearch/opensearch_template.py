"""Rewrite an index template for OpenSearch.  Pure.

    flattened            flat_object; it has no ignore_above, so a value of ``details`` above 32,766
                         bytes makes OpenSearch refuse the record, which goes to quarantine
    subobjects: false    not there: two documents whose fields contradict each other could not both
                         be indexed, so other programs' fields are stored and only ours are indexed

A real OpenSearch takes both in tests/shippers/sinks/elasticsearch/test_opensearch.py.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["for_opensearch"]

_FLAT: Final = {"type": "flat_object"}
_OF_DYNAMIC: Final = ("subobjects", "dynamic_templates", "date_detection")
_MESSAGE: Final = {"type": "text", "norms": False}


def for_opensearch(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body as OpenSearch takes it; the given one stays as it is."""
    template = body["template"]
    mappings: dict[str, Any] = _without_flattened(template["mappings"])
    index = dict(template["settings"]["index"])
    if "subobjects" in mappings:
        kept = {name: value for name, value in mappings.items() if name not in _OF_DYNAMIC}
        properties = {**mappings["properties"], "message": _MESSAGE}
        mappings = {**kept, "dynamic": False, "properties": properties}
        index["mapping"] = {"ignore_malformed": True}
    return {**body, "template": {"settings": {"index": index}, "mappings": mappings}}


def _without_flattened(mapping: Any) -> Any:
    if not isinstance(mapping, dict):
        return mapping
    if mapping.get("type") == "flattened":
        return _FLAT
    return {name: _without_flattened(inner) for name, inner in mapping.items()}
