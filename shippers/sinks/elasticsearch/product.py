"""Recognise what answers at an address: Elasticsearch, OpenSearch, or something else.  Pure.

Elasticsearch names itself in a header of its answers.  OpenSearch does not, but its ``GET /`` says
which distribution it is; where the user may not ask that, its security plugin refuses in words of
its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Product", "describe", "named_in_body", "named_in_header"]

Product = Literal["elasticsearch", "opensearch"]

_HEADER: Final = "x-elastic-product"
_REFUSED: Final = (401, 403)
_STRANGE: Final = re.compile(r"[^A-Za-z0-9 ./;=()+_-]")
_SHOWN: Final = 40


def named_in_header(headers: Mapping[str, str]) -> bool:
    """Return whether an answer says that it is from Elasticsearch."""
    return headers.get(_HEADER, "") == "Elasticsearch"


def named_in_body(status: int, body: Any) -> Product | None:
    """Return the product by its answer to ``GET /``, None for anything else."""
    if not isinstance(body, dict):
        return None
    version, error = body.get("version"), body.get("error")
    if status == 200 and isinstance(version, dict) and version.get("distribution") == "opensearch":
        return "opensearch"
    if status in _REFUSED and isinstance(error, dict):
        refusal = str(error.get("type")), str(error.get("reason"))
        if refusal[0] == "security_exception" and refusal[1].startswith("no permissions for ["):
            return "opensearch"
    return None


def describe(status: int, headers: Mapping[str, str]) -> str:
    """Return the words for what else answered: status, type and server, without any content."""
    shown = [
        _STRANGE.sub("?", headers.get(name, ""))[:_SHOWN] for name in ("server", "content-type")
    ]
    what = ", ".join(filter(None, (f"status {status}", shown[1], shown[0] and f"from {shown[0]}")))
    return f"this is not Elasticsearch or OpenSearch: it answered with {what}"
