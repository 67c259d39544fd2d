"""check.py --policy: what an auditor sees with nothing but Python and a trust policy."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from auditlog.evidence.checkpoint_file import CheckpointFile
from auditlog.evidence.note import Signer
from tests.auditctl.export.test_bundle import check, write_manifest
from tests.support.erasures import erase
from tests.support.logs import LogBuilder, write_log
from tests.support.signed_host import ORIGIN_PREFIX, SECONDS, SignedHost
from tests.support.trees import leaves_of, signed

LOG = "queen-rbee@hive1"
WITNESSED = f"{LOG}: witnessed through seq 15 at 2027-01-15T08:00:00Z by w1, w2; "


def edit_manifest(place: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Let whoever made the export change its manifest, and its list of files fit."""
    path = place / "MANIFEST.json"
    manifest = orjson.loads(path.read_bytes())
    edit(manifest)
    for file in manifest["files"]:
        content = (place / file["name"]).read_bytes()
        file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_manifest(place, orjson.dumps(manifest))


# Untouched ----------------------------------------------------------------------------------------


def test_what_is_witnessed_is_said_and_what_came_later_is_only_chained(host: SignedHost) -> None:
    code, said = check(host.export(), "--policy", host.policy)
    assert (code, f"{WITNESSED}0 records after that are only chained" in said) == (0, True), said
    host.log.append(3)
    host.log.append(1, event_type="log.closed")
    place = host.export()
    code, said = check(place, "--policy", host.policy)
    assert (code, f"{WITNESSED}4 records after that are only chained" in said) == (0, True), said
    assert said.endswith("ok: complete and unchanged\n")


def test_without_a_policy_it_says_that_checkpoints_are_there(host: SignedHost) -> None:
    code, said = check(host.export())
    assert (code, f"{LOG}: checkpoints of it are here, not compared" in said) == (0, True), said
    assert "witnessed" not in said


@pytest.mark.parametrize("leaves", ["kept", "lost"])
def test_deletions_under_policy_accuse_nobody(host: SignedHost, leaves: str) -> None:
    host.run("prune", str(host.audit), "--delete-after", "1d", "--compress-after", "1h",
             "--at", "2026-11-25T12:00:00Z", "--confirm")  # fmt: skip
    assert len(list(host.audit.glob(f"{LOG}.*"))) < 3
    if leaves == "lost":
        shutil.rmtree(host.checkpoints.parent / "leaves")
        for path in host.checkpoints.parent.glob("tree.*"):
            path.unlink()
    code, said = check(host.export(), "--policy", host.policy)
    assert (code, WITNESSED in said) == (0, True), said


def test_erased_records_accuse_nobody(host: SignedHost) -> None:
    erase(host.log, 2, 7, 15)
    code, said = check(host.export(), "--policy", host.policy)
    assert (code, WITNESSED in said) == (0, True), said


@pytest.mark.parametrize(
    ("options", "through"),
    [
        (("--since", "2026-11-24"), 15),
        (("--since", "2026-11-25"), 15),
        (("--until", "2026-11-24"), 10),
        (("--since", "2026-11-24", "--until", "2026-11-24"), 10),
    ],
)
def test_a_part_of_a_log_is_compared_too(
    host: SignedHost, options: tuple[str, ...], through: int
) -> None:
    place = host.export(*options)
    code, said = check(place, "--policy", host.policy)
    assert (code, f"{LOG}: witnessed through seq {through} at " in said) == (0, True), said

    def lie(manifest: dict[str, Any]) -> None:
        (log,) = (log for log in manifest["logs"] if log["log"] == LOG)
        first = log["subtrees"][0]["hashes"]
        first[0] = first[0].translate(str.maketrans("0123456789", "1234567890"))

    edit_manifest(place, lie)
    code, said = check(place, "--policy", host.policy)
    assert (code, f"{LOG}: it is not what it was when 15 records" in said) == (1, True), said


def test_the_oldest_checkpoint_that_covers_a_part_is_taken(host: SignedHost) -> None:
    host.log.rotate(days=1)
    host.log.append(5)
    host.sign(1, 3)
    host.sign(1, 2)
    place = host.export("--until", "2026-11-24")
    code, said = check(place, "--policy", host.policy)
    assert (code, f"{LOG}: witnessed through seq 10 at " in said) == (0, True), said
    sizes = {path.read_text().split("\n")[1] for path in place.glob(f"checkpoints/{LOG}.*")}
    assert sizes == {"15", "20"}


def test_a_policy_without_a_quorum_takes_what_the_log_signed(host: SignedHost) -> None:
    host.policy.write_text(host.policy.read_text().replace("quorum g", "quorum none"))
    host.checkpoints.unlink()
    host.sign()
    code, said = check(host.export(), "--policy", host.policy)
    assert (code, f"{LOG}: signed through seq 15 by the log alone; " in said) == (0, True), said


@pytest.fixture
def rotated(host: SignedHost) -> tuple[SignedHost, Signer]:
    """Fifteen records that the old key signed, and two that the old and the new key signed."""
    old = Signer.parse((host.state / "evidence.key").read_text()).renamed(f"{ORIGIN_PREFIX}/{LOG}")
    lines = host.run("evidence", "rotate", "--reason", "every year").splitlines()
    rest = host.policy.read_text().partition("witness")[2]
    keys = "".join(f"{line}\n" for line in lines if line.startswith("log "))
    assert keys.count(f"log {old.name}+") == 2
    host.policy.write_text(f"{keys}witness{rest}")
    host.log.append(2)
    host.sign(1, 2)
    return host, old


def test_both_keys_of_a_rotation_are_known(rotated: tuple[SignedHost, Signer]) -> None:
    host, _ = rotated
    code, said = check(host.export(), "--policy", host.policy)
    assert (code, f"{LOG}: witnessed through seq 17 at " in said) == (0, True), said
    code, said = check(host.export("--until", "2026-11-24"), "--policy", host.policy)
    assert (code, f"{LOG}: witnessed through seq 10 at " in said) == (0, True), said


@pytest.mark.parametrize("is_revoked", [True, False])
def test_what_a_revoked_key_signs_later_accuses_nobody(
    rotated: tuple[SignedHost, Signer], is_revoked: bool
) -> None:
    """A thief signs another history of more records, and witnesses cosign it."""
    host, old = rotated
    note = signed(leaves_of(16), old, origin=old.name, witnesses=(1, 2), seconds=SECONDS)
    CheckpointFile(host.checkpoints).append(note, dt.datetime.now(dt.UTC))
    if is_revoked:
        with host.policy.open("a") as file:
            file.write(f"revoked {old.key} 2027-01-15T08:00:00Z\n")
    place = host.export()
    assert note.to_bytes() in [path.read_bytes() for path in place.glob("checkpoints/*")]
    code, said = check(place, "--policy", host.policy)
    if is_revoked:
        assert (code, f"{LOG}: witnessed through seq 17 at " in said) == (0, True), said
    else:
        assert (code, f"{LOG}: it is not what it was when 16 records" in said) == (1, True), said


# Tampered -----------------------------------------------------------------------------------------


def forge(host: SignedHost, **fields: Any) -> None:
    """Write the log anew with fitting hashes."""
    shutil.rmtree(host.audit)
    host.log = write_log(host.audit, records=5, segments=3, days=1, actor={"user_id": "mallory"})


@pytest.mark.parametrize("state", ["kept", "signed anew"])
def test_a_log_written_anew_is_found(host: SignedHost, state: str) -> None:
    cosigned = host.checkpoints.read_bytes()
    forge(host)
    if state == "signed anew":
        shutil.rmtree(host.checkpoints.parent)
        host.run("evidence", "sign")
        host.checkpoints.write_bytes(cosigned + host.checkpoints.read_bytes())
    place = host.export()
    assert check(place)[0] == 0
    code, said = check(place, "--policy", host.policy)
    assert code == 1
    assert f"{LOG}: it is not what it was when 15 records were signed (cosigned by w1, w2)" in said


def test_a_log_signed_anew_without_its_witnesses_has_no_quorum(host: SignedHost) -> None:
    forge(host)
    shutil.rmtree(host.checkpoints.parent)
    host.sign(1)
    code, said = check(host.export(), "--policy", host.policy)
    expected = f"{LOG}: no quorum cosigned a checkpoint of records that are here; only w1\n"
    assert (code, expected in said) == (1, True), said


def test_records_of_which_none_was_signed_are_not_proven_by_those_before_them(
    host: SignedHost,
) -> None:
    host.log.rotate(days=1)
    host.log.append(5)
    code, said = check(host.export("--since", "2026-11-26"), "--policy", host.policy)
    expected = f"{LOG}: no quorum cosigned a checkpoint of records that are here; only w1, w2\n"
    assert (code, expected in said) == (1, True), said


def test_a_tail_that_was_cut_off_is_found(host: SignedHost) -> None:
    host.log.active.write_bytes(b"".join(host.log.lines[10:13]))
    place = host.export()
    assert check(place)[0] == 0
    code, said = check(place, "--policy", host.policy)
    assert (code, f"{LOG}: it ends at record 13, and 15 records were signed" in said) == (1, True)


def test_hashes_cannot_stand_in_for_a_tail_that_was_asked_for(host: SignedHost) -> None:
    place = host.export("--until", "2026-11-24")

    def lie(manifest: dict[str, Any]) -> None:
        manifest["asked"]["until"] = None

    edit_manifest(place, lie)
    code, said = check(place, "--policy", host.policy)
    assert (code, f"{LOG}: it ends at record 10, and 15 records were signed" in said) == (1, True)


def test_a_log_that_was_deleted_whole_is_found_where_it_was_asked_for(host: SignedHost) -> None:
    other = LogBuilder(host.audit, "rbee-hive@hive1")
    other.append(4)
    host.sign(1, 2)
    lines = host.run("evidence", "init")
    rest = host.policy.read_text().partition("witness")[2]
    host.policy.write_text(
        "".join(f"{line}\n" for line in lines.splitlines() if line.startswith("log "))
        + f"witness{rest}"
    )
    narrow = host.export("--log", "queen-*")
    for path in host.audit.glob(f"{LOG}.*"):
        path.unlink()
    whole = host.export()
    code, said = check(narrow, "--policy", host.policy)
    assert (code, "rbee-hive@hive1: the policy names it; it is not in this export" in said) == (
        0,
        True,
    ), said
    code, said = check(whole, "--policy", host.policy)
    assert (code, f"{LOG}: the policy names it, and no record of it is here" in said) == (1, True)


def test_a_policy_that_names_no_log_of_the_export_proves_nothing(host: SignedHost) -> None:
    text = host.policy.read_text()
    host.policy.write_text(f"witness{text.partition('witness')[2]}")
    code, said = check(host.export(), "--policy", host.policy)
    assert (code, f"{LOG}: the policy does not name it; it is only chained" in said) == (1, True)
    assert "the policy names no log that is here: nothing was compared" in said


def test_every_byte_of_a_checkpoint_counts(host: SignedHost) -> None:
    """Also where the manifest was made to fit: one bit of some bytes in turn."""
    place = host.export()
    (path,) = place.glob(f"checkpoints/{LOG}.1")
    path.chmod(0o644)
    note = path.read_bytes()
    assert note.count(b"\n") in (5, 7)
    for each in place.glob(f"checkpoints/{LOG}.*"):
        if each != path:
            each.chmod(0o644)
            each.write_bytes(note)
    for at in range(0, len(note), 41):
        changed = bytearray(note)
        changed[at] ^= 1 << at % 8
        for each in place.glob(f"checkpoints/{LOG}.*"):
            each.write_bytes(changed)
        edit_manifest(place, dict)
        code, said = check(place, "--policy", host.policy)
        assert (code, "Traceback" in said) == (1, False), (at, said)


def test_the_module_that_is_run_is_the_one_that_was_exported(host: SignedHost) -> None:
    place = host.export()
    path = place / "check_record.py"
    path.chmod(0o644)
    path.write_text("print('whatever somebody wants')\n")
    code, said = check(place, "--policy", host.policy)
    assert (code, "check_record.py: it is not the file that was exported" in said) == (1, True)
    assert "whatever" not in said
    assert not list(place.glob("**/*.pyc"))


@pytest.mark.parametrize("policy", [None, b"", b"quorum w1\n", b"\xff\0", b"log x\nquorum none\n"])
def test_a_policy_that_is_none_is_a_wrong_use(
    host: SignedHost, policy: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "policy"
    if policy is not None:
        path.write_bytes(policy)
    code, said = check(host.export(), "--policy", path)
    assert (code, said.startswith("The policy cannot be used: ")) == (2, True), said


@pytest.mark.parametrize("options", [["--policy"], ["x"], ["--policy", "a", "b"]])
def test_wrong_options_are_a_wrong_use(host: SignedHost, options: list[str]) -> None:
    code, said = check(host.export(), *options)
    assert (code, said) == (2, "Run it as: python3 -I check.py [--policy FILE]\n")
