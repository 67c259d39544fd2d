"""Read the services' settings from the environment, once at the start.

RBEE_AUDIT_DIR          where the audit log goes           audit
RBEE_FAIL_CLOSED        1 (default): what cannot be recorded is refused; 0: it is done
RBEE_RECORD_TIMEOUT     seconds that a request waits for its record        5
RBEE_TOKENS_FILE        who may do what (see tokens)       tokens.toml
RBEE_HOST_NAME          the host in records and names      this host's
RBEE_BIND, RBEE_PORT    where to listen: 127.0.0.1, port 8080 (queen) or 8081 (hive)
RBEE_RATE_LIMIT         requests a second and user         200

queen: RBEE_HIVES             hive1=http://127.0.0.1:8081,hive2=…
       RBEE_HIVE_TOKEN_FILE   the token that the queen shows to hives
hive:  RBEE_MODELS_DIR, RBEE_MODEL_SOURCES   where models are kept, and may be fetched from
       RBEE_VRAM_BYTES        of each device; what its workers ask for has to fit
       RBEE_MIN_MEMORY_BYTES  that has to be available before a worker is started
       RBEE_HEALTH_INTERVAL, RBEE_HEALTH_TIMEOUT, RBEE_HEALTH_FAILURES
       RBEE_SHUTDOWN_GRACE    seconds between asking a worker to stop and killing it
       RBEE_BREAKER_RESTARTS, RBEE_BREAKER_WINDOW, RBEE_BREAKER_COOLDOWN
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BadSetting", "Settings"]


class BadSetting(Exception):
    """A variable that cannot be used; the text names it and what it has to be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is the variable RBEE_<FIELD>; seconds and bytes as numbers."""

    audit_dir: Path = Path("audit")
    fail_closed: bool = True
    record_timeout: float = 5.0
    tokens_file: Path = Path("tokens.toml")
    host_name: str = os.uname().nodename
    bind: str = "127.0.0.1"
    port: int = 0
    rate_limit: int = 200
    hives: str = ""
    hive_token_file: Path = Path("hive.token")
    models_dir: Path = Path("models")
    model_sources: Path = Path("sources")
    vram_bytes: int = 16 << 30
    min_memory_bytes: int = 64 << 20
    health_interval: float = 5.0
    health_timeout: float = 2.0
    health_failures: int = 3
    shutdown_grace: float = 20.0
    breaker_restarts: int = 3
    breaker_window: float = 60.0
    breaker_cooldown: float = 120.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Raises BadSetting."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            name = f"RBEE_{field.name.upper()}"
            if (text := environ.get(name)) is None:
                continue
            try:
                values[field.name] = _CONVERTERS[str(field.type)](text)
            except (ValueError, KeyError) as error:
                raise BadSetting(f"{name}: it has to be {_WORDS[str(field.type)]}") from error
        return cls(**values)

    def hive_urls(self) -> dict[str, str]:
        """The hives by name.  Raises BadSetting."""
        urls: dict[str, str] = {}
        for part in filter(None, self.hives.split(",")):
            name, equals, url = part.strip().partition("=")
            if not equals or not name or not url.startswith(("http://", "https://")):
                raise BadSetting("RBEE_HIVES: it has to be like hive1=http://127.0.0.1:8081,…")
            urls[name] = url.rstrip("/")
        return urls


_CONVERTERS: Mapping[str, Any] = {
    "Path": Path,
    "bool": lambda text: {"1": True, "0": False}[text],
    "float": float,
    "int": int,
    "str": str,
}
_WORDS = {
    "Path": "a path",
    "bool": "0 or 1",
    "float": "a number",
    "int": "a whole number",
    "str": "a text",
}
