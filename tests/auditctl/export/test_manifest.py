from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditctl.errors import ArchiveDamaged
from auditctl.export.manifest import ExportedLog, File, Manifest

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
    extra=st.just({}),
)


@given(manifest=manifests)
def test_round_trip(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("fields", [[], {}, {"schema": "auditctl.export/2"}, {"schema": None}])
def test_what_is_no_manifest_is_refused(fields: object) -> None:
    with pytest.raises(ArchiveDamaged):
        Manifest.from_json(fields)
