"""Say what answers at an address where another kind of server was expected.

The words are made of statuses, types and names of servers, and never of what an answer contains.

Invariants (tests of the same name in tests/shippers/test_other_server.py):
  described   status, type and server of an answer are named, without anything that could deceive
  spoken      what is not HTTP, or TLS on one side alone, is told from a connection that broke off
"""

from __future__ import annotations

import http.client
import re
import ssl
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["causes", "describe", "spoken"]

_STRANGE: Final = re.compile(r"[^A-Za-z0-9 ./;=()+_-]")
_SHOWN: Final = 40
_NO_TLS: Final = "WRONG_VERSION_NUMBER"
_TLS_RECORD: Final = "\x15\x03"  # an alert, by which a server of TLS answers to plain HTTP
_NOT_HTTP: Final = (
    http.client.BadStatusLine,
    http.client.LineTooLong,
    http.client.UnknownProtocol,
)


def describe(expected: str, status: int, headers: Mapping[str, str]) -> str:
    """Return the words for an answer that ``expected`` does not give."""
    shown = [
        _STRANGE.sub("?", headers.get(name, ""))[:_SHOWN] for name in ("server", "content-type")
    ]
    what = ", ".join(filter(None, (f"status {status}", shown[1], shown[0] and f"from {shown[0]}")))
    return f"this is not {expected}: it answered with {what}"


def spoken(error: BaseException | None) -> str:
    """Return the words for a server that speaks otherwise than its URL says; "" for others."""
    for cause in causes(error):
        if isinstance(cause, http.client.RemoteDisconnected):
            continue  # it broke off before it said anything
        if isinstance(cause, ssl.SSLError) and getattr(cause, "reason", "") == _NO_TLS:
            return "the server does not speak TLS there, as the URL says with https"
        if isinstance(cause, _NOT_HTTP):
            if _TLS_RECORD in str(cause):
                return "the server speaks TLS there, and the URL does not begin with https"
            return "the server does not speak HTTP there"
    return ""


def causes(error: BaseException | None) -> list[BaseException]:
    """Return the error and everything that it wraps, each once."""
    found: list[BaseException] = []
    pending = [error]
    while pending:
        current = pending.pop()
        if current is None or any(current is other for other in found):
            continue
        found.append(current)
        pending += [current.__cause__, current.__context__, *getattr(current, "errors", ())]
        pending += [a for a in current.args if isinstance(a, BaseException)]
    return found
