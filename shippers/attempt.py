"""One attempt to bring a batch's open lines to a final outcome.  Runs in a worker thread.

Alarms and lines that are no records go straight to the quarantine; the rest goes to the sink, and
what the sink refuses for good goes to the quarantine too.  Only what is durable there is final.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, TypeVar

from shippers.document import DocumentBatch
from shippers.outcome import Kind, Outcome, quarantined, retry
from shippers.quarantine.store import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shippers.batch import AnyBatch, Batch, Shipment
    from shippers.document import Document
    from shippers.quarantine.store import Quarantine
    from shippers.sinks.protocol import Sink

__all__ = ["Attempt"]

_logger = logging.getLogger("auditlog.shippers")
_T = TypeVar("_T")


class Attempt:
    """How attempts are made for one sink.  Thread-safe as its sink and quarantine are."""

    def __init__(
        self, sink: Sink, quarantine: Quarantine, clock: Callable[[], dt.datetime]
    ) -> None:
        self._sink = sink
        self._quarantine = quarantine
        self._clock = clock

    def run(self, batch: AnyBatch, indices: Sequence[int]) -> list[Outcome]:
        """One outcome for each of the batch's lines ``indices``, in their order."""
        if isinstance(batch, DocumentBatch):
            return self._run_documents(batch, indices)
        try:
            self._enter_findings(batch)
        except OSError as error:
            return [_unwritable(error)] * len(indices)
        records = [batch.shipments[index] for index in indices]
        if all(header is not None for _, header in records):
            outcomes = self._deliver(records)
        else:
            outcomes = self._deliver_mixed(records)
        self._enter_refused(batch, indices, outcomes)
        return outcomes

    def _deliver_mixed(self, records: Sequence[Shipment]) -> list[Outcome]:
        delivered = iter(self._deliver([r for r in records if r.header is not None]))
        strange = quarantined("the line is not a record of this log")
        return [strange if r.header is None else next(delivered) for r in records]

    def _run_documents(self, batch: DocumentBatch, indices: Sequence[int]) -> list[Outcome]:
        documents = [batch.documents[index] for index in indices]
        outcomes = self._try(documents, self._sink.deliver_documents)
        self._enter(
            [
                (n, _document_entry(documents[n], outcome))
                for n, outcome in enumerate(outcomes)
                if outcome.kind is Kind.QUARANTINED
            ],
            outcomes,
        )
        return outcomes

    def _deliver(self, records: Sequence[Shipment]) -> list[Outcome]:
        return self._try(records, self._sink.deliver)

    def _try(
        self, records: Sequence[_T], deliver: Callable[[Sequence[_T]], list[Outcome]]
    ) -> list[Outcome]:
        if not records:
            return []
        try:
            outcomes = deliver(records)
        except Exception as error:
            # A sink promises not to raise; one that does must not stop the others.
            _logger.exception("sink %s raised while delivering", self._sink.name)
            return [retry(f"the sink failed with {type(error).__name__}")] * len(records)
        if len(outcomes) != len(records):
            reason = f"the sink gave {len(outcomes)} outcomes for {len(records)} records"
            return [retry(reason)] * len(records)
        return outcomes

    def _enter_findings(self, batch: Batch) -> None:
        if not batch.findings:
            return
        entries = [
            Entry("chain_break", f"{f.kind}: {f.detail}", batch.log, f.segment, f.offset, f.seq)
            for f in batch.findings
        ]
        self._quarantine.add(entries, self._clock())
        batch.findings.clear()

    def _enter_refused(self, batch: Batch, indices: Sequence[int], outcomes: list[Outcome]) -> None:
        self._enter(
            [
                (n, _entry(batch, indices[n], outcome))
                for n, outcome in enumerate(outcomes)
                if outcome.kind is Kind.QUARANTINED
            ],
            outcomes,
        )

    def _enter(self, refused: Sequence[tuple[int, Entry]], outcomes: list[Outcome]) -> None:
        """Only what is durable in the quarantine keeps its final outcome."""
        if not refused:
            return
        try:
            self._quarantine.add([entry for _, entry in refused], self._clock())
        except OSError as error:
            for n, _ in refused:
                outcomes[n] = _unwritable(error)


def _entry(batch: Batch, index: int, outcome: Outcome) -> Entry:
    line, header = batch.shipments[index]
    kind = "not_a_record" if header is None else "tampered" if outcome.alarm else "refused"
    begin = batch.ends[index - 1] if index else batch.start.offset
    return Entry(
        kind,
        outcome.reason,
        batch.log,
        batch.segment,
        begin,
        None if header is None else header.seq,
        outcome.status,
        outcome.server_message,
        line,
    )


def _document_entry(document: Document, outcome: Outcome) -> Entry:
    return Entry(
        "refused",
        outcome.reason,
        document.source,
        "",
        0,
        None,
        outcome.status,
        outcome.server_message,
        document.line,
        document,
    )


def _unwritable(error: OSError) -> Outcome:
    return retry(f"the quarantine cannot be written: {error.strerror}")
