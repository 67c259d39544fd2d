"""Ship audit logs and other programs' lines to sinks, exactly once.

    import shippers

    with shippers.SqliteSink("copy", "audit.sqlite") as sink:
        shippers.ShippingService(["/var/log/llama-orch/audit"], [sink], "state").run_once()

``import shippers`` loads nothing else: a name is loaded at its first use, so only who ships to
Elasticsearch loads its client.  docs/shipping.md, "Ship from Python", has the whole.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shippers.errors import ShipperError
    from shippers.service import ShippingOptions, ShippingService, Summary
    from shippers.sinks.elasticsearch.connection import Credentials
    from shippers.sinks.elasticsearch.options import ElasticsearchOptions
    from shippers.sinks.elasticsearch.sink import ElasticsearchSink
    from shippers.sinks.sqlite.sink import SqliteSink
    from shippers.sources.journald.options import JournaldOptions
    from shippers.sources.journald.source import JournaldSource
    from shippers.sources.ndjson.options import NdjsonOptions
    from shippers.sources.ndjson.source import NdjsonSource

__all__ = [
    "Credentials",
    "ElasticsearchOptions",
    "ElasticsearchSink",
    "JournaldOptions",
    "JournaldSource",
    "NdjsonOptions",
    "NdjsonSource",
    "ShipperError",
    "ShippingOptions",
    "ShippingService",
    "SqliteSink",
    "Summary",
]

_MODULES = {
    "Credentials": "sinks.elasticsearch.connection",
    "ElasticsearchOptions": "sinks.elasticsearch.options",
    "ElasticsearchSink": "sinks.elasticsearch.sink",
    "JournaldOptions": "sources.journald.options",
    "JournaldSource": "sources.journald.source",
    "NdjsonOptions": "sources.ndjson.options",
    "NdjsonSource": "sources.ndjson.source",
    "ShipperError": "errors",
    "ShippingOptions": "service",
    "ShippingService": "service",
    "SqliteSink": "sinks.sqlite.sink",
    "Summary": "service",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
