"""Check the bucket of the archive: that it locks, for longer than files are kept on this host.

Invariants (tests of the same name in tests/auditctl/doctor/test_archive.py):
  shorter   a lock that ends before the files on this host go is a warning, and so is a default
            lock of the bucket that is longer than the one that is asked for
  unlocked  a bucket without Object Lock is a failure
  unread    a key that may not read the bucket's lock is no failure: the agent's must not
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from auditctl.doctor.check_result import CheckResult
from auditlog.errors import AuditLogError
from retention.policy import format_duration
from shippers.errors import ArchiveUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditctl.config.model import Config
    from shippers.archive.objects import BucketLock
    from shippers.archive.options import ArchiveOptions

__all__ = ["check_archive"]

_DOCS: Final = "https://docs.llama-orch.example/archive.html"


def check_archive(config: Config) -> Iterator[CheckResult]:
    """Check the archive; no result where none is configured."""
    options = config.archive
    if options is None:
        return
    policies = (config.policy, *(policy for _, policy in config.policy.overrides))
    kept = max(policy.delete_after for policy in policies)
    if options.retain < kept:
        detail = (
            f"objects are locked for {format_duration(options.retain)}, and the files on this host"
            f" are kept for {format_duration(kept)}: the archive could be emptied first"
        )
        mend = f'Set retain = "{format_duration(kept)}" or longer in [archive].'
        yield CheckResult("archive", "warn", detail, mend)
    # Imported here: only who archives needs the library of S3.
    from auditctl.composition.archive import make_bucket  # noqa: PLC0415  (see above)

    try:
        with closing(make_bucket(config)) as bucket:
            yield _judge(options, bucket.lock())
    except ArchiveUnavailable as error:
        if error.code == "AccessDenied":
            detail = f"{options.address}: this key may not read the bucket's lock, as is right"
            yield CheckResult("archive", "ok", detail)
        else:
            yield CheckResult("archive", "fail", error.reason, error.hint or _DOCS)
    except AuditLogError as error:
        yield CheckResult("archive", "fail", error.reason, error.hint or _DOCS)


def _judge(options: ArchiveOptions, lock: BucketLock) -> CheckResult:
    place = options.address
    if lock.period is not None and lock.period > options.retain:
        detail = (
            f"{place}: the bucket locks what comes without a lock for"
            f" {format_duration(lock.period)}, and [archive] asks for"
            f" {format_duration(options.retain)}"
        )
        return CheckResult("archive", "warn", detail, "Set retain to that, or longer.")
    default = "none" if lock.period is None else f"{lock.mode} for {format_duration(lock.period)}"
    asked = f"{options.mode} for {format_duration(options.retain)}"
    return CheckResult("archive", "ok", f"{place}: Object Lock, {asked}; by default {default}")
