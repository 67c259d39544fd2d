from __future__ import annotations

import datetime as dt
import re

import pytest

from auditctl.doctor.check_result import CheckResult, judge_filesystem, judge_space, judge_syncs

MS = dt.timedelta(milliseconds=1)


def test_mends() -> None:
    with pytest.raises(ValueError, match="without a remedy"):
        CheckResult("x", "fail", "it is broken")
    assert CheckResult("x", "ok", "fine").mend == ""


@pytest.mark.parametrize(
    ("kind", "state"),
    [("ext4", "ok"), ("xfs", "ok"), ("nfs4", "warn"), ("fuse.sshfs", "warn"), ("overlay", "warn"),
     ("tmpfs", "fail")],
)  # fmt: skip
def test_file_systems(kind: str, state: str) -> None:
    found = judge_filesystem("/audit", kind)
    assert (found.state, f"/audit is {kind}" in found.detail) == (state, True)


@pytest.mark.parametrize(
    ("free_bytes", "files", "state"),
    [(5 << 30, None, "ok"), (5 << 30, 10**6, "ok"), (900 << 20, None, "warn"),
     (100 << 20, None, "fail"), (5 << 30, 999, "fail")],
)  # fmt: skip
def test_space(free_bytes: int, files: int | None, state: str) -> None:
    assert judge_space("/audit", free_bytes, files).state == state


@pytest.mark.parametrize(
    ("times", "state", "words"),
    [
        ([2 * MS] * 100, "ok", r"2.00 ms \(p50\), 2.00 ms \(p99\)"),
        ([2 * MS] * 98 + [80 * MS] * 2, "warn", "flush='hybrid'"),
        ([MS / 200] * 100, "warn", "faster than any disk"),
        ([90 * MS], "warn", "90.00 ms"),
    ],
)
def test_slow(times: list[dt.timedelta], state: str, words: str) -> None:
    found = judge_syncs("/audit", times)
    assert found.state == state
    assert re.search(words, f"{found.detail} {found.mend}")
