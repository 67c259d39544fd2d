from __future__ import annotations

import datetime as dt
from dataclasses import replace
from hashlib import sha256

import pytest

from shippers.archive import verdicts
from shippers.archive.manifest import FIRST_SHA256, ArchiveManifest, encode
from shippers.archive.objects import ObjectState, ObjectVersion
from shippers.archive.verdicts import FINDING_KINDS, ArchiveFinding, ManifestChain
from tests.auditlog.test_archived import NOW, STORED

DAY = dt.timedelta(days=1)
LISTED = ObjectVersion(STORED.key, "v1", 100, latest=True, marker=False, at=NOW)
STATE = ObjectState("v1", 100, STORED.checksum, "GOVERNANCE", STORED.retain_until)


def manifest(number: int, previous: bytes | None) -> bytes:
    before = FIRST_SHA256 if previous is None else sha256(previous).hexdigest()
    return encode(ArchiveManifest("hive1", number, NOW, before, (STORED,)))


def kinds(found: object) -> list[str]:
    return [each.kind for each in found]  # type: ignore[attr-defined]  # findings


def test_ok() -> None:
    chain, content = ManifestChain("hive1"), None
    for number in (1, 2, 3):
        content = manifest(number, content)
        accepted = chain.accept(f"key {number}", number, content)
        assert accepted is not None
        assert accepted.objects == (STORED,)
    chain.missing(3, "key 3")
    assert chain.findings == []
    assert kinds(verdicts.judge_versions(STORED.key, "v1", [LISTED])) == []
    assert kinds(verdicts.judge_state(STORED, STATE)) == []
    later = replace(STATE, retain_until=STORED.retain_until + DAY, mode="COMPLIANCE")
    assert kinds(verdicts.judge_state(STORED, later)) == [], "a lock may be made stronger"
    assert kinds(verdicts.judge_content(STORED, 100, STORED.sha256)) == []
    assert kinds(verdicts.judge_unlisted(STORED.key, [LISTED], NOW + DAY / 24)) == []


def test_named() -> None:
    over = replace(LISTED, version="v2")
    marker = replace(LISTED, version="m", marker=True)
    listed = {
        "missing_object": [],
        "put_over": [over, replace(LISTED, latest=False)],
        "delete_marker": [marker, replace(LISTED, latest=False)],
    }
    named = set(FINDING_KINDS) - {"repeated", "erased", "chain"}
    for kind, versions in listed.items():
        found = list(verdicts.judge_versions(STORED.key, "v1", versions))
        assert (kinds(found), found[0].key, found[0].fatal) == ([kind], STORED.key, True)
        named.discard(kind)
    assert kinds(verdicts.judge_versions(STORED.key, "v1", [marker])) == [
        "missing_object",
        "delete_marker",
    ]
    for state in (
        replace(STATE, retain_until=STORED.retain_until - DAY),
        replace(STATE, retain_until=None),
    ):
        assert kinds(verdicts.judge_state(STORED, state)) == ["lock_shortened"]
    weaker = verdicts.judge_state(replace(STORED, mode="COMPLIANCE"), STATE)
    assert kinds(weaker) == ["lock_shortened"]
    for changed in (replace(STATE, size_bytes=99), replace(STATE, checksum="other")):
        assert kinds(verdicts.judge_state(STORED, changed)) == ["bytes_changed"]
    for size, digest in ((99, STORED.sha256), (100, "0" * 64)):
        assert kinds(verdicts.judge_content(STORED, size, digest)) == ["bytes_changed"]
    assert kinds(verdicts.judge_unlisted(STORED.key, [LISTED], NOW + 2 * DAY)) == ["unlisted"]
    named -= {"lock_shortened", "bytes_changed", "unlisted"}
    assert named == {"missing_manifest", "manifest_changed"}, "see the next test"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([(1, 1), (3, 3)], ["missing_manifest"]),
        ([(2, 2), (3, 3)], ["missing_manifest"]),
        ([(1, 1), (2, 0), (3, 3)], ["manifest_changed"] * 2),
        ([(1, 2), (2, 2), (3, 3)], ["manifest_changed"] * 2 + ["manifest_changed"] * 0),
        ([(1, 1), (2, 2)], ["missing_manifest"]),
    ],
)
def test_named_of_manifests(given: list[tuple[int, int]], found: list[str]) -> None:
    contents = {0: b"{}"}
    for number in (1, 2, 3):
        contents[number] = manifest(number, contents[number - 1] if number > 1 else None)
    chain = ManifestChain("hive1")
    for number, content in given:
        chain.accept(f"key {number}", number, contents[content])
    chain.missing(3, "key 3")
    assert kinds(chain.findings)[: len(found)] == found
    assert set(kinds(chain.findings)) == set(found)


def test_harmless() -> None:
    again = replace(LISTED, version="v2")
    found = list(verdicts.judge_versions(STORED.key, "v1", [again, LISTED], frozenset({"v2"})))
    assert (kinds(found), found[0].fatal) == (["repeated"], False)
    assert ArchiveFinding("put_over", "k", "d").fatal


def test_a_lock_is_compared_to_the_second() -> None:
    until = STORED.retain_until
    for early, found in ((1, []), (1.000001, ["lock_shortened"]), (2, ["lock_shortened"])):
        state = replace(STATE, retain_until=until - dt.timedelta(seconds=early))
        assert kinds(verdicts.judge_lock(STORED.key, "v1", until, state)) == found


def test_a_key_that_no_manifest_names_has_a_day_and_is_shown_by_its_first_version() -> None:
    listed = [replace(LISTED, version="v2", at=NOW + DAY / 2), LISTED]
    assert kinds(verdicts.judge_unlisted(STORED.key, listed, NOW + DAY)) == []
    (found,) = verdicts.judge_unlisted(STORED.key, listed, NOW + DAY + DAY / 24)
    assert found.version == "v2"


def test_a_chain_names_the_manifests_that_are_missing_and_has_the_digest_of_the_last() -> None:
    chain = ManifestChain("hive1")
    content = manifest(1, None)
    chain.accept("key 1", 1, content)
    assert chain.digest == sha256(content).hexdigest()
    chain.missing(2, "key 2")
    chain.missing(5, "key 5")
    assert [each.detail for each in chain.findings] == [
        "manifest 2 of hive1 is missing",
        "manifest 3 to 5 of hive1 is missing",
    ]
    assert chain.digest is None


def test_a_version_that_is_not_the_archived_one_is_not_taken_for_it() -> None:
    for other in (replace(LISTED, version="v2"), replace(LISTED, marker=True)):
        found = kinds(verdicts.judge_versions(STORED.key, "v1", [other]))
        assert found[0] == "missing_object"
