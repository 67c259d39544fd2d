"""Encode as JSON what others have written, however deeply it is nested.  Pure.

orjson reads 1,024 levels and writes 254: what was parsed from a line of another program, or from
the answer of a server, may be too deep for it.  Events and records of our own are bounded
(auditlog.redaction.redactor.MAX_DEPTH).

Invariants (tests of the same name in tests/auditlog/format/test_json_text.py):
  any_depth   whatever orjson parses is encoded, and in the bytes that orjson would write
"""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["encoded"]


def encoded(value: Any) -> bytes:
    """Return a value that was parsed from JSON as JSON, without blanks."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _encoded_deep(value)


def _encoded_deep(value: Any) -> bytes:
    """Encode without recursion; bytes, which JSON does not have, are text that is ready."""
    pieces: list[bytes] = []
    rest: list[Any] = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, bytes):
            pieces.append(each)
        elif isinstance(each, dict) and each:
            inside = [
                piece
                for name, item in each.items()
                for piece in (b",", orjson.dumps(name), b":", item)
            ]
            rest += [b"}", *reversed(inside[1:]), b"{"]
        elif isinstance(each, list) and each:
            inside = [piece for item in each for piece in (b",", item)]
            rest += [b"]", *reversed(inside[1:]), b"["]
        else:
            pieces.append(orjson.dumps(each))
    return b"".join(pieces)
