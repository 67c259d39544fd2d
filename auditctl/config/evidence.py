"""Define the ``[evidence]`` table: checkpoints, trust policy, continuous verification."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from auditctl.config.declared import declared
from auditctl.errors import ConfigError

__all__ = ["EVIDENCE", "EvidenceSettings", "build_evidence"]


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
    policy: Annotated[
        Path | None,
        "trust policy (c2sp.org/tlog-policy) with the witnesses that cosign checkpoints",
        "none",
    ] = None
    checkpoint_every: Annotated[
        dt.timedelta, "age of a growing log's last checkpoint at which the next one is signed"
    ] = dt.timedelta(seconds=60)

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
        if self.verify_every <= dt.timedelta(0):
            raise ValueError("verify_every has to be longer than zero")
        if not 0 < self.verify_cpu_share <= 1:
            raise ValueError("verify_cpu_share has to be above 0 and at most 1")


EVIDENCE: Final = declared(EvidenceSettings)


def build_evidence(values: Mapping[str, Any]) -> EvidenceSettings:
    """Return the settings of the converted values.  Raises ConfigError."""
    try:
        return EvidenceSettings(**values)
    except ValueError as error:
        raise ConfigError(f"evidence.{error}") from error
