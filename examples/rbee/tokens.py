"""Read tokens and their scopes: a TOML file with the SHA-256 of each token, never the token.

    [alice]
    sha256 = "9f86d081…"
    scopes = ["tasks"]           # tasks, pools, nodes, models, executions

The file is read again when it changes.  One that cannot be read lets nobody in; that is said once,
and once more when it can be read again.
"""

from __future__ import annotations

import hmac
import logging
import re
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Holder", "Tokens", "TokensUnreadable", "fingerprint"]

_logger = logging.getLogger("rbee.tokens")


class TokensUnreadable(Exception):
    """The file of tokens cannot be read, so no request can be authorized."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a token."""

    user_id: str
    digest: str
    scopes: frozenset[str]

    @property
    def fingerprint(self) -> str:
        return f"token:{self.digest[:12]}"


def fingerprint(token: str) -> str:
    """Return the fingerprint of a token for records: it identifies the token, and is no secret."""
    return f"token:{sha256(token.encode()).hexdigest()[:12]}"


class Tokens:
    """The tokens of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._holders: tuple[Holder, ...] = ()
        self._seen: tuple[int, int, int] | None = None
        self._trouble = ""

    def holder(self, token: str) -> Holder | None:
        """Return the token's holder; None for an unknown token.  Raises TokensUnreadable."""
        digest = sha256(token.encode()).hexdigest()
        found = None
        for holder in self._holders:  # all of them, so that the time taken tells nothing
            if hmac.compare_digest(holder.digest, digest):
                found = holder
        return found

    def refresh(self) -> tuple[tuple[Holder, ...], tuple[Holder, ...]]:
        """Read the file if it changed: holders that are new, and those that are gone.

        Raises TokensUnreadable.
        """
        try:
            state = self._path.stat()
            seen = (state.st_mtime_ns, state.st_ino, state.st_size)
            if seen == self._seen:
                return (), ()
            holders = _parsed(self._path.read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._say(f"{self._path}: the tokens cannot be read: {reason}")
            self._seen = None
            raise TokensUnreadable from error
        before, self._holders, first = self._holders, holders, not self._holders
        self._seen = seen
        self._say("")
        if first:
            return (), ()
        return (
            tuple(holder for holder in holders if holder not in before),
            tuple(holder for holder in before if holder not in holders),
        )

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _logger.error("%s. Nobody is let in until they can.", trouble)
        elif not trouble and self._trouble:
            _logger.warning("%s: the tokens can be read again", self._path)
        self._trouble = trouble


def _parsed(content: bytes) -> tuple[Holder, ...]:
    """Raises ValueError that quotes nothing of the file."""
    try:
        table: dict[str, Any] = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ValueError("it is not TOML") from None
    holders = []
    for user_id, value in table.items():
        entry = value if isinstance(value, dict) else {}
        digest, scopes = entry.get("sha256"), entry.get("scopes")
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError(f"{user_id}: sha256 has to be 64 hex digits")
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            raise ValueError(f"{user_id}: scopes has to be a list of texts")
        holders.append(Holder(user_id, digest, frozenset(scopes)))
    if not holders:
        raise ValueError("there is no token in it")
    return tuple(holders)
