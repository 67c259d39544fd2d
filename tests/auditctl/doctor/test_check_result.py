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
     ("overlayfs", "warn"), ("aufs", "warn"), ("tmpfs", "fail"), ("ramfs", "fail")],
)  # fmt: skip
def test_file_systems(kind: str, state: str) -> None:
    found = judge_filesystem("/audit", kind)
    assert (found.state, f"/audit is {kind}" in found.detail) == (state, True)


@pytest.mark.parametrize(
    ("free_bytes", "files", "state"),
    [(5 << 30, None, "ok"), (5 << 30, 10**6, "ok"), (900 << 20, None, "warn"),
     (100 << 20, None, "fail"), (5 << 30, 999, "fail"), (5 << 30, 1000, "ok"),
     (1 << 30, None, "ok"), ((1 << 30) - 1, None, "warn"),
     (128 << 20, None, "warn"), ((128 << 20) - 1, None, "fail")],
)  # fmt: skip
def test_space(free_bytes: int, files: int | None, state: str) -> None:
    assert judge_space("/audit", free_bytes, files).state == state


@pytest.mark.parametrize(
    ("times", "state", "words"),
    [
        ([2 * MS] * 100, "ok", r"2.00 ms \(p50\), 2.00 ms \(p99\)"),
        ([2 * MS] * 98 + [80 * MS] * 2, "warn", "flush='hybrid'"),
        ([2 * MS] * 99 + [80 * MS], "warn", r"2.00 ms \(p50\), 80.00 ms \(p99\)"),
        ([2 * MS] * 199 + [80 * MS], "ok", r"2.00 ms \(p99\)"),
        ([n * MS for n in (5, 1, 4, 2, 3)], "ok", r"3.00 ms \(p50\), 5.00 ms \(p99\)"),
        ([50 * MS] * 100, "ok", "50.00 ms"),
        ([50 * MS + MS / 1000] * 100, "warn", "flush='hybrid'"),
        ([MS * 15 / 1000] * 100, "ok", "0.01 ms|0.02 ms"),
        ([MS * 14 / 1000] * 100, "warn", "faster than any disk"),
        ([MS / 200] * 100, "warn", "faster than any disk"),
        ([90 * MS], "warn", "90.00 ms"),
    ],
)
def test_slow(times: list[dt.timedelta], state: str, words: str) -> None:
    found = judge_syncs("/audit", times)
    assert found.state == state
    assert re.search(words, f"{found.detail} {found.mend}")


def test_free_space_is_said_in_mib() -> None:
    assert judge_space("/audit", 1234 << 20, None).detail == "/audit has 1,234 MiB free"


def test_a_result_as_json() -> None:
    assert CheckResult("x", "warn", "slow", "Wait.").to_json() == {
        "check": "x",
        "state": "warn",
        "detail": "slow",
        "mend": "Wait.",
    }
