"""Carry out what is planned for a foreign file, looking once more before anything is touched.

The whole file is read again; it has to be what the plan saw.  Holds that came since, and a process
that opened it for writing, still keep it.  A tombstone is durable before the first unlink.

Invariants (tests of the same name in tests/retention/test_foreign_apply.py):
  proven      no foreign file is gone without a durable tombstone
  once        killed between tombstone and unlink, the next run unlinks without a second one
  late        a hold, a writer or a line that came after the plan still keeps
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from auditlog import durable_fs
from retention import foreign, tombstone
from retention.errors import SegmentChanged
from retention.foreign_content import inspect_foreign
from retention.foreign_forms import check_forms, compress_foreign, remove_forms

if TYPE_CHECKING:
    import datetime as dt
    import threading

    from retention.facts import AdoptedFile
    from retention.holds import HoldStore
    from retention.proofs import ProofLog

__all__ = ["Outcome", "carry_out_foreign"]

_logger = logging.getLogger("auditlog.retention")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it freed on disk; or the rule that kept the file after all, and its reasoning."""

    freed_bytes: int = 0
    kept: str = ""
    detail: str = ""


def carry_out_foreign(
    file: AdoptedFile,
    *,
    delete: bool,
    proofs: ProofLog,
    holds: HoldStore,
    at: dt.datetime,
    by: str,
    stop: threading.Event,
) -> Outcome:
    """Delete or compress it.  Raises AuditLogError, OSError; then it is still there."""
    in_force = holds.load()
    fields = file.foreign.timestamp_fields
    content, identity = inspect_foreign(file.path, file.forms[0], fields, stop, in_force)
    if file.content is None or replace(content, matches=file.content.matches) != file.content:
        raise SegmentChanged(
            "it does not hold what the plan saw",
            path=file.path,
            hint="It is still written to, or was replaced. The next run looks at it anew.",
        )
    now = replace(file, content=content)
    if held := foreign.holding(now, in_force, at):
        return Outcome(kept="held", detail=held)
    if durable_fs.open_for_writing_elsewhere(file.path):
        return Outcome(kept="active", detail="a process has it open for writing")
    if not delete:
        freed = compress_foreign(now, content, stop)
        _logger.info("compressed %s, %d bytes freed", file.path.name, freed)
        return Outcome(freed)
    forms = check_forms(now, stop)
    identity.check(file.path)
    proofs.bury_foreign(tombstone.foreign_details(now, content, by=by), actor=by)
    remove_forms(now, forms)
    freed = sum(found.size_bytes for found, _ in forms.values())
    _logger.info("deleted %s, %d bytes freed", file.path.name, freed)
    return Outcome(freed)
