"""The index template of documents that other programs wrote.  Pure.

What their fields are is not known, so the mapping is dynamic, and lenient where it can be: texts
are keywords, dates are not guessed, a value of another type than the first one's is kept and not
indexed (``_ignored``), and a thousand fields are enough.  What still contradicts the mapping, as an
object where a text was, is quarantined.

The template of a source ``journal`` is for ``llama-orch-journal-*`` alone.  A source ``app`` has a
pattern that also fits a source ``app-x``; the longer name has the higher priority.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_document_template.py):
  durable   an acknowledged write is on the server's disk (translog.durability is request)
  apart     of two sources whose patterns overlap, the longer name has the higher priority
  own       who is given a template may change it: no table of it is anybody else's
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shippers.sinks.elasticsearch.bulk import documents_prefix
from shippers.sinks.elasticsearch.index_template import index_template, keyword, template_body

if TYPE_CHECKING:
    from shippers.sinks.elasticsearch.options import ElasticsearchOptions

__all__ = ["DOCUMENT_TEMPLATE_VERSION", "document_template", "template_for"]

DOCUMENT_TEMPLATE_VERSION: Final = 2
"""Raised with every change of the template; an older one on the server is replaced."""

_PRIORITY: Final = 510  # above the audit log's own


def _text() -> dict[str, Any]:
    return {"type": "text", "norms": False}


def _properties() -> dict[str, Any]:
    """What is known of every document.

    Without ignore_malformed, which is the index's: a field that repeats it is given back without
    it, and would look like another mapping.
    """
    return {
        "@timestamp": {"type": "date"},
        "message": _text(),
        "error": {"properties": {"message": _text(), "type": keyword()}},
        "log": {
            "properties": {
                "level": keyword(),
                "offset": {"type": "long"},
                "flags": keyword(),
                "file": {"properties": {"path": keyword()}},
            }
        },
    }


def document_template(
    prefix: str, source: str, *, shards: int = 1, replicas: int = 1
) -> dict[str, Any]:
    """The body of ``PUT /_index_template/<prefix of the source>``."""
    return template_body(
        documents_prefix(prefix, source),
        priority=_PRIORITY + len(source),
        version=DOCUMENT_TEMPLATE_VERSION,
        description=f"Documents of the source {source}",
        mappings={
            "date_detection": False,
            "dynamic_templates": [
                {"texts": {"match_mapping_type": "string", "mapping": keyword()}}
            ],
            "properties": _properties(),
        },
        mapping_settings={
            "ignore_malformed": True,
            "total_fields": {"limit": 1000, "ignore_dynamic_beyond_limit": True},
        },
        shards=shards,
        replicas=replicas,
    )


def template_for(options: ElasticsearchOptions, source: str = "") -> tuple[str, dict[str, Any]]:
    """Name and body of the template of a source; "": of the audit logs."""
    prefix, size = options.index_prefix, {"shards": options.shards, "replicas": options.replicas}
    if not source:
        return prefix, index_template(prefix, **size)
    return documents_prefix(prefix, source), document_template(prefix, source, **size)
