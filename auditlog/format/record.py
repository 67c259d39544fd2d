"""Build, parse and check records: one line of JSON each.  Pure.

    {"v":1,"log":"queen-rbee@hive1","seq":42,"prev_hash":"<64 hex>","@timestamp":"…Z",
     "event_type":"…","service":"…","host":"…",…caller's fields…,"hash":"<64 hex>"}LF

``hash`` is the SHA-256 of the line's bytes before ``,"hash":"``, that is of the line without its
last 76 bytes.  Checking slices raw bytes and never serialises JSON again, so that anyone can do it
with ``head -c`` and ``sha256sum``.

A record that was erased leaves a *stub* of the same length in its place:

    {"v":1,"log":"queen-rbee@hive1","seq":42,"prev_hash":"<64 hex>","@timestamp":"…Z",
     "event_type":"log.record_erased","leaf":"<43 base64url>"   …blanks…   ,"hash":"<64 hex>"}LF

Its hashes, number and time are the record's, ``leaf`` is SHA-256(0x00 || line without LF) of the
record: the chain and the tree go on through it.  The record of the erasure, in a log of retention,
proves each of its bytes (auditlog.format.erasures).

Invariants (tests of the same name in tests/auditlog/format/test_record.py):
  sealed      the hash in a line is what sha256sum says of the line less 76 bytes
  any_byte    changing any single byte of a line makes check_link refuse it
  one_line    no body puts a second LF, a CR or a NUL into a line
  stub        a stub is intact without its content, and holds nothing but what is named above
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import orjson

from auditlog.errors import LogDamaged, RecordTooLarge

if TYPE_CHECKING:
    import os


__all__ = [
    "GENESIS_HASH",
    "MAX_OVERHEAD_BYTES",
    "MAX_RECORD_BYTES",
    "RECORD_ERASED",
    "SUFFIX_BYTES",
    "TIMESTAMP_AND_TYPE",
    "Header",
    "LinkProblem",
    "Record",
    "check_link",
    "decode",
    "format_ns",
    "format_timestamp",
    "is_intact",
    "line_hash",
    "log_prefix",
    "parse_header",
    "parse_timestamp",
    "seal",
    "stub_leaf",
    "stub_of",
]

GENESIS_HASH: Final = "0" * 64
"""prev_hash of a log's first record."""

MAX_RECORD_BYTES: Final = 65_535
"""The longest line, without its LF."""

LinkProblem = Literal["hash_mismatch", "chain_break", "seq_gap", "seq_repeat"]

_VERIFY: Final = "Run auditctl verify on the directory."
MAX_OVERHEAD_BYTES: Final = 520
"""The most that is added to a body: the log's id, numbers, salt, hashes, the names around them."""

SUFFIX_BYTES: Final = 9 + 64 + 2 + 1
"""How long a line's end is: ``,"hash":"``, the hash, ``"}`` and LF."""

TIMESTAMP_AND_TYPE: Final = (
    rb'([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}\.[0-9]{6}Z)",'
    rb'"event_type":"([a-z][a-z0-9_.]{0,63})",'
)
"""Matches the bytes behind ``"@timestamp":"`` in every line."""

_HEADER: Final = re.compile(
    rb'\{"v":1,"log":"([A-Za-z0-9._@+-]+)","seq":([1-9][0-9]{0,18}),"prev_hash":"([0-9a-f]{64})",'
    rb'"@timestamp":"' + TIMESTAMP_AND_TYPE
)

RECORD_ERASED: Final = "log.record_erased"
"""The event type of a stub."""

_STUB_TYPE: Final = b'"event_type":"%b","leaf":"' % RECORD_ERASED.encode("ascii")
_STUB: Final = re.compile(
    rb'\{"v":1,"log":"[A-Za-z0-9._@+-]+","seq":[1-9][0-9]{0,18},"prev_hash":"[0-9a-f]{64}",'
    rb'"@timestamp":"[0-9T:.-]{26}Z",'
    + re.escape(_STUB_TYPE)
    + rb'([A-Za-z0-9_-]{43})" *,"hash":"[0-9a-f]{64}"\}\n'
)
_SUFFIX: Final = re.compile(rb',"hash":"([0-9a-f]{64})"\}\n')


class Header(NamedTuple):
    """The members that the chain and the shippers need, read without parsing the JSON."""

    log: str
    seq: int
    prev_hash: str
    timestamp: str
    event_type: str
    hash: str

    @property
    def day(self) -> str:
        return self.timestamp[:10]


def log_prefix(log: str) -> bytes:
    """The bytes every line of the log starts with, up to the number."""
    return b'{"v":1,"log":"%b","seq":' % log.encode("ascii")


def seal(prefix: bytes, seq: int, prev_hash: str, timestamp: str, body: bytes) -> tuple[bytes, str]:
    """Build the line (with its LF) and its hash.

    ``prefix`` comes from log_prefix; ``body`` is the JSON object of all remaining members, from
    ``"event_type"`` on, without its braces.
    """
    middle = f'{seq},"prev_hash":"{prev_hash}","@timestamp":"{timestamp}",'
    content = prefix + middle.encode() + body
    digest = sha256(content).hexdigest()
    return content + f',"hash":"{digest}"}}\n'.encode(), digest


def line_hash(line: bytes) -> str:
    """Compute the hash of a line with its LF."""
    return sha256(memoryview(line)[:-SUFFIX_BYTES]).hexdigest()


def stub_of(line: bytes) -> bytes | None:
    """The stub that takes the place of an intact record's line; None where it would be longer.

    A line that is so short has nothing in it but type, service, host and outcome.
    """
    head = _HEADER.match(line)
    if head is None:
        return None
    leaf = base64.urlsafe_b64encode(sha256(b"\0" + line[:-1]).digest()).rstrip(b"=")
    start = line[: head.end(4) + 2] + _STUB_TYPE + leaf + b'"'
    blanks = len(line) - len(start) - SUFFIX_BYTES
    return None if blanks < 0 else start + b" " * blanks + line[-SUFFIX_BYTES:]


def stub_leaf(line: bytes) -> bytes | None:
    """The leaf that a stub states, LF included in ``line``; None for every other line."""
    if _STUB_TYPE not in line:  # as nearly always
        return None
    stub = _STUB.fullmatch(line)
    if stub is None or line.endswith(f'"{line_hash(line)}"}}\n'.encode("ascii")):
        return None  # a line that fits its own hash is a record, whatever it says
    return base64.urlsafe_b64decode(stub[1] + b"=")


def is_intact(header: Header, line: bytes) -> bool:
    """Whether the line fits its hash, or is a stub, which only its neighbours can prove."""
    return line_hash(line) == header.hash or (
        header.event_type == RECORD_ERASED and stub_leaf(line) is not None
    )


def parse_header(line: bytes) -> Header | None:
    """Parse the header of a line with its LF; None when it does not have the form of a record."""
    head = _HEADER.match(line)
    tail = _SUFFIX.fullmatch(line, max(0, len(line) - SUFFIX_BYTES))
    if head is None or tail is None or head.end() > tail.start() + 1:
        return None
    if len(line) > MAX_RECORD_BYTES + 1 or line.find(b"\n") != len(line) - 1:
        return None
    if b"\0" in line or b"\r" in line:
        return None
    log, seq, prev_hash, timestamp, event_type = head.groups()
    return Header(
        log.decode("ascii"),
        int(seq),
        prev_hash.decode("ascii"),
        timestamp.decode("ascii"),
        event_type.decode("ascii"),
        tail[1].decode("ascii"),
    )


def check_link(header: Header, line: bytes, *, seq: int, prev_hash: str) -> LinkProblem | None:
    """Whether the line is intact and follows the record before it.

    ``seq`` is the number expected, ``prev_hash`` the hash that the record before states.  Returns
    None, or the kind of finding.  A line that is not even intact is reported as that alone, since
    nothing else it says can be believed.  A stub is intact here; verification asks for its proof.
    """
    if not is_intact(header, line):
        return "hash_mismatch"
    if header.seq != seq:
        return "seq_gap" if header.seq > seq else "seq_repeat"
    if header.prev_hash != prev_hash:
        return "chain_break"
    return None


def format_timestamp(at: dt.datetime) -> str:
    """An aware datetime as RFC 3339 in UTC with six digits, as every record has it."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_ns(ns: int) -> str:
    """As format_timestamp, for nanoseconds since the epoch."""
    second, rest = divmod(ns, 1_000_000_000)
    return f"{dt.datetime.fromtimestamp(second, dt.UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def parse_timestamp(text: str) -> dt.datetime:
    """The reverse of format_timestamp.  Raises ValueError."""
    return dt.datetime.fromisoformat(text)


@dataclass(frozen=True)
class Record:
    """One record as it is in the file.

    ``line`` is the raw line with its LF and ``header`` what was read off it; ``fields`` is the
    whole JSON object, parsed on first use.
    """

    line: bytes
    header: Header

    @property
    def log(self) -> str:
        return self.header.log

    @property
    def seq(self) -> int:
        return self.header.seq

    @property
    def hash(self) -> str:
        return self.header.hash

    @property
    def prev_hash(self) -> str:
        return self.header.prev_hash

    @property
    def event_type(self) -> str:
        return self.header.event_type

    @property
    def at(self) -> dt.datetime:
        return parse_timestamp(self.header.timestamp)

    @property
    def outcome(self) -> str:
        return str(self.fields.get("outcome", ""))

    @property
    def severity(self) -> str:
        return str(self.fields.get("severity", ""))

    @property
    def reason(self) -> str | None:
        return self.fields.get("reason")

    @property
    def correlation_id(self) -> str | None:
        return self.fields.get("correlation_id")

    @property
    def details(self) -> dict[str, Any]:
        """The details; empty where the record has none."""
        return self.fields.get("details") or {}

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The JSON object.  Raises LogDamaged when an intact line is not valid JSON."""
        try:
            parsed: dict[str, Any] = orjson.loads(self.line)
        except orjson.JSONDecodeError:
            raise LogDamaged("the record is not valid JSON", seq=self.seq, hint=_VERIFY) from None
        return parsed


def too_large(size: int) -> RecordTooLarge:
    """Return the error for a line of so many bytes, with its LF."""
    return RecordTooLarge(
        f"the record would have {size - 1} bytes, {MAX_RECORD_BYTES} are allowed",
        hint="Put large content elsewhere and its hash into the event.",
    )


def decode(
    line: bytes, *, path: str | os.PathLike[str] | None = None, offset: int | None = None
) -> Record:
    """Take one line apart and check its hash.  Raises LogDamaged, naming path and offset."""
    header = parse_header(line)
    if header is None:
        reason, seq = "the line is not a record", None
    elif not is_intact(header, line):
        reason, seq = "the record's hash does not match its content", header.seq
    elif not _is_instant(header.timestamp):
        reason, seq = "the record is of a day that does not exist", header.seq
    else:
        return Record(line, header)
    raise LogDamaged(reason, path=path, offset=offset, seq=seq, hint=_VERIFY)


def _is_instant(timestamp: str) -> bool:
    try:
        parse_timestamp(timestamp)
    except ValueError:
        return False
    return True
