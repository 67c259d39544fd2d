from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditctl.errors import ArchiveDamaged
from auditctl.export.manifest import ExportedLog, File, Manifest, readme

texts = st.text(max_size=8)
numbers = st.integers(0, 2**53)
logs = st.builds(
    ExportedLog,
    log=texts,
    segments=st.lists(texts, max_size=2).map(tuple),
    records=numbers,
    first_seq=numbers,
    last_seq=numbers,
    first_prev_hash=texts,
    head_hash=texts,
    findings=st.lists(st.fixed_dictionaries({"kind": texts}), max_size=2).map(tuple),
)
manifests = st.builds(
    Manifest,
    created_at=texts,
    created_on=texts,
    program=texts,
    asked=st.dictionaries(texts, st.none() | texts, max_size=3),
    logs=st.lists(logs, max_size=2).map(tuple),
    files=st.lists(st.builds(File, texts, numbers, texts), max_size=2).map(tuple),
    answers=st.none() | numbers,
    retention_hosts=st.none() | st.lists(texts, max_size=2).map(tuple),
    extra=st.just({}),
)


@given(manifest=manifests)
def test_round_trip(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("fields", [[], {}, {"schema": "auditctl.export/2"}, {"schema": None}])
def test_what_is_no_manifest_is_refused(fields: object) -> None:
    with pytest.raises(ArchiveDamaged):
        Manifest.from_json(fields)


LOG = ExportedLog("queen-rbee@hive1", ("logs/a.ndjson",), 7, 1, 7, "0" * 64, "ab" * 32)
MANIFEST = Manifest(
    "2026-11-23T07:12:00Z", "hive1", "auditctl 1.0", {"since": None, "logs": "queen-*"}, (LOG,), ()
)


def test_an_export_is_ok_without_findings() -> None:
    assert MANIFEST.ok is True
    assert (MANIFEST.records, MANIFEST.to_json()["ok"]) == (7, True)
    harmed = replace(LOG, findings=({"kind": "seq_gap"},))
    assert replace(MANIFEST, logs=(LOG, harmed)).ok is False
    assert replace(MANIFEST, logs=(LOG, harmed)).records == 14


def test_the_readme_says_what_was_asked_for_and_what_is_here() -> None:
    text = readme(MANIFEST)
    assert "From: the beginning. Until: the end.\nLogs: queen-*.\n" in text
    assert "records.ndjson" not in text
    assert "holds.json" not in text
    assert "NOT WHOLE" not in text
    more = replace(
        MANIFEST,
        asked={"since": "yesterday", "until": "now", "query": "actor=alice"},
        answers=0,
        holds=({"id": "x"},),
        logs=(replace(LOG, findings=({"kind": "seq_gap"},)),),
    )
    text = readme(more)
    assert "From: yesterday. Until: now.\nLogs: *.\n" in text
    assert "the 0 records that answer the question\n                     actor=alice\n" in text
    assert "holds.json" in text
    assert text.endswith("THE LOGS WERE NOT WHOLE: see findings in MANIFEST.json.\n")
