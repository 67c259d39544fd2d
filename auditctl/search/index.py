"""Search an Elasticsearch or OpenSearch sink, with the same predicate as files.

The server chooses by time, log and fields that are indexed whole; the predicate decides.  Only
`_search` and `_field_caps` are used, which the role auditlog_auditor may do.

The index knows milliseconds, a record microseconds: hits of one millisecond are put in order here.

Invariants (tests of the same name in tests/auditctl/search/test_sinks.py):
  same_answers   a sink that has the records gives the same answers as their files
  verbatim       a document that is not byte for byte what was written is told
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from auditctl.composition.sinks import elasticsearch_credentials
from auditctl.errors import CommandFailed
from auditlog.errors import LogDamaged
from auditlog.format.json_text import encoded
from auditlog.format.record import Record, line_hash, parse_header
from auditlog.query.predicate import number_of, predicate
from auditlog.query.syntax import conjuncts
from shippers.sinks.elasticsearch.connection import FAILURES, Connection, trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditctl.config.sinks import ElasticsearchConfig
    from auditlog.query.files import Trouble
    from auditlog.query.scope import SearchScope
    from auditlog.query.syntax import Query

__all__ = ["IndexSearch"]

_PAGE: Final = 1000
_EXACT_TYPES: Final = frozenset({"keyword", "flattened", "flat_object"})
_MAX_INDEXED: Final = 1024  # the template's ignore_above: longer values are not in the index
_SORT: Final = {"@timestamp": "date", "log": "keyword", "seq": "long"}
_NOT_VERBATIM: Final = "is not what was written: its bytes do not give its hash"


@dataclass(frozen=True, slots=True)
class IndexSearch:
    """The indices of a sink of kind elasticsearch."""

    config: ElasticsearchConfig
    tell: Trouble

    def records(
        self, query: Query, scope: SearchScope, *, reverse: bool = False
    ) -> Iterator[Record]:
        """The matches in the order of time.  Raises CommandFailed, ConfigError, SinkRefused."""
        holds = predicate(query)
        config = self.config
        connection = Connection(config, elasticsearch_credentials(config))
        search = _Search(connection, f"/{config.names.pattern}")
        try:
            filters = [*_ranges(scope), *search.decidable(query)]
            for record in search.sorted(filters, self._told, reverse=reverse):
                if not scope.has_log(record.log):
                    continue
                try:
                    if scope.since <= record.header.timestamp < scope.until and holds(record):
                        yield record
                except LogDamaged:
                    self._told(f"document {record.log}:{record.seq} is not JSON")
        except FAILURES as error:
            outcome = trouble(error)
            raise CommandFailed(
                f"{config.address}: it cannot be searched: {outcome.reason}",
                hint=_hint(outcome.status),
            ) from error
        finally:
            connection.close()

    def _told(self, reason: str) -> None:
        self.tell(self.config.address, 0, reason)


@dataclass(frozen=True, slots=True)
class _Search:
    """Requests to the indices at ``path``."""

    connection: Connection
    path: str

    def decidable(self, query: Query) -> Iterator[dict[str, Any]]:
        """The tests of the query that the index can decide for every document."""
        tests = [
            test
            for test in conjuncts(query)
            if test.op == "="
            and (test.quoted or number_of(test.value) is None)
            and test.value not in ("", "true", "false", "null")
            and len(test.value) <= _MAX_INDEXED
        ]
        if not tests:
            return
        names = {test.field: _mapped(test.field) for test in tests}
        asked = ",".join(sorted({*names.values()}))
        fields = self._request("_field_caps", None, fields=asked, include_unmapped="true")["fields"]
        for test in tests:
            types = set(fields.get(names[test.field], ()))
            if types and types <= _EXACT_TYPES:
                yield {"term": {test.field: test.value}}

    def sorted(self, filters: Sequence[Any], told: Any, *, reverse: bool) -> Iterator[Record]:
        """All hits by (timestamp, log, seq), to the microsecond."""
        group: list[Record] = []  # of one millisecond
        for source in self._sources(filters, reverse=reverse):
            line = encoded(source) + b"\n"
            header = parse_header(line)
            if header is None:
                told("a document is not a record")
                continue
            record = Record(line, header)
            if line_hash(line) != header.hash:
                told(f"document {record.log}:{record.seq} {_NOT_VERBATIM}")
            if group and group[0].header.timestamp[:23] != header.timestamp[:23]:
                yield from sorted(group, key=_key, reverse=reverse)
                group.clear()
            group.append(record)
        yield from sorted(group, key=_key, reverse=reverse)

    def _sources(self, filters: Sequence[Any], *, reverse: bool) -> Iterator[dict[str, Any]]:
        order = "desc" if reverse else "asc"
        body: dict[str, Any] = {
            "size": _PAGE,
            "track_total_hits": False,
            "query": {"bool": {"filter": filters}},
            "sort": [
                {name: {"order": order, "unmapped_type": kind}} for name, kind in _SORT.items()
            ],
        }
        while hits := self._request("_search", body)["hits"]["hits"]:
            for hit in hits:
                yield hit["_source"]
            body["search_after"] = hits[-1]["sort"]

    def _request(self, api: str, body: Any, **params: str) -> Any:
        tolerant = {"ignore_unavailable": "true", "allow_no_indices": "true"}
        return self.connection.request(
            "POST",
            f"{self.path}/{api}",
            {**tolerant, **params},
            body=None if body is None else orjson.dumps(body),
        )


def _ranges(scope: SearchScope) -> Iterator[dict[str, Any]]:
    bounds = {}
    if scope.since_at is not None:
        bounds["gte"] = scope.since[:23] + "Z"  # the millisecond it lies in
    if scope.until_at is not None:
        bounds["lte"] = scope.until[:23] + "Z"
    if bounds:
        yield {"range": {"@timestamp": bounds}}
    if scope.logs != "*" and "[" not in scope.logs:
        yield {"wildcard": {"log": {"value": scope.logs}}}


def _mapped(field: str) -> str:
    """The field that the mapping has: below details everything is one flattened field."""
    return "details" if field.startswith("details.") else field


def _key(record: Record) -> tuple[str, str, int]:
    return record.header.timestamp, record.log, record.seq


def _hint(status: int | None) -> str:
    if status == 400:
        return "Were the indices made with the template of `setup elasticsearch`?"
    return "Check address and credentials; searching needs the role auditlog_auditor."
