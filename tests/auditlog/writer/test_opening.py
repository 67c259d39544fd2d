"""Opening a log: what is refused was not changed, and what fails holds nothing back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import auditlog


def open_log(directory: Path) -> auditlog.Log:
    return auditlog.open(directory, service="queen-rbee", host="hive1")


def content_of(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def damage(directory: Path) -> None:
    segment = next(directory.glob("*.ndjson"))
    content = bytearray(segment.read_bytes())
    content[content.index(b'"event_type"') + 2] ^= 1
    segment.write_bytes(content)


def lose_newest(directory: Path) -> None:
    next(directory.glob("*.ndjson")).unlink()


def open_to_all(directory: Path) -> None:
    directory.chmod(0o777)


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (damage, auditlog.LogDamaged),
        (lose_newest, auditlog.LogDamaged),
        (open_to_all, auditlog.UnsafePath),
    ],
)
def test_unharmed(
    tmp_path: Path, harm: Callable[[Path], None], error: type[auditlog.AuditLogError]
) -> None:
    directory = tmp_path / "audit"
    open_log(directory).close()
    harm(directory)
    before = content_of(directory)
    with pytest.raises(error) as refusal:
        open_log(directory)
    assert str(directory) in str(refusal.value)
    assert refusal.value.hint
    assert content_of(directory) == before


def test_released(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    segment = next(tmp_path.glob("*.ndjson"))
    good = segment.read_bytes()
    damage(tmp_path)
    for _ in range(2):
        with pytest.raises(auditlog.LogDamaged):
            open_log(tmp_path)
    segment.write_bytes(good)
    open_log(tmp_path).close()


def test_a_symlinked_segment_is_refused(tmp_path: Path) -> None:
    """scan does not take it for a segment, and the log does not write through it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    directory = tmp_path / "audit"
    with open_log(directory) as log:
        name = next(directory.glob("*.ndjson"))
        del log
    name.unlink()
    (directory / ".auditlog" / "queen-rbee@hive1.head").unlink()
    name.symlink_to(elsewhere)
    with pytest.raises((auditlog.AuditLogError, OSError)) as refusal:
        open_log(directory)
    assert name.name in str(refusal.value)
    assert elsewhere.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"flush": "sometimes"}, "immediate"),
        ({"max_segment_bytes": 1000}, "65535"),
        ({"max_queue_bytes": 1000}, "65535"),
        ({"space_low_bytes": 1, "space_critical_bytes": 2}, "space_low_bytes"),
        ({"service": "queen rbee"}, "' '"),
        ({"host": "a/b"}, "'/'"),
    ],
)
def test_impossible_options_are_refused_by_name(
    tmp_path: Path, options: dict[str, object], what: str
) -> None:
    fields = {"service": "queen-rbee", "host": "hive1", **options}
    with pytest.raises(ValueError, match=what):
        auditlog.open(tmp_path / "never", **fields)  # type: ignore[arg-type]  # that is the point
    assert not (tmp_path / "never").exists()
