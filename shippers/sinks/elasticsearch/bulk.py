"""The body of a bulk request, and what its response says of each record.  Pure.

A record's own line is the document, byte for byte; ``_id`` is ``log:seq`` and the operation is
create, so that sending it again is a 409 and never a second document.

Only an item of status 201 with the id that was sent at that place proves a record.  A response of
another shape (fewer, more or reordered items, no JSON object) proves nothing: all are retried.
What is a fault of the document is quarantined by its error type; everything unknown is retried, so
that a misconfigured cluster delays records and never drops them.

Invariants (tests of the same name in tests/shippers/sinks/elasticsearch/test_bulk.py):
  verbatim   each line is in the body as it is, each preceded by its action
  proven     no outcome but RETRY comes of a response that does not answer what was sent
  judged     every item decides its own record and no other
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shippers.outcome import INDEXED, Outcome, quarantined, retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditlog.format.record import Header
    from shippers.batch import Shipment
    from shippers.document import Document

__all__ = [
    "FILTER_PATH",
    "PARAMS",
    "Conflict",
    "bulk_body",
    "document_id",
    "documents_body",
    "documents_prefix",
    "index_name",
    "judge",
    "judge_ids",
]

FILTER_PATH: Final = (
    "items.create._id,items.create.status,items.create.error.type,items.create.error.reason,"
    "items.create.error.caused_by.reason"
)
"""The part of the response that is read; the rest would be as long as the records."""

PARAMS: Final = {"filter_path": FILTER_PATH}

# Types that say the document itself can never be indexed as it is.  A type that is not here may
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


class Conflict(Outcome):
    """A 409: somebody has to compare the stored hash before this is an outcome."""

    __slots__ = ()


def document_id(header: Header) -> str:
    return f"{header.log}:{header.seq}"


def index_name(prefix: str, day: str) -> str:
    """The index of a day given as ``2026-11-23``."""
    return f"{prefix}-{day.replace('-', '.')}"


def bulk_body(records: Sequence[Shipment], prefix: str) -> bytes:
    """The newline-delimited body that creates every record in the index of its own day."""
    parts: list[bytes] = []
    log = day = ""
    before = b""
    for line, header in records:
        assert header is not None  # noqa: S101  (lines without header never reach a sink)
        if header.log != log or header.timestamp[:10] != day:
            log, day = header.log, header.timestamp[:10]
            before = b'{"create":{"_index":"%b","_id":"%b:' % (
                index_name(prefix, day).encode("ascii"),
                log.encode("ascii"),
            )
        parts += (before, b'%d"}}\n' % header.seq, line)
    return b"".join(parts)


def documents_prefix(prefix: str, source: str) -> str:
    """``llama-orch-audit`` and a source ``journal`` give ``llama-orch-journal``."""
    return f"{prefix.removesuffix('-audit')}-{source}"


def documents_body(documents: Sequence[Document], prefix: str) -> bytes:
    """The body that creates every document in the index of its source and day."""
    parts: list[bytes] = []
    for document in documents:
        index = index_name(documents_prefix(prefix, document.source), document.day)
        action = f'{{"create":{{"_index":"{index}","_id":"{document.id}"}}}}\n'
        parts += (action.encode("ascii"), document.line)
    return b"".join(parts)


def judge(records: Sequence[Shipment], response: object) -> list[Outcome]:
    """One outcome for each record; a Conflict where the id was there already."""
    return judge_ids([f"{h.log}:{h.seq}" for _, h in records if h], response)  # as document_id


def judge_ids(ids: Sequence[str], response: object) -> list[Outcome]:
    """As judge, for what was sent under these ids, in this order."""
    items = response.get("items") if isinstance(response, dict) else None
    if not isinstance(items, list):
        return [retry("the bulk response has no items")] * len(ids)
    if len(items) != len(ids):
        outcome = retry(f"the bulk response has {len(items)} items for {len(ids)} records")
        return [outcome] * len(ids)
    outcomes: list[Outcome] = []
    for sent_id, item in zip(ids, items, strict=True):
        try:
            answer = item["create"]
            answered_id, status = answer["_id"], answer["status"]
        except (KeyError, TypeError):
            return [retry("an item of the bulk response is no answer to a create")] * len(ids)
        if answered_id != sent_id:
            return [retry("the bulk response answers other records than were sent")] * len(ids)
        outcomes.append(INDEXED if status == 201 else _judge_failure(status, answer))
    return outcomes


def _judge_failure(status: Any, answer: dict[str, Any]) -> Outcome:
    if not isinstance(status, int):
        return retry("an item of the bulk response has no status")
    error = answer.get("error")
    kind, reason = ("", "")
    if isinstance(error, dict):
        kind, reason = str(error.get("type") or ""), str(error.get("reason") or "")
        if isinstance(cause := error.get("caused_by"), dict) and cause.get("reason"):
            reason = f"{reason}: {cause['reason']}"
    if status == 409 and kind in {"version_conflict_engine_exception", ""}:
        return Conflict(retry("").kind, "the id exists already", status)
    if status in {400, 413, 422} and kind in _DOCUMENT_FAULTS:
        about_cluster = kind == "illegal_argument_exception" and reason.startswith(_CLUSTER_FAULTS)
        if not about_cluster:
            return quarantined(f"the document was refused ({kind})", status, reason)
    if status == 200:
        return retry("the server accepted the document without storing it (a pipeline?)", status)
    # A block that stands since the disk is full answers 429 too, and no batch is small enough.
    busy = status == 429 and kind != "cluster_block_exception"
    return retry(f"the server answered {status} {kind}".rstrip(), status, throttled=busy)
