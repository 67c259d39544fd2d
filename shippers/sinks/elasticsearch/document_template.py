"""Build the index template for other programs' documents.  Pure.

Other programs' fields are not known, so the template claims none of them but ``@timestamp``, which
every document has as a time (shippers.sources.ndjson.line); what we add is under ``auditlog``.  The
mapping is dynamic, and without subobjects: a field is a dotted path, so ``error`` as a text and
``error.message``, or ``app`` beside ``app.kubernetes.io/name``, are two fields that never
contradict each other.  A value that does not fit its field is kept and not indexed (docs/adr/0010).

The template of a source ``journal`` is for ``llama-orch-journal-*`` alone.  A source ``app`` has a
pattern that also fits a source ``app-x``; the longer name has the higher priority.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_document_template.py):
  durable   an acknowledged write is on the server's disk (translog.durability is request)
  apart     of two sources whose patterns overlap, the longer name has the higher priority
  own       who is given a template may change it: no table of it is anybody else's
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditlog.format.index_names import IndexNames
from shippers.sinks.elasticsearch.index_template import index_template, keyword, template_body
from shippers.sinks.elasticsearch.opensearch_template import for_opensearch

if TYPE_CHECKING:
    from shippers.sinks.elasticsearch.options import ElasticsearchOptions
    from shippers.sinks.elasticsearch.product import Product

__all__ = ["DOCUMENT_TEMPLATE_VERSION", "document_template", "template_for"]

DOCUMENT_TEMPLATE_VERSION: Final = 3
"""Version, increased with every change; an older template on the server is replaced."""

_PRIORITY: Final = 510  # above the audit log's own


def _named(*names: str) -> dict[str, Any]:
    return {f"auditlog.source.{name}": keyword() for name in names}


def _properties() -> dict[str, Any]:
    """Return the mappings of the fields that we add to a document.

    Without ignore_malformed, which is the index's: a field that repeats it is given back without
    it, and would look like another mapping.
    """
    return {
        "@timestamp": {"type": "date"},
        **_named("name", "host", "path", "timestamp", "error.type", "error.message"),
        "auditlog.source.offset": {"type": "long"},
        "auditlog.fields": {"type": "flattened", "ignore_above": 1024, "depth_limit": 100},
    }


def _dynamic() -> list[dict[str, Any]]:
    """Return the dynamic templates that map a new field by the type of its first value.

    Every field has a keyword that takes whatever comes later, so a number and a text under one
    name are both found; numbers are compared by the double, which leaves out what is not one.
    """
    with_keyword = {"fields": {"keyword": keyword()}}
    number = {"type": "double", "ignore_malformed": True, **with_keyword}
    text = {"type": "text", "norms": False, **with_keyword}
    messages = {"match_mapping_type": "string", "match": ["message", "msg"], "mapping": text}
    return [
        {"messages": messages},
        {"texts": {"match_mapping_type": "string", "mapping": keyword()}},
        {"integers": {"match_mapping_type": "long", "mapping": number}},
        {"floats": {"match_mapping_type": "double", "mapping": number}},
        {"booleans": {"match_mapping_type": "boolean", "mapping": keyword()}},
    ]


def document_template(
    prefix: str, source: str, *, shards: int = 1, replicas: int = 1
) -> dict[str, Any]:
    """The body of ``PUT /_index_template/<prefix of the source>``."""
    return template_body(
        IndexNames(prefix).of_source(source).pattern,
        priority=_PRIORITY + len(source),
        version=DOCUMENT_TEMPLATE_VERSION,
        description=f"Documents of the source {source}",
        mappings={
            "subobjects": False,
            "date_detection": False,
            "dynamic_templates": _dynamic(),
            "properties": _properties(),
        },
        mapping_settings={
            "ignore_malformed": True,
            "total_fields": {"limit": 2000, "ignore_dynamic_beyond_limit": True},
        },
        shards=shards,
        replicas=replicas,
    )


def template_for(
    options: ElasticsearchOptions, source: str = "", product: Product = "elasticsearch"
) -> tuple[str, dict[str, Any]]:
    """Name and body of the template of a source; "": of the audit logs."""
    names, size = options.names, {"shards": options.shards, "replicas": options.replicas}
    if not source:
        name, body = names.plain, index_template(options.index_prefix, **size)
    else:
        name = names.of_source(source).plain
        body = document_template(options.index_prefix, source, **size)
    return name, for_opensearch(body) if product == "opensearch" else body
