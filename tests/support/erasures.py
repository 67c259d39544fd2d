"""Erased records on disk, made without the command: the stub, and the record that proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditlog.format.erasures import ERASURE, stub_digest
from auditlog.format.record import parse_header, stub_of
from tests.support.logs import LogBuilder

if TYPE_CHECKING:
    from auditlog.format.record import Header

__all__ = ["erase", "erasure_details", "stub"]


def stub(line: bytes) -> bytes:
    made = stub_of(line)
    assert made is not None
    return made


def header_of(line: bytes) -> Header:
    header = parse_header(line)
    assert header is not None
    return header


def erasure_details(line: bytes, segment: str) -> dict[str, Any]:
    header = header_of(line)
    return {
        "log": header.log,
        "seq": header.seq,
        "segment": segment,
        "hash": header.hash,
        "stub_sha256": stub_digest(stub(line)),
        "reason": "request 17",
        "by": "dpo@example.org",
        "legal_basis": "GDPR art. 17(1)(a)",
    }


def erase(log: LogBuilder, *seqs: int, proven: bool = True, host: str = "hive1") -> None:
    """Replace records of plain segments by their stubs, in one run for a directory."""
    proofs = LogBuilder(log.directory, f"retention@{host}", at=log.at)
    for seq in seqs:
        line = log.lines[seq - 1]
        path = next(path for path in log.paths if line in path.read_bytes())
        path.write_bytes(path.read_bytes().replace(line, stub(line)))
        if proven:
            proofs.append(1, event_type=ERASURE, details=erasure_details(line, path.name))
        log.lines[seq - 1] = stub(line)
