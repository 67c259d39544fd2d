"""Write redacted JSON with its numbers spelled as they were.  Pure.

A parser makes a float of an integer of more than 64 bits, and of a decimal number that has more
digits than a double holds; written from that float it would be another number.

Invariants (tests of the same name in tests/auditlog/redaction/test_number_spelling.py):
  spelled   a number that is not redacted keeps every digit, wherever it stands
"""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

__all__ = ["with_numbers_of"]

_DECODER: Final = json.JSONDecoder(parse_int=orjson.Fragment, parse_float=orjson.Fragment)


def with_numbers_of(original: str, redacted: dict[str, Any] | list[Any]) -> bytes:
    """Return the redacted value as JSON, its numbers spelled as in the text it was parsed from.

    Redaction changes texts, keys and single values, never the number or order of members.
    """
    return orjson.dumps(_spelled(redacted, _DECODER.decode(original)))


def _spelled(redacted: Any, original: Any) -> Any:
    if isinstance(redacted, dict):
        members = zip(redacted.items(), original.values(), strict=True)
        return {key: _spelled(item, own) for (key, item), own in members}
    if isinstance(redacted, list):
        return [_spelled(item, own) for item, own in zip(redacted, original, strict=True)]
    return redacted if isinstance(redacted, str) else original
