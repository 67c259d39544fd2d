"""Recognise what answers at an address: Elasticsearch, OpenSearch, or something else.  Pure.

Elasticsearch names itself in a header of its answers.  OpenSearch does not, but its ``GET /`` says
which distribution it is; where the user may not ask that, its security plugin refuses in words of
its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NEITHER", "Product", "named_in_body", "named_in_header", "named_in_neither"]

Product = Literal["elasticsearch", "opensearch"]

_HEADER: Final = "x-elastic-product"
_REFUSED: Final = (401, 403)
_UNKNOWN_PATH: Final = (404, 405, 501)

NEITHER: Final = "Elasticsearch or OpenSearch"
"""The products, as messages name them where something else answers."""


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


def named_in_neither(status: int, body: Any) -> bool:
    """Return whether no cluster, and nothing that stands before one, answers so.

    Asked of an answer that names no product.  A proxy refuses credentials, size and rate in words
    of its own, and says when the cluster is away; it does not redirect, or know no such path.
    """
    if status in _UNKNOWN_PATH:
        return not (isinstance(body, dict) and ("error" in body or "found" in body))
    return 200 <= status < 400
