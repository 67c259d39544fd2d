"""An upload in a process of its own that kills itself at a step; see tests.support.forked."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from auditlog.archived import ArchiveMemory
from shippers.archive.bucket import Bucket
from shippers.archive.options import ArchiveOptions
from shippers.archive.service import ArchiveService

__all__ = ["STEPS", "upload"]

STEPS = ("begin", "store", "record", "make_manifest", "store_manifest")
"""The changes of the memory, in their order; the requests lie between them."""


def upload(
    *, directory: str, state: str, url: str, bucket: str, secret: str, step: str, after: bool
) -> None:
    """Upload what is finished, and die before or after the step."""
    whole = getattr(ArchiveMemory, step)

    def dying(*arguments: Any) -> None:
        if after:
            whole(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(ArchiveMemory, step, dying)
    options = ArchiveOptions(
        bucket=bucket,
        endpoint=url,
        access_key_id="writer",
        secret_access_key_file=Path("/the/secret"),
    )
    service = ArchiveService(
        [Path(directory)], Path(state), Bucket(options, secret), options, host=Path(directory).name
    )
    service.run_once()
