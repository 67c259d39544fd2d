"""Build a bulk request's body, and classify each item of the response.  Pure.

A record's own line is the document, byte for byte; ``_id`` is ``log:seq`` and the operation is
create, so that sending it again is a 409 and never a second document.

Only an item of status 201 with the id that was sent at that position proves delivery.  A response
of another shape (fewer, more or reordered items, not a JSON object) proves nothing: all are
retried.  Error types that are faults of the document quarantine it; every unknown error is retried,
so that a misconfigured cluster delays records and never drops them.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_bulk.py):
  verbatim   each line is in the body as it is, each preceded by its action
  proven     a response that does not answer what was sent gives RETRY alone
  judged     each item decides the outcome of its own record alone
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from shippers.item import Document
from shippers.outcome import INDEXED, DeliveryOutcome, quarantined, retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditlog.format.index_names import IndexNames
    from auditlog.format.record import Header
    from shippers.item import Item

__all__ = [
    "CONFLICT",
    "FILTER_PATH",
    "PARAMS",
    "bulk_body",
    "document_id",
    "index_of",
    "judge",
]

FILTER_PATH: Final = (
    "items.create._id,items.create.status,items.create.error.type,items.create.error.reason,"
    "items.create.error.caused_by.reason"
)
"""The part of the response that is read; the rest would be as long as the records."""

PARAMS: Final = {"filter_path": FILTER_PATH}

# Error types that mean that the document itself can never be indexed.  A type not listed may
# be about the cluster (closed index, too many shards, missing pipeline) and go away.
_DOCUMENT_FAULTS: Final = frozenset(
    {
        "document_parsing_exception",
        "mapper_parsing_exception",
        "mapper_exception",
        "strict_dynamic_mapping_exception",
        "parsing_exception",
        "parse_exception",
        "x_content_parse_exception",
        "max_bytes_length_exceeded_exception",
        "illegal_argument_exception",
    }
)
# illegal_argument_exception also stands for these, which are not about the document.
_CLUSTER_FAULTS: Final = ("pipeline with id", "no write index", "alias [", "index [", "unknown set")


CONFLICT: Final = retry("the id exists already", 409)
"""A 409 response; the sink decides whether it is a duplicate."""


def document_id(header: Header) -> str:
    return f"{header.log}:{header.seq}"


def bulk_body(items: Sequence[Item], names: IndexNames) -> bytes:
    """The newline-delimited body that creates every item in the index of its source and day."""
    parts: list[bytes] = []
    log = day = ""
    before = b""
    for item in items:
        if isinstance(item, Document):
            action = f'{{"create":{{"_index":"{index_of(item, names)}","_id":"{item.id}"}}}}\n'
            parts += (action.encode("ascii"), item.line)
            continue
        line, header = item
        assert header is not None  # noqa: S101  (lines without header never reach a sink)
        if header.log != log or header.timestamp[:10] != day:
            log, day = header.log, header.timestamp[:10]
            before = b'{"create":{"_index":"%b","_id":"%b:' % (
                names.of(log, day).encode("ascii"),
                log.encode("ascii"),
            )
        parts += (before, b'%d"}}\n' % header.seq, line)
    return b"".join(parts)


def index_of(item: Item, names: IndexNames) -> str:
    """The index of an item: ``llama-orch-audit-2026.11.23``, or that of its source."""
    if isinstance(item, Document):
        return _of_source(names, item.source).of(item.id, item.day)
    log = "" if item.header is None else item.header.log
    return names.of(log, (item.at or "")[:10])


@lru_cache(256)
def _of_source(names: IndexNames, source: str) -> IndexNames:
    return names.of_source(source)


def judge(items: Sequence[Item], response: object) -> list[DeliveryOutcome]:
    """Return one outcome for each item; CONFLICT if the id existed already."""
    count = len(items)
    answers = response.get("items") if isinstance(response, dict) else None
    if not isinstance(answers, list):
        return [retry("the bulk response has no items")] * count
    if len(answers) != count:
        return [retry(f"the bulk response has {len(answers)} items for {count} records")] * count
    outcomes: list[DeliveryOutcome] = []
    for item, answered in zip(items, answers, strict=True):
        try:
            answer = answered["create"]
            answered_id, status = answer["_id"], answer["status"]
        except (KeyError, TypeError):
            return [retry("an item of the bulk response does not answer a create")] * count
        if answered_id != item.id:
            return [retry("the bulk response answers other records than were sent")] * count
        outcomes.append(INDEXED if status == 201 else _judge_failure(status, answer))
    return outcomes


def _judge_failure(status: Any, answer: dict[str, Any]) -> DeliveryOutcome:
    if not isinstance(status, int):
        return retry("an item of the bulk response has no status")
    error = answer.get("error")
    kind, reason = ("", "")
    if isinstance(error, dict):
        kind, reason = str(error.get("type") or ""), str(error.get("reason") or "")
        if isinstance(cause := error.get("caused_by"), dict) and cause.get("reason"):
            reason = f"{reason}: {cause['reason']}"
    if status == 409 and kind in {"version_conflict_engine_exception", ""}:
        return CONFLICT
    if status in {400, 413, 422} and kind in _DOCUMENT_FAULTS:
        about_cluster = kind == "illegal_argument_exception" and reason.startswith(_CLUSTER_FAULTS)
        if not about_cluster:
            return quarantined(f"the document was refused ({kind})", status, reason)
    if status == 200:
        return retry("the server accepted the document without storing it (a pipeline?)", status)
    # A block that stands since the disk is full answers 429 too, and no batch is small enough.
    busy = status == 429 and kind != "cluster_block_exception"
    return retry(f"the server answered {status} {kind}".rstrip(), status, throttled=busy)
