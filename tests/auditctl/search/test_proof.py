from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditctl.search.proof import proven
from auditlog.query.files import FileSearch
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import All
from tests.support.logs import START, LogBuilder, make_line, write_log

if TYPE_CHECKING:
    from pathlib import Path


def shown(directory: Path, *, reverse: bool = False) -> tuple[list[bytes], tuple[str, ...]]:
    proof = proven([directory], SearchScope())
    source = FileSearch([directory], lambda *_: None, proof.ends)
    records = source.records(All(), SearchScope(), reverse=reverse)
    return [record.line for record in records if proof.covers(record)], proof.unproven


def test_all_of_a_log_that_is_whole(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=5, segments=3)
    built.compress(0)
    assert shown(tmp_path) == (built.lines, ())
    assert shown(tmp_path, reverse=True) == (built.lines[::-1], ())


@settings(max_examples=60)
@given(
    at=st.floats(0, 1, exclude_max=True),
    form=st.sampled_from(["", ".zst", ".gz"]),
    reverse=st.booleans(),
)
def test_prefix(
    tmp_path_factory: pytest.TempPathFactory, at: float, form: str, reverse: bool
) -> None:
    """Whatever byte is changed: what is shown was written so, and lies before the change."""
    directory = tmp_path_factory.mktemp("logs")
    built = write_log(directory, records=3, segments=2)
    contents = [path.read_bytes() for path in built.paths]
    place = int(at * sum(map(len, contents)))
    index = 0 if place < len(contents[0]) else 1
    changed = bytearray(contents[index])
    changed[place - index * len(contents[0])] ^= 1
    built.paths[index].write_bytes(changed)
    if form:
        built.compress(0, form)
    whole = b"".join(contents)
    before = whole[:place].count(b"\n")
    lines, unproven = shown(directory, reverse=reverse)
    assert sorted(lines) == sorted(built.lines[:before])
    torn = place == len(whole) - 1  # without its LF the last record was never whole
    assert len(unproven) == (not torn)


def test_prefix_ends_before_a_forged_record_with_a_number_that_was_proven(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=5)
    forged, _ = make_line(built.log, 3, built.headers[1].hash, at=START + dt.timedelta(hours=1),
                          actor={"user_id": "mallory"})  # fmt: skip
    built.append_raw(forged)
    for reverse in (False, True):
        lines, (said,) = shown(tmp_path, reverse=reverse)
        assert sorted(lines) == sorted(built.lines)
        assert "seq_repeat" in said


def test_said(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=5)
    built.active.write_bytes(built.active.read_bytes().replace(b"task-4", b"task-x"))
    other = write_log(tmp_path, "rbee-hive@gpu1", records=2, segments=2)
    other.paths[0].unlink()
    _, said = shown(tmp_path)
    assert said[0].startswith("queen-rbee@hive1: proven through seq 3; left out are the lines from")
    assert "2 of them (hash_mismatch in queen-rbee@hive1.2026-11-23.0001.ndjson" in said[0]
    assert said[1].startswith("rbee-hive@gpu1: ")
    assert all(f"auditctl verify {tmp_path}" in sentence for sentence in said)


def test_a_record_that_changes_after_the_proof_is_not_covered(tmp_path: Path) -> None:
    write_log(tmp_path, records=2)
    proof = proven([tmp_path], SearchScope())
    (record, *_) = FileSearch([tmp_path], lambda *_: None).records(All(), SearchScope())
    assert proof.covers(record)
    changed = record.line.replace(b"alice", b"mally")
    assert not proof.covers(type(record)(changed, record.header))


def test_another_log_is_not_spoken_of(tmp_path: Path) -> None:
    write_log(tmp_path, records=2)
    other = LogBuilder(tmp_path, "rbee-hive@gpu1")
    other.append(1)
    other.append_raw(b"nonsense\n")
    assert proven([tmp_path], SearchScope("queen-*")).unproven == ()
