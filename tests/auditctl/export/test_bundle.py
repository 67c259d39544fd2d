from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from auditctl.errors import BadPath, CommandFailed
from auditctl.export.archive import verify_archive
from auditctl.export.bundle import _CHECKERS, Asked, write_bundle
from auditlog.format.record import decode
from auditlog.query.scope import SearchScope
from auditlog.reading.head_note import remember_head
from auditlog.reading.registry import KnownRecord
from retention.holds import Hold, HoldStore
from tests.support.erasures import erase
from tests.support.logs import START, LogBuilder, write_log
from tests.support.signed_host import unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result

NOW = START + dt.timedelta(days=9)


def check(directory: Path, *options: str | Path) -> tuple[int, str]:
    """Run check.py with a Python that has none of our packages, from another directory."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", directory / "check.py", *options],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def write_manifest(place: Path, content: bytes) -> None:
    """Let whoever made the export say something else, and state the digest of that."""
    digest = f"{hashlib.sha256(content).hexdigest()}  MANIFEST.json\n"
    for path in (place / "MANIFEST.json", place / "MANIFEST.sha256"):
        path.chmod(0o644)
    (place / "MANIFEST.json").write_bytes(content)
    (place / "MANIFEST.sha256").write_text(digest)


def export(directory: Path, target: Path, scope: SearchScope = SearchScope()) -> str:  # noqa: B008  (frozen)
    return write_bundle(target, Asked([directory], scope), NOW)[1]


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    built = write_log(tmp_path / "audit", records=5, segments=3, days=1)
    built.compress(0)
    built.compress(1, ".gz")
    return built


def test_verbatim(tmp_path: Path, built: LogBuilder) -> None:
    (torn,) = built.make(1)
    built.append_raw(torn[:40])
    digest = export(built.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    assert hashlib.sha256((place / "MANIFEST.json").read_bytes()).hexdigest() == digest
    content = b"".join((place / "logs" / name.logical).read_bytes() for name in built.names)
    assert content == b"".join(built.lines)
    manifest = orjson.loads((place / "MANIFEST.json").read_bytes())
    assert manifest["ok"] is True
    assert manifest["logs"][0]["head_hash"] == built.headers[-1].hash
    assert "python3 -I check.py" in (place / "README.txt").read_text()


def test_proven(tmp_path: Path, built: LogBuilder) -> None:
    """Both checks pass on what was exported, and fail on every file in which a byte changed."""
    export(built.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    code, said = check(place)
    assert (code, "ok: complete and unchanged" in said) == (0, True)
    for path in sorted(place.rglob("*")):
        if not path.is_file() or path.name in ("check.py", "MANIFEST.json"):
            continue
        content = path.read_bytes()
        path.chmod(0o644)
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        path.write_bytes(changed)
        code, said = check(place)
        name = "MANIFEST.json" if path.name == "MANIFEST.sha256" else path.name
        assert (code, f"{name}: it is not the file that was exported" in said) == (1, True), said
        path.write_bytes(content)
    (place / "logs" / "more.ndjson").touch()
    assert "logs/more.ndjson: it does not belong here" in check(place)[1]
    (place / "logs" / "more.ndjson").unlink()
    (place / "holds.json").touch()
    assert check(place)[0] == 1


def test_proven_also_where_the_manifest_was_made_to_fit(tmp_path: Path, built: LogBuilder) -> None:
    """A record changed together with the manifest is found by the chain or the manifest's hash."""
    export(built.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    segment = place / "logs" / built.names[1].logical
    segment.chmod(0o644)
    (place / "MANIFEST.json").chmod(0o644)
    original, before = segment.read_bytes(), (place / "MANIFEST.json").read_bytes()
    for changed, words in (
        (original.replace(b"task-7", b"task-x"), "line 2: its hash is not of its content"),
        (original[: original.index(b"\n") + 1] * 2 + original, "does not follow record 6"),
        (original[original.index(b"\n") + 1 :], "line 1: it does not follow record 5"),
        (b"", "does not follow record 5"),
    ):
        segment.write_bytes(changed)
        manifest = orjson.loads(before)
        for file in manifest["files"]:
            if file["name"].endswith(segment.name):
                file.update(bytes=len(changed), sha256=hashlib.sha256(changed).hexdigest())
        write_manifest(place, orjson.dumps(manifest))
        code, said = check(place)
        assert (code, words in said) == (1, True), said
    segment.write_bytes(original)
    manifest = orjson.loads(before)
    manifest["logs"][0]["records"] += 1
    write_manifest(place, orjson.dumps(manifest))
    code, said = check(place)
    assert (code, "it does not end where the manifest says" in said) == (1, True), said


def test_proven_also_where_the_last_records_were_cut_off(tmp_path: Path, built: LogBuilder) -> None:
    export(built.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    segment, manifest_file = place / "logs" / built.names[-1].logical, place / "MANIFEST.json"
    segment.chmod(0o644)
    manifest_file.chmod(0o644)
    cut = b"".join(built.lines[10:14])
    segment.write_bytes(cut)
    manifest = orjson.loads(manifest_file.read_bytes())
    for file in manifest["files"]:
        if file["name"].endswith(segment.name):
            file.update(bytes=len(cut), sha256=hashlib.sha256(cut).hexdigest())
    write_manifest(place, orjson.dumps(manifest))
    code, said = check(place)
    assert (code, "it does not end where the manifest says" in said) == (1, True)


def add_to_segment(place: Path, segment: Path, more: bytes) -> None:
    """Put lines behind a segment, and let the manifest list the file as it is then."""
    for path in (segment, place / "MANIFEST.json"):
        path.chmod(0o644)
    content = segment.read_bytes() + more
    segment.write_bytes(content)
    manifest = orjson.loads((place / "MANIFEST.json").read_bytes())
    for file in manifest["files"]:
        if file["name"].endswith(segment.name):
            file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_manifest(place, orjson.dumps(manifest))


def test_the_checker_comes_to_an_end_where_a_tombstone_leads_in_a_circle(
    tmp_path: Path, built: LogBuilder
) -> None:
    name = built.log
    details = {"log": name, "first_seq": 12, "last_seq": 11, "segment": "x"}
    ends = {"first_prev_hash": built.headers[10].hash, "last_hash": built.headers[10].hash}
    retention = LogBuilder(built.directory, "retention@hive1")
    retention.append(event_type="retention.segment_deleted", details={**details, **ends})
    lines = built.paths[2].read_bytes().splitlines(keepends=True)
    assert lines[1] == built.lines[11]
    built.paths[2].write_bytes(b"".join([lines[0], *lines[2:]]))
    export(built.directory, tmp_path / "case.tar.zst")
    code, said = check(unpack(tmp_path / "case.tar.zst", tmp_path))
    assert (code, "it does not follow record 11" in said) == (1, True)


def test_the_checker_stops_where_nothing_is_right(tmp_path: Path, built: LogBuilder) -> None:
    """A million empty lines unpack from a few bytes; so many sentences would fill the memory."""
    export(built.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    add_to_segment(place, place / "logs" / built.paths[1].name, b"\n" * 1_000_000)
    code, said = check(place)
    assert (code, "there are too many problems; the rest is not read" in said) == (1, True)
    assert len(said.splitlines()) < 1010


@pytest.mark.parametrize("checker", _CHECKERS, ids=lambda checker: checker.name)
def test_the_checker_is_short_enough_to_be_read(checker: Path) -> None:
    assert sum(bool(line.strip()) for line in checker.read_text("utf-8").splitlines()) <= 300


def test_a_part_of_a_log_is_whole_days_of_it(tmp_path: Path, built: LogBuilder) -> None:
    day = START + dt.timedelta(days=1)
    scope = SearchScope("*", day, day + dt.timedelta(seconds=1))
    export(built.directory, tmp_path / "case.tar.zst", scope)
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    code, said = check(place)
    assert code == 0
    assert "queen-rbee@hive1: 5 records, 6 to 10" in said
    assert verify_archive(tmp_path / "case.tar.zst").ok


def test_deletions_on_record_are_no_gap(
    tmp_path: Path, built: LogBuilder, run: Callable[..., Result]
) -> None:
    """A hold keeps the first day, retention deletes the second: by a tombstone that is exported."""
    until = START + dt.timedelta(hours=1)
    hold = Hold("case-1", "legal", "asked for", from_at=START, until_at=until)
    store = HoldStore(built.directory / ".auditlog")
    store.path.parent.mkdir(exist_ok=True)
    store.add(hold)
    later = (START + dt.timedelta(days=100)).isoformat()
    pruned = run("prune", built.directory, "--at", later, "--confirm")
    assert pruned.code == 0, pruned.err
    assert not built.paths[1].with_name(built.paths[1].name + ".gz").exists()
    asked = Asked([built.directory], SearchScope(), store.load())
    manifest, _ = write_bundle(tmp_path / "case.tar.zst", asked, NOW)
    assert manifest.ok
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    code, said = check(place)
    assert (code, "queen-rbee@hive1: 10 records, 1 to 15" in said) == (0, True), said
    assert orjson.loads((place / "holds.json").read_bytes())["holds"][0]["id"] == "case-1"
    found = verify_archive(tmp_path / "case.tar.zst")
    assert found.ok
    assert sum(len(log.deleted) for log in found.logs.logs) == 1


def test_what_is_damaged_is_exported_with_its_findings(tmp_path: Path, built: LogBuilder) -> None:
    built.active.write_bytes(built.active.read_bytes().replace(b"task-12", b"task-99"))
    manifest, _ = write_bundle(
        tmp_path / "case.tar.zst", Asked([built.directory], SearchScope()), NOW
    )
    assert not manifest.ok
    assert [finding["kind"] for finding in manifest.logs[0].findings] == ["hash_mismatch"]
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    code, said = check(place)
    assert (code, "line 2: its hash is not of its content" in said) == (1, True)
    assert "THE LOGS WERE NOT WHOLE" in (place / "README.txt").read_text()
    assert not verify_archive(tmp_path / "case.tar.zst").ok


def test_answers_are_in_it_and_have_to_be_in_the_logs(tmp_path: Path, built: LogBuilder) -> None:
    records = [decode(built.lines[index]) for index in (3, 11)]
    asked = Asked(
        [built.directory], SearchScope(), query="seq=4 or seq=12", answers=lambda: records
    )
    write_bundle(tmp_path / "case.tar.zst", asked, NOW)
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    assert (place / "records.ndjson").read_bytes() == built.lines[3] + built.lines[11]
    assert check(place)[0] == 0
    asked = Asked([built.directory], SearchScope(), query="?", answers=lambda: [decode(foreign)])
    (foreign,) = LogBuilder(tmp_path / "other").make(1, actor={"user_id": "mallory"})
    write_bundle(tmp_path / "other.tar.zst", asked, NOW)
    code, said = check(unpack(tmp_path / "other.tar.zst", tmp_path))
    assert (code, "records.ndjson: 1 of its records are in no log" in said) == (1, True)


def test_all_or_none(tmp_path: Path, built: LogBuilder) -> None:
    target = tmp_path / "case.tar.zst"
    packed = built.path(0)
    with pytest.raises(CommandFailed, match="no record to export"):
        export(built.directory, target, SearchScope("nobody@*"))
    assert sorted(os.listdir(tmp_path)) == ["audit"]  # noqa: PTH208  (names are enough)
    target.write_bytes(b"something else")
    packed.unlink()
    with pytest.raises(BadPath, match="there already"):
        export(built.directory, target)
    assert target.read_bytes() == b"something else"


def test_memory_does_not_grow_with_what_is_exported(tmp_path: Path) -> None:
    import tracemalloc

    built = write_log(tmp_path / "audit", records=200, segments=2)
    built.active.write_bytes(built.active.read_bytes() + b"x" * 60_000_000 + b"\n")
    size = built.active.stat().st_size
    tracemalloc.start()
    write_bundle(tmp_path / "case.tar.zst", Asked([built.directory], SearchScope()), NOW)
    found = verify_archive(tmp_path / "case.tar.zst")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not found.ok
    assert found.problems == ()
    assert max(file.bytes for file in found.manifest.files) == size
    assert peak < 20 << 20


# Damaged and missing segments are exported with their findings -----------------------------------


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_segment_that_cannot_be_decompressed_is_exported_as_it_is(
    tmp_path: Path, built: LogBuilder, damage: str
) -> None:
    packed = built.path(0)
    content = bytearray(packed.read_bytes())
    if damage == "cut":
        del content[-20:]
    else:
        content[len(content) // 2] ^= 1
    packed.write_bytes(content)
    target = tmp_path / "case.tar.zst"
    manifest, _ = write_bundle(target, Asked([built.directory], SearchScope()), NOW)
    assert not manifest.ok
    [log] = manifest.logs
    assert "not_a_record" in {finding["kind"] for finding in log.findings}
    place = unpack(target, tmp_path)
    assert (place / "damaged" / packed.name).read_bytes() == content
    assert (place / "logs" / built.paths[2].name).read_bytes() == b"".join(built.lines[10:])
    code, said = check(place)
    assert code == 1
    assert "when it was exported: not_a_record" in said
    assert not verify_archive(target).ok


def known(log: LogBuilder, *, head: bool = False) -> Asked:
    """The export of the log's directory by somebody who has a cursor of it."""
    expected = KnownRecord(log.log, "the cursor of sink main", log.seq, log.hash)
    if head:
        (log.directory / ".auditlog").mkdir()
        remember_head(log.directory, log.names[-1])
    return Asked([log.directory], SearchScope(), known={log.directory: [expected]})


def first(log: LogBuilder) -> None:
    log.path(0).unlink()


def last(log: LogBuilder) -> None:
    log.path(2).unlink()


def tail(log: LogBuilder) -> None:
    log.active.write_bytes(log.active.read_bytes()[: -len(log.lines[-1])])


def whole(log: LogBuilder) -> None:
    for index in range(3):
        log.path(index).unlink()
    write_log(log.directory, "other@hive1", records=1)


@pytest.mark.parametrize(
    ("remove", "kind"),
    [
        (first, "missing_segment"),
        (last, "missing_segment"),
        (tail, "tail_missing"),
        (whole, "missing_log"),
    ],
)
def test_what_is_missing_is_a_finding_of_every_check(
    tmp_path: Path, built: LogBuilder, remove: Callable[[LogBuilder], None], kind: str
) -> None:
    asked = known(built, head=True)
    target = tmp_path / "case.tar.zst"
    remove(built)
    manifest, _ = write_bundle(target, asked, NOW)
    findings = {log.log: {f["kind"] for f in log.findings} for log in manifest.logs}
    assert findings[built.log] == {kind}
    code, said = check(unpack(target, tmp_path))
    assert (code, "ok: complete" in said) == (1, False)
    assert f"{built.log}: when it was exported: {kind}: " in said
    found = verify_archive(target)
    assert not found.ok
    assert any(kind in problem for problem in found.problems)


def test_each_log_says_why_it_begins_where_it_does(tmp_path: Path, built: LogBuilder) -> None:
    def begins(scope: SearchScope = SearchScope()) -> str:  # noqa: B008  (frozen)
        target = tmp_path / "case.tar.zst"
        manifest, _ = write_bundle(target, Asked([built.directory], scope), NOW)
        target.unlink()
        return manifest.logs[0].begins

    assert begins() == "from its first record"
    second = START + dt.timedelta(days=1)
    assert begins(SearchScope("*", second, None)) == "records up to 5 were not asked for"
    built.path(0).unlink()
    assert begins() == "records before 6 are missing"


# check.py -----------------------------------------------------------------------------------------


def test_the_checker_runs_isolated_or_not_at_all(tmp_path: Path, built: LogBuilder) -> None:
    export(built.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    (place / "json.py").write_text("print('not the json of Python')")
    done = subprocess.run(
        [sys.executable, "check.py"], cwd=place, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (2, "Run it as: python3 -I check.py")
    code, said = check(place)
    assert (code, "json.py: it does not belong here" in said) == (1, True)


def test_the_checker_names_a_record_of_another_day(tmp_path: Path, built: LogBuilder) -> None:
    """The chain of these records fits; only the day of the file's name does not."""
    export(built.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    (place / "MANIFEST.json").chmod(0o644)
    manifest = orjson.loads((place / "MANIFEST.json").read_bytes())
    old = manifest["logs"][0]["segments"][1]
    new = old.replace("2026-11-24", "2026-11-22")
    (place / old).rename(place / new)
    for file in manifest["files"]:
        file["name"] = new if file["name"] == old else file["name"]
    manifest["logs"][0]["segments"][1] = new
    write_manifest(place, orjson.dumps(manifest))
    code, said = check(place)
    assert (code, said.count("it is of another day than its file")) == (1, 5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"files": 7, "logs": []}',
        b'{"files": [], "logs": [{}]}',
        b"\xff",
    ],
)
def test_the_checker_has_a_verdict_on_every_manifest(
    tmp_path: Path, built: LogBuilder, content: bytes
) -> None:
    export(built.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    (place / "MANIFEST.json").chmod(0o644)
    write_manifest(place, content)
    code, said = check(place)
    assert (code, "ok: complete" in said) == (1, False)


@pytest.mark.parametrize(
    "line",
    [b"[" * 60_000, b"{}", b'"text"', b"x" * 70_000, b'{"seq": "no number"}', b"\xff\xfe", b""],
)
def test_the_checker_has_a_verdict_on_every_line(
    tmp_path: Path, built: LogBuilder, line: bytes
) -> None:
    """Each line has a hash of its own that fits, and the manifest lists the file as it is."""
    export(built.directory, tmp_path / "case.tar.zst")
    place = unpack(tmp_path / "case.tar.zst", tmp_path)
    segment = place / "logs" / built.paths[1].name
    for path in (segment, place / "MANIFEST.json"):
        path.chmod(0o644)
    digest = hashlib.sha256(line).hexdigest()
    content = segment.read_bytes() + line + f',"hash":"{digest}"}}\n'.encode()
    segment.write_bytes(content)
    manifest = orjson.loads((place / "MANIFEST.json").read_bytes())
    for file in manifest["files"]:
        if file["name"].endswith(segment.name):
            file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_manifest(place, orjson.dumps(manifest))
    code, said = check(place)
    assert (code, f"{segment.name} line 6: " in said) == (1, True)


@pytest.mark.parametrize("form", ["", ".zst"])
def test_an_export_with_stubs_is_proven_by_the_records_of_erasure(
    tmp_path: Path, form: str
) -> None:
    log = write_log(tmp_path / "audit", records=4, segments=2)
    erase(log, 1, 4, 8)
    if form:
        log.compress(0, form)
    export(tmp_path / "audit", tmp_path / "a.tar.zst")
    place = unpack(tmp_path / "a.tar.zst", tmp_path)
    assert check(place)[0] == 0, check(place)
    manifest = orjson.loads((place / "MANIFEST.json").read_bytes())
    ours = next(one for one in manifest["logs"] if one["log"] == log.log)
    assert [one["seq"] for one in ours["erased"]] == [1, 4, 8]
    report = verify_archive(tmp_path / "a.tar.zst")
    assert report.ok
    assert [len(one.erased) for one in report.logs.logs if one.log == log.log] == [3]


def test_a_stub_that_no_record_of_erasure_proves_is_found_in_an_export(tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", records=4)
    erase(log, 2, proven=False)
    export(tmp_path / "audit", tmp_path / "a.tar.zst")
    place = unpack(tmp_path / "a.tar.zst", tmp_path)
    code, said = check(place)
    assert code == 1
    assert "its hash is not of its content" in said
    assert not verify_archive(tmp_path / "a.tar.zst").ok
