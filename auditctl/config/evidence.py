"""Define the ``[evidence]`` table: checkpoints, trust policy, continuous verification."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from auditctl.config.declared import declared
from auditctl.config.values import to_duration, to_text
from auditctl.errors import ConfigError

__all__ = ["EVIDENCE", "EvidenceSettings", "build_evidence"]


def _to_origin(value: Any) -> str:
    text = to_text(value).rstrip("/")
    if re.search(r"[\s+~]", text) or not text:
        raise ValueError("it has to be like audit.example.com/hive1: no space, no plus, no tilde")
    return text


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """Settings of evidence.  Raises ValueError when one cannot work.

    Without a key nothing is signed; `auditctl evidence init` makes one.
    """

    verify_every: Annotated[
        dt.timedelta, "time within which the agent verifies every record on disk again"
    ] = dt.timedelta(days=1)
    verify_cpu_share: Annotated[
        float, "fraction of one core that verifying uses at most, above 0 and up to 1"
    ] = 0.05
    key: Annotated[
        Path | None,
        "file of the private key that signs checkpoints; made by `auditctl evidence init`",
        "`evidence.key` in the state directory, where it exists",
    ] = None
    origin: Annotated[
        str,
        _to_origin,
        "prefix of every log's name in checkpoints, like `audit.example.com/hive1`",
        "the one that `auditctl evidence init` was given, or else `host`",
    ] = ""
    policy: Annotated[
        Path | None,
        "trust policy (c2sp.org/tlog-policy) with the witnesses that cosign checkpoints",
        "none",
    ] = None
    checkpoint_every: Annotated[
        dt.timedelta, "age of a growing log's last checkpoint at which the next one is signed"
    ] = dt.timedelta(seconds=60)

    leaves: Annotated[
        str,
        "hashes of a deleted segment's records: `keep` them, so that a document in an index can be "
        "proven years later; `drop` them; or keep them as long as `400d` from the segment's day",
    ] = "keep"
    timestamps: Annotated[
        str,
        "URL of a time-stamping authority (RFC 3161), asked every hour for the log of checkpoints",
        "none",
    ] = ""
    timestamps_ca: Annotated[
        Path | None,
        "PEM file with the CA certificates that the authority's certificate chains to",
        "none",
    ] = None

    def __post_init__(self) -> None:
        if bool(self.timestamps) != (self.timestamps_ca is not None):
            raise ValueError("timestamps and timestamps_ca are only used together")
        if self.timestamps and not self.timestamps.startswith(("http://", "https://")):
            raise ValueError("timestamps has to be a URL, like https://tsa.example/")
        self.leaves_kept_for()
        if self.verify_every <= dt.timedelta(0):
            raise ValueError("verify_every has to be longer than zero")
        if not 0 < self.verify_cpu_share <= 1:
            raise ValueError("verify_cpu_share has to be above 0 and at most 1")

    def leaves_kept_for(self) -> dt.timedelta | None:
        """How long leaves of deleted segments are kept; None: for ever.  Raises ValueError."""
        if self.leaves == "keep":
            return None
        try:
            return dt.timedelta(0) if self.leaves == "drop" else to_duration(self.leaves)
        except ValueError:
            raise ValueError('leaves has to be "keep", "drop" or a duration like "400d"') from None


EVIDENCE: Final = declared(EvidenceSettings)


def build_evidence(values: Mapping[str, Any]) -> EvidenceSettings:
    """Return the settings of the converted values.  Raises ConfigError."""
    try:
        return EvidenceSettings(**values)
    except ValueError as error:
        raise ConfigError(f"evidence.{error}") from error
